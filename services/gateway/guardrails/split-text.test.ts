import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitText } from "./split-text.ts";

const options = { partMax: 20, overlap: 6 };

describe("splitText()", () => {
  it.each([
    ["", []],
    ["short", ["short"]],
    ["12345678901234567890", ["12345678901234567890"]],
    ["123456789012345678901", ["12345678901234567890", "5678901"]],
  ])("%j", (text, parts) => {
    expect(splitText(text, options)).toEqual(parts);
  });

  it("cuts no character in two", () => {
    expect(splitText(`${"x".repeat(19)}😀${"y".repeat(19)}`, options)).toEqual([
      "x".repeat(19),
      `xxxxxx😀${"y".repeat(12)}`,
      "y".repeat(13),
    ]);
    expect(splitText("😀".repeat(12), { partMax: 21, overlap: 5 })).toEqual(["😀".repeat(10), "😀".repeat(5)]);
  });

  /** No character stands twice: where a part was taken from is known. */
  const text = fc
    .array(fc.boolean(), { maxLength: 120, size: "max" })
    .map((astral) => astral.map((is, index) => String.fromCodePoint((is ? 0x1f300 : 0x4e00) + index)).join(""));

  it("shows every piece of at most the overlap whole in one part, wherever it stands", () => {
    fc.assert(
      fc.property(text, fc.nat(240), fc.integer({ min: 1, max: 6 }), (whole, place, length) => {
        const at = Math.min(place, Math.max(0, whole.length - length));
        const piece = whole.slice(at, at + length);
        expect(whole === "" || splitText(whole, options).some((part) => part.includes(piece))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("gives parts within the limit, well-formed, in order, that leave nothing out", () => {
    fc.assert(
      fc.property(text, (whole) => {
        const parts = splitText(whole, options);
        let seen = 0;
        for (const part of parts) {
          const start = whole.indexOf(part);
          expect(start).toBeGreaterThanOrEqual(seen === 0 ? 0 : seen - 7);
          expect(start).toBeLessThanOrEqual(seen === 0 ? 0 : seen - 6);
          seen = start + part.length;
        }
        expect(seen).toBe(whole.length);
        expect(parts.every((part) => part.length <= 20 && part.isWellFormed() && part !== "")).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
