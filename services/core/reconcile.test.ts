import { describe, expect, it } from "vitest";
import type { Ledger } from "./api/usage-ledger.ts";
import { creditSlots, isDead, newLedger, openSlots } from "./ledger.ts";
import { type AzureDays, confirmLedger, isOverdue, reconcileDays } from "./reconcile.ts";
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

describe("confirmLedger()", () => {
  const FIRST_MS = parseHourKey(EARLY);
  const seen = (minutes: number, doubt: Partial<{ isDoubtful: boolean; isComplete: boolean }> = {}) => ({
    listedMs: FIRST_MS + minutes * 60_000,
    isDoubtful: false,
    isComplete: true,
    ...doubt,
  });
  const { confirmation: _, ...old } = twoOpen();
  const listed = (minutes: number): Ledger => ({
    ...old,
    confirmation: { listedAt: toIso(FIRST_MS + minutes * 60_000) },
  });

  it.each([
    ["a ledger that was just made is listed for the first time", twoOpen(), seen(0), listed(0)],
    ["59 minutes later it waits", listed(0), seen(59), listed(0)],
    ["an hour later it is believed", listed(0), seen(60), old],
    [
      "unless the list held something new: from there another hour",
      listed(0),
      seen(60, { isDoubtful: true }),
      listed(60),
    ],
    ["or a day could not be compared", listed(0), seen(60, { isComplete: false }), listed(0)],
    ["a ledger in use stays as it is", old, seen(0), old],
    ["until it is found rolled back", old, seen(5, { isDoubtful: true }), listed(5)],
  ])("%s", (_name, ledger, at, wanted) => {
    expect(confirmLedger(ledger, at)).toEqual(wanted);
  });

  it.each([
    ["the next hour is not over", old, { nowMs: FIRST_MS + 59 * 60_000, listedMs: 0 }, false],
    ["it is over for ten minutes", old, { nowMs: FIRST_MS + 70 * 60_000, listedMs: 0 }, false],
    ["and for more", old, { nowMs: FIRST_MS + 70 * 60_000 + 1, listedMs: 0 }, true],
    ["the second list is due", listed(0), seen(70), false],
    ["the second list should have been read", listed(0), seen(71), true],
  ])("is overdue? %s", (_name, ledger, at, wanted) => {
    expect(isOverdue(ledger, { nowMs: FIRST_MS, ...at })).toBe(wanted);
  });
});
