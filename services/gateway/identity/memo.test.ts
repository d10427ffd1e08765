import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createMemo } from "./memo.ts";

describe("createMemo()", () => {
  it("keeps what is asked for again and again, however many others come", () => {
    const memo = createMemo<number>(8);
    memo.set("asked for", 1);
    memo.set("forgotten", 2);
    for (let other = 0; other < 100; other += 1) {
      memo.set(`other-${other}`, other);
      expect(memo.get("asked for")).toBe(1);
    }
    expect(memo.get("forgotten")).toBeUndefined();
  });

  it("law: never holds more than its bound, nor anything but what was set last", () => {
    const key = fc.constantFrom(..."abcdefghijklmnop".split(""));
    const step = fc.tuple(fc.constantFrom("get", "set", "set", "delete"), key, fc.nat(9));
    const max = fc.constantFrom(2, 4, 6, 8);
    fc.assert(
      fc.property(max, fc.array(step, { maxLength: 100 }), (bound, steps) => {
        const memo = createMemo<number>(bound);
        const truth = new Map<string, number>();
        /** Keys by their last use, newest first. */
        let used: string[] = [];
        for (const [what, name, value] of steps) {
          if (what === "delete") {
            memo.delete(name);
            truth.delete(name);
            continue;
          }
          if (what === "set") {
            memo.set(name, value);
            truth.set(name, value);
          } else {
            const found = memo.get(name);
            const mustBe = used.slice(0, bound / 2).includes(name) && truth.has(name);
            if (mustBe || found !== undefined) expect(found).toBe(truth.get(name));
            if (found === undefined) continue;
          }
          used = [name, ...used.filter((each) => each !== name)];
        }
        expect(held(memo)).toBeLessThanOrEqual(bound);
      }),
    );
  });

  function held(memo: ReturnType<typeof createMemo<number>>): number {
    // Asked one by one, each found entry becomes a young one: those that drop out are counted as not held.
    return "abcdefghijklmnop".split("").filter((name) => memo.get(name) !== undefined).length;
  }
});
