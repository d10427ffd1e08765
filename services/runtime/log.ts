import { destination, pino, type DestinationStream, type Logger as PinoLogger } from "pino";

export type Logger = PinoLogger;

/** Takes whole lines. */
export interface LineSink {
  write(lines: string): void;
}

/** Stdout: what is written has left this process when `write` returns, so that it survives a crash. */
export function openStdout(): LineSink {
  return destination({ fd: 1, sync: true });
}

export interface LoggerOptions {
  /** The process: operator, gateway, orchestrator, sidecar, reporter, emulator. */
  readonly component: string;
  readonly level?: string;
  /** Where lines go; stdout if absent. */
  readonly destination?: DestinationStream;
}

/**
 * JSON lines on stdout. Messages are fixed phrases in the past tense ("Submitted UsageEvent"), what varies is a field.
 * Redaction is a net below the rule that nobody logs tokens, keys, prompts or bodies.
 */
export function createLogger(options: LoggerOptions): Logger {
  const settings = {
    level: options.level ?? "info",
    base: { component: options.component },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: [
        "authorization",
        "*.authorization",
        "token",
        "*.token",
        "apiKey",
        "*.apiKey",
        "headers",
        "*.headers",
        "body",
        "*.body",
      ],
      censor: "(hidden)",
    },
  };
  return options.destination ? pino(settings, options.destination) : pino(settings);
}
