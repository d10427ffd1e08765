import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ledger } from "./api/usage-ledger.ts";
import { closeHour } from "./close-hour.ts";
import { livePods, type PodView } from "./counted.ts";
import { newLedger } from "./ledger.ts";
import { createPodMerger } from "./merge-pods.ts";
import { catalogueSchema } from "./plan.ts";
import { HOUR_MS, parseHourKey, shiftHour } from "./time.ts";

// The month of the plan turns at 10:00 on the 22nd: two hours after the first.
const BORN_MS = Date.UTC(2026, 9, 22, 10, 5);
const FIRST = "2026112208";
const HOURS = 6;
const catalogue = catalogueSchema.parse({
  dimensions: [
    { id: "a_sold", from: "a", unit: "u", divisor: "10" },
    { id: "b_sold", from: "b", unit: "u", divisor: "1" },
  ],
  plans: [
    {
      id: "p",
      displayName: "P",
      billing: "Custom",
      dimensions: [{ id: "a_sold", included: { quantity: "3", per: "Month" } }, { id: "b_sold" }],
    },
  ],
});

/** A pod that counts on for hours and publishes some boundaries, or forgets its first ones. */
const podOf = fc.record({
  agent: fc.constantFrom("n/x", "n/y", "n/z"),
  team: fc.constantFrom(undefined, "red", "blue"),
  bornAfter: fc.nat({ max: HOURS }),
  perHour: fc.array(fc.record({ a: fc.nat(40), b: fc.nat(3) }), { minLength: HOURS + 2, maxLength: HOURS + 2 }),
  silentFrom: fc.nat({ max: HOURS + 2 }),
  forgets: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: HOURS }) }),
  quiet: fc.boolean(),
});

/** What the pod has published at the close of the hour with this index. */
function viewAt(pod: typeof podOf extends fc.Arbitrary<infer T> ? T : never, index: number, uid: string): PodView {
  const totals = { a: 0n, b: 0n };
  const boundaries: PodView["boundaries"][number][] = [];
  for (let hour = pod.bornAfter; hour <= index; hour += 1) {
    const isBirth = hour === pod.bornAfter;
    const used = (isBirth ? undefined : pod.perHour[hour]) ?? { a: 0, b: 0 };
    totals.a += pod.quiet && hour < 4 ? 0n : BigInt(used.a);
    totals.b += BigInt(used.b);
    const snapshot = new Map(isBirth ? [] : Object.entries(totals));
    if (hour < pod.silentFrom) boundaries.push({ hour: shiftHour(FIRST, hour - 1), totals: snapshot });
  }
  return {
    uid,
    agent: pod.agent,
    team: pod.team,
    createdMs: parseHourKey(FIRST) + pod.bornAfter * HOUR_MS + uid.length,
    reportedMs: 0,
    final: false,
    totals: new Map(Object.entries(totals)),
    boundaries: boundaries.slice(pod.forgets),
  };
}

function merge(ledger: Ledger, pods: readonly PodView[]): PodView[] {
  const merger = createPodMerger(ledger);
  for (const pod of livePods(ledger, pods)) merger.add(pod);
  return merger.pods();
}

function born(): Ledger {
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "c" };
  const ledger = newLedger({ ...birth, nowMs: BORN_MS, term: 1 });
  return { ...ledger, lastClosedHour: shiftHour(FIRST, -1) };
}

function close(ledger: Ledger, hour: string, pods: readonly PodView[]): Ledger {
  const nowMs = parseHourKey(hour) + HOUR_MS + 60_000;
  return closeHour(ledger, {
    hour,
    pods,
    catalogue,
    catalogueDigest: "c",
    lateUsage: "Carry",
    nowMs,
    stored: new Set(),
  });
}

describe("createPodMerger()", () => {
  it("closes every hour to the same ledger as the pods themselves, over the turn of a month", () => {
    fc.assert(
      fc.property(fc.array(podOf, { maxLength: 8 }), (pods) => {
        let ledger = born();
        for (let index = 0; index < HOURS; index += 1) {
          const hour = shiftHour(FIRST, index);
          const views = pods.map((pod, n) => viewAt(pod, index + 1, "u".repeat(n + 1)));
          const closed = close(ledger, hour, views);
          expect(close(ledger, hour, merge(ledger, views))).toEqual(closed);
          ledger = closed;
        }
        expect(ledger.accounts.some((account) => account.segments.length > 0)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("leaves of a thousand pods one per agent", () => {
    const pods = Array.from({ length: 1000 }, (_, n): PodView => ({
      uid: `u${n}`,
      agent: `n/agent-${n % 7}`,
      createdMs: n,
      reportedMs: 0,
      final: false,
      totals: new Map([["a", 5n]]),
      boundaries: [{ hour: shiftHour(FIRST, -2), totals: new Map() }],
    }));
    expect(merge(born(), pods)).toHaveLength(7);
  });
});
