import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createMemo } from "./memo.ts";

describe("createMemo()", () => {
  it("drops the entry that was not asked for the longest", () => {
    const memo = createMemo<number>(2);
    memo.set("a", 1);
    memo.set("b", 2);
    expect(memo.get("a")).toBe(1);
    memo.set("c", 3);
    expect([memo.get("a"), memo.get("b"), memo.get("c")]).toEqual([1, undefined, 3]);
  });

  it("law: does what a list of the last used does, whatever is asked", () => {
    const key = fc.constantFrom("a", "b", "c", "d", "e");
    const step = fc.tuple(fc.constantFrom("get", "set", "delete"), key, fc.nat(9));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (max, steps) => {
        const memo = createMemo<number>(max);
        let model: [string, number][] = [];
        for (const [what, name, value] of steps) {
          const found = model.find(([held]) => held === name);
          const rest = model.filter(([held]) => held !== name);
          if (what === "get") {
            expect(memo.get(name)).toBe(found?.[1]);
            if (found) model = [...rest, found];
          } else if (what === "set") {
            memo.set(name, value);
            model = [...rest, [name, value] satisfies [string, number]].slice(-max);
          } else {
            memo.delete(name);
            model = rest;
          }
        }
        for (const [name, value] of model) expect(memo.get(name)).toBe(value);
      }),
    );
  });
});
