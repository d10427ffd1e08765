import { describe, expect, it } from "vitest";
import type { Ledger } from "./api/usage-ledger.ts";
import { creditSlots, isDead, newLedger, openSlots } from "./ledger.ts";
import { type AzureDays, reconcileDays } from "./reconcile.ts";
import { HOUR_MS, parseHourKey, toIso } from "./time.ts";

const DAY = "20261122";
const [EARLY, LATE] = [`${DAY}09`, `${DAY}12`];
const DEAD_MS = parseHourKey(EARLY) + 26 * HOUR_MS;

/** Two open slots of one day. */
function twoOpen(): Ledger {
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "c" };
  const reservation = { planId: "p", quantity: "2", divisor: "1" };
  const account = {
    dimension: "d",
    from: "base",
    divisor: "1",
    dueClosed: "4",
    periods: [],
    segments: [],
    acceptedBefore: "0",
    acceptedDays: [],
    reservations: [EARLY, LATE].map((hour) => ({ ...reservation, hour })),
    dropped: "0",
    backlog: "0",
    usualHour: "0",
  };
  return { ...newLedger({ ...birth, nowMs: parseHourKey(EARLY), term: 1 }), accounts: [account] };
}

function answered(ledger: Ledger, answeredMs: number): Ledger {
  const credit = { dimension: "d", hour: LATE, acceptedBaseUnits: 2n, shares: new Map<string, bigint>() };
  return creditSlots(ledger, [{ ...credit, answeredAt: toIso(answeredMs) }]);
}

function compare(ledger: Ledger, at: { readonly nowMs: number; readonly listed: bigint }): Ledger {
  const azure: AzureDays = new Map([[DAY, new Map([["d", at.listed]])]]);
  const input = { azure, days: [DAY], nowMs: at.nowMs, sharesOf: () => new Map(), lateUsage: "Carry" as const };
  return reconcileDays(ledger, input).ledger;
}

const openHours = (ledger: Ledger): string[] =>
  openSlots(ledger)
    .filter((slot) => !slot.resolved)
    .map((slot) => slot.hour);

describe("reconcileDays()", () => {
  it("gives up no slot while the list may still lack what was booked last on its day", () => {
    const lateMs = DEAD_MS + 1;
    const ledger = answered(twoOpen(), lateMs - HOUR_MS / 2);
    // The list shows the early slot, whose answer was lost, and not yet the late one: together they look like one.
    expect(openHours(compare(ledger, { nowMs: lateMs, listed: 2n }))).toEqual([EARLY]);
    const settled = compare(ledger, { nowMs: lateMs + HOUR_MS, listed: 4n });
    expect(openHours(settled)).toEqual([]);
    expect(settled.accounts[0]?.acceptedDays).toMatchObject([{ day: DAY, baseUnits: "4" }]);
  });

  it("waits for the list as long as a last request could be missing in it", () => {
    expect([isDead(EARLY, DEAD_MS), isDead(EARLY, DEAD_MS + 1)]).toEqual([false, true]);
    const ledger = answered(twoOpen(), DEAD_MS - HOUR_MS);
    expect(openHours(compare(ledger, { nowMs: DEAD_MS, listed: 2n }))).toEqual([EARLY]);
    expect(openHours(compare(ledger, { nowMs: DEAD_MS + 1, listed: 2n }))).toEqual([]);
  });
});
