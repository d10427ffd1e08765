import type { Clock } from "#runtime/clock.ts";
import type { CheckTime } from "./content-safety.ts";

/** Runs a check that ends at its deadline, or when the request is cut, and takes all its calls with it. */
export async function withCheckTime<T>(
  options: { readonly clock: Clock; readonly timeoutMs: number; readonly cut: AbortSignal },
  run: (time: CheckTime, stop: () => void) => Promise<T>,
): Promise<T> {
  const { clock, timeoutMs, cut } = options;
  const ending = new AbortController();
  const stop = (): void => ending.abort();
  let isTimeout = false;
  const cancel = clock.after(timeoutMs, () => {
    isTimeout = !ending.signal.aborted;
    stop();
  });
  cut.addEventListener("abort", stop, { once: true });
  if (cut.aborted) stop();
  try {
    const deadlineMs = clock.monotonic() + timeoutMs;
    return await run({ deadlineMs, signal: ending.signal, stoppedBy: () => (isTimeout ? "timeout" : "cut") }, stop);
  } finally {
    cancel();
    cut.removeEventListener("abort", stop);
  }
}
