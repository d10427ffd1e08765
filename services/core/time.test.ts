import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { DAY_MS, HOUR_MS, hourKey, parseHourKey, type Per, periodAt, shiftHour } from "./time.ts";

const key = (text: string): number => parseHourKey(text);

const TURNS: readonly { anchor: string; per: Per; at: string; start: string; end: string }[] = [
  { anchor: "2026013110", per: "Month", at: "2026022809", start: "2026013110", end: "2026022810" },
  { anchor: "2026013110", per: "Month", at: "2026022810", start: "2026022810", end: "2026033110" },
  { anchor: "2026013110", per: "Month", at: "2026033009", start: "2026022810", end: "2026033110" },
  { anchor: "2026013110", per: "Month", at: "2026043010", start: "2026043010", end: "2026053110" },
  { anchor: "2027123100", per: "Month", at: "2028022900", start: "2028022900", end: "2028033100" },
  { anchor: "2026011500", per: "Month", at: "2025122000", start: "2025121500", end: "2026011500" },
  { anchor: "2024022900", per: "Year", at: "2025022723", start: "2024022900", end: "2025022800" },
  { anchor: "2024022900", per: "Year", at: "2025022800", start: "2025022800", end: "2026022800" },
  { anchor: "2024022900", per: "Year", at: "2028022823", start: "2027022800", end: "2028022900" },
  { anchor: "2024022900", per: "Year", at: "2028022900", start: "2028022900", end: "2029022800" },
  { anchor: "2026013110", per: "Day", at: "2026030109", start: "2026022810", end: "2026030110" },
];

describe("periodAt(): always from the original anchor", () => {
  afterEach(() => vi.unstubAllEnvs());

  it.each(TURNS)("anchor $anchor per $per: $at lies in $start to $end", ({ anchor, per, at, start, end }) => {
    expect(periodAt(key(anchor), per, key(at))).toEqual({ startMs: key(start), endMs: key(end) });
  });

  it.each(["America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"])("knows no local time: %s", (zone) => {
    vi.stubEnv("TZ", zone);
    expect(new Date(0).getTimezoneOffset()).not.toBe(0);
    for (const { anchor, per, at, start, end } of TURNS)
      expect(periodAt(key(anchor), per, key(at))).toEqual({ startMs: key(start), endMs: key(end) });
    expect(hourKey(key("2026032902"))).toBe("2026032902");
    expect(shiftHour("2026022823", 1)).toBe("2026030100");
  });

  it("puts every instant into one period, whose neighbours join without gap", () => {
    const longest = { Day: 1, Month: 31, Year: 366 };
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 24 * 365 * 9 }),
        fc.constantFrom<Per>("Day", "Month", "Year"),
        fc.integer({ min: -3000, max: 3000 }),
        (hours, per, days) => {
          const anchorMs = key("2024010100") + hours * HOUR_MS;
          const instant = anchorMs + days * DAY_MS;
          const { startMs, endMs } = periodAt(anchorMs, per, instant);
          expect(startMs <= instant && instant < endMs).toBe(true);
          expect(endMs - startMs).toBeLessThanOrEqual(longest[per] * DAY_MS);
          expect(periodAt(anchorMs, per, startMs).startMs).toBe(startMs);
          expect(periodAt(anchorMs, per, endMs).startMs).toBe(endMs);
          expect(periodAt(anchorMs, per, endMs - 1)).toEqual({ startMs, endMs });
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("parseHourKey()", () => {
  it.each(["2026022900", "2026112224", "20261122", "2026-11-22", ""])("refuses %j, which names no hour", (text) => {
    expect(() => parseHourKey(text)).toThrow("Cannot read hour as it must be YYYYMMDDhh in UTC: current value is");
  });
});
