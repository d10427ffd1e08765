import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CloseInput, closeHour } from "./close-hour.ts";
import type { PodView } from "./counted.ts";
import { acceptedOf, creditSlots, newLedger, openSlots, sealLedger } from "./ledger.ts";
import { settlePod } from "./settle.ts";
import { dueAt } from "./overage.ts";
import { catalogueSchema } from "./plan.ts";
import { HOUR_MS, hourKey, parseHourKey, periodAt, shiftHour } from "./time.ts";

const INCLUDED = 10n;
const DIVISOR = 2n;
const catalogue = catalogueSchema.parse({
  dimensions: [{ id: "d", from: "base", unit: "u", divisor: DIVISOR.toString() }],
  plans: [
    {
      id: "p",
      displayName: "P",
      billing: "Custom",
      dimensions: [{ id: "d", included: { quantity: (INCLUDED / DIVISOR).toString(), per: "Month" } }],
    },
  ],
});

describe("I10: posted for a period = max(0, used in it − included), less a remainder below one unit", () => {
  it("holds for any use, any anchor day, late reports and pods that end", () => {
    const hours = fc.array(
      fc.record({ hour: fc.nat({ max: 24 * 34 }), amount: fc.bigInt({ min: 0n, max: 40n }), ends: fc.boolean() }),
      {
        maxLength: 12,
        size: "max",
      },
    );
    const birth = fc.date({ min: new Date("2026-01-01"), max: new Date("2027-12-31"), noInvalidDate: true });
    fc.assert(
      fc.property(birth, hours, (born, pods) => {
        const bornMs = Math.floor(born.getTime() / HOUR_MS) * HOUR_MS;
        const { due, posted } = bill(bornMs, pods);
        const perPeriod = new Map<number, bigint>();
        for (const pod of pods) {
          const { startMs } = periodAt(bornMs, "Month", bornMs + pod.hour * HOUR_MS);
          perPeriod.set(startMs, (perPeriod.get(startMs) ?? 0n) + pod.amount);
        }
        const expected = [...perPeriod.values()].reduce(
          (sum, used) => sum + (used > INCLUDED ? used - INCLUDED : 0n),
          0n,
        );
        expect(due).toBe(expected);
        expect(expected - posted >= 0n && expected - posted < DIVISOR).toBe(true);
      }),
      { numRuns: 20 },
    );
  });
});

/** One pod per entry uses its amount in its hour; the books close hour by hour and credit every intent at once. */
function bill(
  bornMs: number,
  uses: readonly { hour: number; amount: bigint; ends: boolean }[],
): { due: bigint; posted: bigint } {
  let ledger = newLedger({
    offerResourceId: "r",
    mode: "Marketplace",
    planId: "p",
    catalogueDigest: "",
    nowMs: bornMs,
    term: 1,
  });
  let pods: PodView[] = [];
  const first = hourKey(bornMs);
  for (let n = 0; n <= 24 * 36; n += 1) {
    const hour = shiftHour(first, n);
    uses.forEach((use, index) => {
      if (use.hour === n) pods.push(podThatUsed(`u${index}`, { hour, amount: use.amount, final: use.ends }));
    });
    // A live pod says its total again each hour; its ring forgets the oldest.
    pods = pods.map((pod) => (pod.final ? pod : withBoundary(pod, hour)));
    ledger = sealLedger(closeHour(ledger, closeInput(hour, pods)));
    const credits = openSlots(ledger).map((slot) => ({
      ...slot,
      acceptedBaseUnits: BigInt(slot.quantity) * DIVISOR,
      shares: new Map<string, bigint>(),
    }));
    ledger = creditSlots(ledger, credits);
    for (const pod of pods.filter(({ final }) => final)) ledger = settlePod(ledger, pod, parseHourKey(hour));
    pods = pods.filter(({ final }) => !final);
  }
  const account = ledger.accounts[0];
  if (!account) throw new Error("no account");
  return { due: dueAt(account, { ledger, pods, hour: ledger.lastClosedHour }), posted: acceptedOf(account) };
}

function podThatUsed(uid: string, use: { hour: string; amount: bigint; final: boolean }): PodView {
  return {
    uid,
    agent: "n/a",
    createdMs: parseHourKey(use.hour),
    reportedMs: parseHourKey(use.hour) + HOUR_MS - 1,
    final: use.final,
    totals: new Map([["base", use.amount]]),
    boundaries: [{ hour: shiftHour(use.hour, -1), totals: new Map() }],
  };
}

function withBoundary(pod: PodView, hour: string): PodView {
  return { ...pod, boundaries: [...pod.boundaries, { hour, totals: pod.totals }].slice(-26) };
}

function closeInput(hour: string, pods: readonly PodView[]): CloseInput {
  return {
    hour,
    pods,
    catalogue,
    catalogueDigest: "",
    lateUsage: "Carry",
    nowMs: parseHourKey(hour) + HOUR_MS + 60_000,
    stored: new Set(),
  };
}
