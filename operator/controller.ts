import type { Clock } from "#runtime/clock.ts";
import type { Logger } from "#runtime/log.ts";
import type { WorkQueue } from "./queue.ts";

const WORKERS = 8;
const RECONCILE_TIMEOUT_MS = 60_000;

export interface ControllerObserver {
  started(): void;
  finished(result: "success" | "error", seconds: number): void;
}

export interface ControllerOptions {
  readonly queue: WorkQueue;
  readonly clock: Clock;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: Logger;
  /** One pass over one key. What it throws is retried with backoff. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<{ readonly requeueAfterMs: number } | undefined>;
  readonly observer?: ControllerObserver;
}

/** Works on keys until the queue is closed or the signal aborts; resolves when every worker has ended. */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  await Promise.all(Array.from({ length: WORKERS }, () => runWorker(options, signal)));
}

async function runWorker(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const key = await options.queue.take();
    if (key === undefined) return;
    await workOn(key, options, signal);
    options.queue.done(key);
  }
}

/** An exception fails this key alone. */
async function workOn(key: string, options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { queue, clock, log, observer } = options;
  const deadline = new AbortController();
  const cancel = clock.after(RECONCILE_TIMEOUT_MS, () => deadline.abort(new Error("The reconcile took too long")));
  const startedMs = clock.monotonic();
  const seconds = (): number => (clock.monotonic() - startedMs) / 1000;
  observer?.started();
  try {
    const result = await options.reconcile(key, AbortSignal.any([deadline.signal, signal]));
    queue.forget(key);
    // Spread over a tenth, so that agents made together are not looked at together for ever.
    if (result) queue.addAfter(key, result.requeueAfterMs * (1 + options.random() / 10));
    observer?.finished("success", seconds());
  } catch (err) {
    observer?.finished("error", seconds());
    if (signal.aborted) return;
    const [namespace, name] = key.split("/");
    log.warn({ err, namespace, name }, "Failed to reconcile AgentDeployment");
    queue.addRateLimited(key);
  } finally {
    cancel();
  }
}
