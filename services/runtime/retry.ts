import type { Clock } from "./clock.ts";

export interface BackoffOptions {
  /** First upper bound. */
  readonly delayMinMs: number;
  /** Upper bound of every wait. */
  readonly delayMaxMs: number;
}

/**
 * Full jitter: a random wait between 0 and min(delayMaxMs, delayMinMs * 2^attempt), so that many clients that failed
 * together do not come back together. `random` is in [0, 1).
 */
export function backoffDelayMs(attempt: number, options: BackoffOptions, random: () => number): number {
  const ceiling = Math.min(options.delayMaxMs, options.delayMinMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * (ceiling + 1));
}

export interface RetryOptions extends BackoffOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly attemptsMax: number;
  readonly signal?: AbortSignal;
  /** A wait the error itself asks for, `true` for the usual backoff, `false` to give up at once. */
  readonly isRetriable: (error: unknown) => boolean | { readonly delayMs: number };
}

/** Calls `run` until it succeeds, gives up, or has been called `attemptsMax` times; then throws the last error. */
export async function retry<T>(run: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await run(attempt);
    } catch (error) {
      const verdict = options.isRetriable(error);
      if (verdict === false || attempt + 1 >= options.attemptsMax || options.signal?.aborted) throw error;
      const delayMs = verdict === true ? backoffDelayMs(attempt, options, options.random) : verdict.delayMs;
      await options.clock.sleep(Math.min(delayMs, options.delayMaxMs), options.signal);
    }
  }
}
