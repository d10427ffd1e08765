import type { Logger } from "#runtime/log.ts";

/** The part of the product's logger that the sidecar uses. */
export type SidecarLog = Pick<Logger, "info" | "warn" | "error" | "debug">;

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50, silent: 100 } as const;

/**
 * JSON lines on stdout in the shape of the product's logger (#runtime/log.ts), without the library behind it: in every agent
 * pod it would cost 3 MiB. No redaction: nothing that this process holds but its own token is secret, and it logs fields by name.
 */
export function createSidecarLog(level: keyof typeof LEVELS, write: (line: string) => void): SidecarLog {
  const at =
    (name: Exclude<keyof typeof LEVELS, "silent">) =>
    (...[fields, message]: readonly unknown[]): void => {
      if (LEVELS[name] < LEVELS[level]) return;
      const text = typeof fields === "string" ? fields : message;
      const extra = typeof fields === "object" && fields !== null ? plainErrors(fields) : {};
      const time = new Date().toISOString();
      write(`${JSON.stringify({ level: name, time, component: "sidecar", ...extra, msg: text })}\n`);
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** An Error has no enumerable fields: JSON would show `{}`. */
function plainErrors(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? { type: value.name, message: value.message, stack: value.stack } : value,
    ]),
  );
}
