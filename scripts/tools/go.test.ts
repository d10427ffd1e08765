import { describe, expect, it } from "vitest";
import { isNewEnough } from "./go.ts";

describe("isNewEnough()", () => {
  it.each([
    ["go1.26.0", true],
    ["go1.27.3", true],
    ["go2.0", true],
    ["go1.25.9", false],
    ["go1.3", false],
    ["devel", false],
    ["", false],
  ])("%j: %s", (version, expected) => {
    expect(isNewEnough(version)).toBe(expected);
  });
});
