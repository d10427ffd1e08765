import { describe, expect, it } from "vitest";
import { retryAfterMs } from "./retry-after.ts";

describe("retryAfterMs()", () => {
  it.each([
    [{ "retry-after-ms": "250", "retry-after": "9" }, 250],
    [{ "x-ms-retry-after-ms": "40" }, 40],
    [{ "retry-after": "2" }, 2000],
    [{ "retry-after": "soon" }, undefined],
    [{ "retry-after": "" }, undefined],
    [{ "retry-after": "Tue, 24 Nov 2026 12:00:05 GMT" }, 5000],
    [{ "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT" }, 0],
    [{ "retry-after": "Tuesday, 24-Nov-26 12:00:05 GMT" }, 5000],
    [{ "retry-after": "Tue Nov 24 12:00:05 2026" }, 5000],
    [{ "retry-after": "Fri, 31 Dec 9999 23:59:59 GMT" }, 86_400_000],
    [{ "retry-after": "Tue, 99 Nov 2026 12:00:05 GMT" }, undefined],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after-ms": "12.5" }, 12.5],
    [{ "retry-after": "-5" }, undefined],
    [{ "retry-after-ms": "-1", "retry-after": "3" }, 3000],
    [{ "retry-after": "99999999999999999999" }, 86_400_000],
    [{ "retry-after-ms": "9".repeat(400) }, 86_400_000],
    [{ "retry-after": "1e3" }, undefined],
    [{ "retry-after": "0x10" }, undefined],
    [{ "retry-after": "Infinity" }, undefined],
    [{ "retry-after": "2026" }, 2_026_000],
    [{ "retry-after": "2, 5" }, undefined],
    [{}, undefined],
  ])("of %j is %s", (headers, ms) => {
    expect(retryAfterMs(headers, Date.parse("2026-11-24T12:00:00Z"))).toBe(ms);
  });
});
