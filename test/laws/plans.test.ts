import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { catalogueSchema } from "#core/plan.ts";
import { HOUR_MS, hourKey, parseHourKey, shiftHour } from "#core/time.ts";
import { expectedDue, listStarts } from "./plan-oracle.ts";
import { isIn, playPlans, type PlanSwitch, type PlanWorld, type PodScript, type Stretch } from "./plan-world.ts";

const catalogue = catalogueSchema.parse({
  dimensions: [
    { id: "t1", from: "chats", unit: "chat", divisor: "2" },
    { id: "t2", from: "chats", unit: "chat", divisor: "2" },
    { id: "t3", from: "chats", unit: "chat", divisor: "2" },
    { id: "tokens", from: "tokens", unit: "3 tokens", divisor: "3" },
    { id: "fee", from: "billing_period", unit: "month", divisor: "1" },
    { id: "day_fee", from: "billing_period", unit: "day", divisor: "1" },
  ],
  plans: [
    {
      id: "tiered",
      displayName: "Tiered",
      billing: "Custom",
      dimensions: [
        { id: "t1", included: { quantity: "3", per: "Month" }, upTo: "6" },
        { id: "t2", included: { quantity: "6", per: "Month" }, upTo: "9" },
        { id: "t3", included: { quantity: "9", per: "Month" } },
        { id: "fee", fee: { quantity: "5", per: "Month" } },
      ],
    },
    {
      id: "yearly",
      displayName: "Yearly",
      billing: "Custom",
      dimensions: [
        { id: "t1", included: { quantity: "8", per: "Year" } },
        { id: "tokens", included: { quantity: "2", per: "Month" } },
        { id: "day_fee", fee: { quantity: "1", per: "Day" } },
      ],
    },
    {
      id: "plain",
      displayName: "Plain",
      billing: "Custom",
      dimensions: [{ id: "t1" }, { id: "tokens", included: { quantity: "4", per: "Year" } }],
    },
    {
      id: "free",
      displayName: "Free",
      billing: "Free",
      dimensions: [{ id: "t1", included: { quantity: "3", per: "Month" }, hard: "3" }],
    },
  ],
});

/** The window of a world: some hours before a period's edge, and as many hours in all. */
interface Window {
  readonly before: number;
  readonly hours: number;
}

function podOf({ before, hours }: Window): fc.Arbitrary<PodScript> {
  const hour = hourOf({ before, hours });
  const use = fc.record({
    hour,
    late: fc.boolean(),
    base: fc.constantFrom("chats", "tokens"),
    amount: fc.integer({ min: 1, max: 20 }),
  });
  return fc
    .record({
      uses: fc.array(use, { minLength: 1, maxLength: 5 }),
      silentFrom: fc.array(hour, { maxLength: 4 }),
      silentHours: fc.integer({ min: 1, max: 12 }),
      isSilentAtUse: fc.boolean(),
      ends: fc.boolean(),
    })
    .map(({ uses, silentFrom, silentHours, isSilentAtUse, ends }) => ({
      uses,
      ends,
      // Apart from each other, so that nobody is silent for a day: what is reported later finds another period.
      silent: spaced([...silentFrom, ...(isSilentAtUse ? uses.map(({ hour: at }) => at) : [])]).map((from) => ({
        from,
        hours: silentHours,
      })),
    }));
}

/** Most things happen near the edge, where they may go wrong. */
function hourOf({ before, hours }: Window): fc.Arbitrary<number> {
  const near = fc.integer({ min: before - 26, max: before + 26 });
  return fc.oneof(near, fc.nat({ max: hours - 30 }));
}

/**
 * Pods are silent and reporters away for 12 hours at most, one after the other for 24: once a sidecar's ring of 26
 * boundaries has passed an edge nobody knows what was counted there. Anchors of every day of the month, leap days too; the
 * window lies across the edge of some month, and maybe of a year.
 */
function worldOf(window: Window): fc.Arbitrary<PlanWorld & { readonly watched: readonly number[] }> {
  return fc
    .record({
      anchorHours: fc.nat({ max: 24 * 366 * 4 }),
      month: fc.integer({ min: 1, max: 36 }),
      firstPlan: planId,
      changes: fc.uniqueArray(fc.record({ hour: hourOf(window), plan: planId, lag: fc.nat({ max: 12 }) }), {
        maxLength: 5,
        selector: (change) => change.hour,
      }),
      pods: fc.array(podOf(window), { minLength: 1, maxLength: 5 }),
      outages: fc.array(fc.record({ from: hourOf(window), hours: fc.integer({ min: 2, max: 12 }) }), { maxLength: 3 }),
      watched: fc.array(fc.nat({ max: window.hours - 1 }), { maxLength: 3 }),
    })
    .map(({ anchorHours, month, changes, outages, watched, ...rest }) => {
      const anchor = hourKey(parseHourKey("2024010100") + anchorHours * HOUR_MS);
      const edge = listStarts(anchor, "Month")[month] ?? anchor;
      return {
        ...rest,
        catalogue,
        anchor,
        first: shiftHour(edge, -window.before),
        hours: window.hours,
        ...inTurn({ changes, outages }, [...watched, ...changes.map((change) => change.hour), window.hours - 1]),
      };
    });
}

const planId = fc.constantFrom(...catalogue.plans.map(({ id }) => id));

describe("I10: what is due of a period is what was used beyond what it includes", () => {
  it.each([
    { window: { before: 60, hours: 200 }, numRuns: 80 },
    { window: { before: 24 * 20, hours: 24 * 34 }, numRuns: 8 },
  ])(
    "holds for tiers, fees, plan changes to and fro, late reports, ends, and every anchor ($window.hours hours)",
    ({ window, numRuns }) => {
      fc.assert(
        fc.property(worldOf(window), (world) => {
          for (const { hour: at, due, counted } of playPlans(world, world.watched)) {
            const expected = catalogue.dimensions.map(({ id }) => [id, expectedDue(world, id, at)]);
            expect({ at, due }).toEqual({ at, due: Object.fromEntries(expected) });
            const charged = ["t1", "t2", "t3"].reduce((sum, id) => sum + (due[id] ?? 0n), 0n);
            expect(charged).toBeLessThanOrEqual(counted("chats"));
          }
        }),
        { numRuns },
      );
    },
  );

  it("keeps a bounded memory however often the plan changes", () => {
    const plans = ["tiered", "yearly", "plain", "free"];
    const changes = Array.from({ length: 400 }, (_, n) => ({ hour: n * 2, plan: plans[(n + 1) % 4] ?? "" }));
    const input: PlanWorld = {
      catalogue,
      anchor: "2026013110",
      first: "2026013110",
      hours: 900,
      firstPlan: "tiered",
      changes,
      pods: [{ uses: changes.map((change) => ({ ...change, base: "chats", amount: 1 })) }],
    };
    for (const { accounts } of playPlans(input, [100, 300, 500, 899]))
      for (const account of accounts) {
        expect(account.segments.length).toBeLessThanOrEqual(2);
        expect(account.periods.length).toBeLessThanOrEqual(5);
      }
  });
});

/**
 * Changes in order, none while the hours of another wait and no outage beside; nobody looks at hours that are closed later
 * than they end, as more is known by then.
 */
function inTurn(
  given: { readonly changes: readonly PlanSwitch[]; readonly outages: readonly Stretch[] },
  watched: readonly number[],
): Pick<PlanWorld, "changes" | "outages"> & { readonly watched: number[] } {
  const sorted = given.changes.toSorted((a, b) => a.hour - b.hour);
  const changes = sorted.map((change, index) => ({
    ...change,
    lag: Math.min(change.lag ?? 0, change.hour - (sorted[index - 1]?.hour ?? -1) - 1),
  }));
  const waits = changes.map(({ hour, lag }) => ({ from: hour - lag, hours: lag }));
  const outages = given.outages.filter(({ from, hours }, index) =>
    [...changes.map(({ hour, lag }) => ({ from: hour - lag, hours: lag + 1 })), ...given.outages.slice(0, index)].every(
      (other) => from + hours <= other.from || other.from + other.hours <= from,
    ),
  );
  const late = [...waits, ...outages.map(({ from, hours }) => ({ from, hours: hours - 1 }))];
  return { changes, outages, watched: watched.filter((at) => !late.some((stretch) => isIn(stretch, at))) };
}

function spaced(hours: readonly number[]): number[] {
  const kept: number[] = [];
  for (const from of hours.toSorted((a, b) => a - b)) if (from > (kept.at(-1) ?? -100) + 24) kept.push(from);
  return kept;
}
