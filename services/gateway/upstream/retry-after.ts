import type { IncomingHttpHeaders } from "node:http";

/** A daily quota asks for a day; more than that is a broken clock, and would go on to our own clients. */
const WAIT_MAX_MS = 24 * 60 * 60 * 1000;
/** RFC 9110 §10.2.3 has digits only, Azure's milliseconds may be a fraction. No sign, no hex, no exponent. */
const NUMBER = /^\d+(?:\.\d+)?$/;
/** All three forms of RFC 9110 §5.6.7 begin with the day; `Date.parse` alone takes "-5" for a day of 2001. */
const DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /;

/**
 * The wait that an upstream asks for, in milliseconds, a day at most: two spellings of Azure, then the standard's seconds or
 * date. A value that is neither is unknown, never "at once".
 */
export function retryAfterMs(headers: IncomingHttpHeaders, nowMs: number): number | undefined {
  for (const [name, unitMs] of [
    ["retry-after-ms", 1],
    ["x-ms-retry-after-ms", 1],
    ["retry-after", 1000],
  ] as const) {
    const value = headers[name];
    if (typeof value === "string" && NUMBER.test(value.trim())) return Math.min(WAIT_MAX_MS, Number(value) * unitMs);
  }
  const date = headers["retry-after"]?.trim() ?? "";
  if (!DATE.test(date)) return undefined;
  // The form of asctime names no zone, and would be read as local time.
  const untilMs = Date.parse(date.endsWith("GMT") ? date : `${date} GMT`);
  return Number.isNaN(untilMs) ? undefined : Math.min(WAIT_MAX_MS, Math.max(0, untilMs - nowMs));
}
