import type { IncomingHttpHeaders } from "node:http";

/** The wait that an upstream asks for, in milliseconds: two spellings of Azure, then the standard's seconds or date. */
export function retryAfterMs(headers: IncomingHttpHeaders, nowMs: number): number | undefined {
  for (const [name, unitMs] of [
    ["retry-after-ms", 1],
    ["x-ms-retry-after-ms", 1],
    ["retry-after", 1000],
  ] as const) {
    const value = headers[name];
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : Number.NaN;
    if (Number.isFinite(number) && number >= 0) return number * unitMs;
  }
  const untilMs = Date.parse(headers["retry-after"] ?? "");
  return Number.isNaN(untilMs) ? undefined : Math.max(0, untilMs - nowMs);
}
