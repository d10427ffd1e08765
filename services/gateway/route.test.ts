import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { orderDeployments, retryAfterMs } from "./route.ts";
import type { ModelRoute } from "./snapshot.ts";
import { deployment } from "./test-world.ts";

function routeOf(groups: readonly (readonly [string, number][])[]): ModelRoute {
  return {
    alias: "gpt",
    outputTokensMax: 1,
    groups: groups.map((group, priority) =>
      group.map(([name, weight]) => ({ ...deployment(name, { modelUrl: "http://m" }), priority, weight })),
    ),
  };
}

describe("orderDeployments()", () => {
  it("names every deployment once, all of one priority before any of the next, whatever the chance", () => {
    const groups = fc.array(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(
        groups,
        fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 12, maxLength: 12 }),
        (weights, chances) => {
          const route = routeOf(weights.map((group, g) => group.map((weight, d) => [`d${g}-${d}`, weight])));
          const order = orderDeployments(route, () => chances.shift() ?? 0);
          expect(order.map((each) => each.priority)).toEqual(
            order.map((each) => each.priority).toSorted((a, b) => a - b),
          );
          expect(order.map((each) => each.name).toSorted()).toEqual(
            route.groups
              .flat()
              .map((each) => each.name)
              .toSorted(),
          );
        },
      ),
    );
  });

  it("gives the first place by weight", () => {
    const route = routeOf([
      [
        ["small", 1],
        ["large", 9],
      ],
    ]);
    const firsts = Array.from({ length: 100 }, (_, index) => orderDeployments(route, () => index / 100)[0]?.name);
    expect(firsts.filter((name) => name === "large")).toHaveLength(90);
  });
});

describe("retryAfterMs()", () => {
  it.each([
    [{ "retry-after-ms": "250", "retry-after": "9" }, 250],
    [{ "x-ms-retry-after-ms": "40" }, 40],
    [{ "retry-after": "2" }, 2000],
    [{ "retry-after": "soon" }, undefined],
    [{ "retry-after": "" }, undefined],
    [{ "retry-after": "Tue, 24 Nov 2026 12:00:05 GMT" }, 5000],
    [{ "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT" }, 0],
    [{}, undefined],
  ])("of %j is %s", (headers, ms) => {
    expect(retryAfterMs(headers, Date.parse("2026-11-24T12:00:00Z"))).toBe(ms);
  });
});
