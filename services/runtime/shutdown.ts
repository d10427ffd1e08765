import type { Logger } from "./log.ts";

/** One thing to stop; `name` shows in the log when it fails. */
export interface StopStep {
  readonly name: string;
  readonly stop: () => Promise<void> | void;
}

/**
 * Runs the steps once, in order, on SIGTERM or SIGINT, then exits 0. Node as PID 1 ignores SIGTERM without a handler.
 * A step that fails is logged and does not keep the rest from stopping; the exit code is then 1.
 */
export function stopOnSignal(log: Pick<Logger, "info" | "error">, steps: readonly StopStep[]): void {
  let stopping = false;
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "Stopping");
    let failed = 0;
    for (const step of steps) {
      try {
        await step.stop();
      } catch (err) {
        failed += 1;
        log.error({ err, step: step.name }, "Failed to stop");
      }
    }
    log.info("Stopped");
    process.exit(failed === 0 ? 0 : 1);
  };
  process.on("SIGTERM", (signal) => void stop(signal));
  process.on("SIGINT", (signal) => void stop(signal));
}
