import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { orderDeployments } from "./route.ts";
import type { ModelRoute } from "../snapshot.ts";
import { deployment } from "../test-world.ts";

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
