import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deployment } from "../test-world.ts";
import { type Health, HEALTHY } from "./breaker.ts";
import { chooseTarget, outlookOf, type Target, type TargetGroups } from "./choose.ts";

const NOW = 1_000;
const OPEN: Health = { ...HEALTHY, openUntilMs: NOW + 400 };
const HALF_OPEN: Health = { ...HEALTHY, openUntilMs: NOW };
const PROBING: Health = { ...HALF_OPEN, isProbing: true };
const RATE_LIMITED: Health = { ...HEALTHY, pausedUntilMs: NOW + 300, isRateLimited: true };
const BUSY: Health = { ...HEALTHY, pausedUntilMs: NOW + 200, isRateLimited: false };

type Row = readonly [name: string, weight: number, health?: Health];

function groupsOf(rows: readonly (readonly Row[])[]): TargetGroups {
  return rows.map((group, rank) =>
    group.map(([name, weight, health = HEALTHY]) => ({
      deployment: { ...deployment(name, { modelUrl: "http://m" }), priority: rank, weight },
      rank,
      record: { health },
    })),
  );
}

function nameOf(groups: TargetGroups, chance = 0, tried?: ReadonlySet<Target>): string | undefined {
  return chooseTarget(groups, { nowMs: NOW, random: () => chance, tried })?.deployment.name;
}

describe("chooseTarget()", () => {
  it.each<[string, readonly (readonly Row[])[], string | undefined]>([
    ["the first group", [[["ptu", 1]], [["payg", 1]]], "ptu"],
    ["the next group while the first is open", [[["ptu", 1, OPEN]], [["payg", 1]]], "payg"],
    ["the next group while the first was told to be left alone", [[["ptu", 1, RATE_LIMITED]], [["payg", 1]]], "payg"],
    ["the next group while the first is being probed", [[["ptu", 1, PROBING]], [["payg", 1]]], "payg"],
    ["a half-open one, as its probe", [[["ptu", 1, HALF_OPEN]], [["payg", 1]]], "ptu"],
    [
      "the sound one of a group, whatever its weight",
      [
        [
          ["big", 1000, OPEN],
          ["small", 1],
        ],
      ],
      "small",
    ],
    [
      "none where none may be asked",
      [
        [["ptu", 1, OPEN]],
        [
          ["payg", 1, PROBING],
          ["other", 1, BUSY],
        ],
      ],
      undefined,
    ],
  ])("gives %s", (_, rows, name) => {
    expect(nameOf(groupsOf(rows))).toBe(name);
  });

  it("names every deployment once while each fails, all of one priority before any of the next, whatever the chance", () => {
    const weights = fc.array(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 3,
    });
    const chances = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), {
      minLength: 12,
      maxLength: 12,
    });
    fc.assert(
      fc.property(weights, chances, (all, marks) => {
        const groups = groupsOf(all.map((group, g) => group.map((weight, d): Row => [`d${g}-${d}`, weight])));
        const left = [...marks];
        const tried = new Set<Target>();
        const random = (): number => left.shift() ?? 0;
        const next = (): Target | undefined => chooseTarget(groups, { nowMs: NOW, random, tried });
        for (let target = next(); target !== undefined; target = next()) tried.add(target);
        const order = [...tried];
        expect(order.map(({ rank }) => rank)).toEqual(order.map(({ rank }) => rank).toSorted((a, b) => a - b));
        expect(order.toSorted(byName)).toEqual(groups.flat().toSorted(byName));
      }),
    );
  });

  it("shares by weight among those that may be asked", () => {
    const groups = groupsOf([
      [
        ["small", 1],
        ["away", 90, OPEN],
        ["large", 9],
      ],
    ]);
    const names = Array.from({ length: 100 }, (_, index) => nameOf(groups, index / 100));
    expect(names.filter((name) => name === "large")).toHaveLength(90);
    expect(names.filter((name) => name === "small")).toHaveLength(10);
  });
});

describe("outlookOf()", () => {
  it.each<[string, readonly (readonly Row[])[], ReturnType<typeof outlookOf>]>([
    [
      "of one that asked for a while",
      [[["a", 1, RATE_LIMITED]]],
      { waitMs: 300, shortestMs: 300, isRateLimited: true },
    ],
    ["of one that is busy", [[["a", 1, BUSY]]], { waitMs: 200, shortestMs: 200, isRateLimited: false }],
    [
      "of the first of two",
      [[["a", 1, RATE_LIMITED]], [["b", 1, BUSY]]],
      { waitMs: 200, shortestMs: 200, isRateLimited: false },
    ],
    [
      "of one that has failed and may be asked again",
      [[["a", 1]]],
      { waitMs: 70, shortestMs: 70, isRateLimited: false },
    ],
    [
      "of none that is worth waiting for",
      [[["a", 1, OPEN]]],
      { waitMs: undefined, shortestMs: 400, isRateLimited: false },
    ],
    [
      "of one whose probe is under way",
      [[["a", 1, PROBING]]],
      { waitMs: undefined, shortestMs: 2000, isRateLimited: false },
    ],
    [
      "of a sound one behind an open one",
      [[["a", 1, OPEN]], [["b", 1, RATE_LIMITED]]],
      { waitMs: 300, shortestMs: 300, isRateLimited: false },
    ],
  ])("%s", (_, rows, outlook) => {
    expect(outlookOf(groupsOf(rows), { nowMs: NOW, againMs: 70 })).toEqual(outlook);
  });
});

function byName(a: Target, b: Target): number {
  return a.deployment.name.localeCompare(b.deployment.name);
}
