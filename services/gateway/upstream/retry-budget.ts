import type { Clock } from "#runtime/clock.ts";

/** Keeps retries a small part of all requests, so that a sick upstream is not met with a storm. */
export interface RetryBudget {
  noteRequest(): void;
  /** Takes one retry, or says that there is none left in this window. */
  take(): boolean;
}

const WINDOW_MS = 10_000;
const SHARE = 0.2;
/** A quiet gateway may always retry a little. */
const RETRIES_MIN = 10;

export function createRetryBudget(clock: Clock): RetryBudget {
  let windowStartMs = clock.monotonic();
  let requests = 0;
  let retries = 0;
  const roll = (): void => {
    if (clock.monotonic() - windowStartMs < WINDOW_MS) return;
    windowStartMs = clock.monotonic();
    requests = 0;
    retries = 0;
  };
  return {
    noteRequest() {
      roll();
      requests += 1;
    },
    take() {
      roll();
      if (retries >= Math.max(RETRIES_MIN, requests * SHARE)) return false;
      retries += 1;
      return true;
    },
  };
}
