import type { Clock } from "./clock.ts";

/**
 * The clock of money: the API server's Date header carried on by our monotonic clock, plus the demo's offset. It never
 * runs backwards by less than a minute (the header has whole seconds); more than that is a corrected server clock.
 */
export interface ServerTime {
  /** Takes the Date header of an answer. */
  observe(dateMs: number | undefined): void;
  /** Milliseconds since the epoch, offset included. Throws before the first observation: nobody guesses the hour. */
  now(): number;
  isKnown(): boolean;
  /** Forward only; a smaller offset is ignored. True when it moved. */
  setOffset(offsetSeconds: number): boolean;
  offsetSeconds(): number;
  /** This machine's wall clock less the server's, without the offset. */
  skewMs(): number;
}

const BACKWARDS_MAX_MS = 60_000;

/** Time as the API server sees it. */
export function createServerTime(clock: Clock): ServerTime {
  let baseMs: number | undefined;
  let offsetSeconds = 0;
  let newestMs = 0;
  const serverNow = (): number => {
    if (baseMs === undefined) throw new Error("Cannot tell the time as the API server has not answered yet");
    return baseMs + clock.monotonic();
  };
  return {
    observe(dateMs) {
      if (dateMs !== undefined) baseMs = dateMs - clock.monotonic();
    },
    now() {
      const nowMs = serverNow() + offsetSeconds * 1000;
      newestMs = nowMs < newestMs - BACKWARDS_MAX_MS ? nowMs : Math.max(newestMs, nowMs);
      return newestMs;
    },
    isKnown: () => baseMs !== undefined,
    setOffset(wanted) {
      if (wanted <= offsetSeconds) return false;
      offsetSeconds = wanted;
      return true;
    },
    offsetSeconds: () => offsetSeconds,
    skewMs: () => (baseMs === undefined ? 0 : clock.now() - serverNow()),
  };
}
