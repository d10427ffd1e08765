import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ledger } from "./api/usage-ledger.ts";
import { canClose, closeHour, type CloseInput } from "./close-hour.ts";
import { type PodView, totalAt } from "./counted.ts";
import { creditSlots, isDead, isSendable, newLedger, openSlots, parkDimension, sealLedger } from "./ledger.ts";
import { catalogueSchema } from "./plan.ts";
import { raiseLastSlots } from "./reconcile.ts";
import { splitByWeight } from "./shares.ts";
import { HOUR_MS, parseHourKey } from "./time.ts";

const BORN_MS = Date.UTC(2026, 10, 22, 8, 10);
const catalogue = catalogueSchema.parse({
  dimensions: [{ id: "d", from: "base", unit: "u", divisor: "10" }],
  plans: [{ id: "p", displayName: "P", billing: "Custom", dimensions: [{ id: "d" }] }],
});

function pod(uid: string, total: bigint, part: Partial<PodView> = {}): PodView {
  return {
    uid,
    agent: "shop/orders",
    createdMs: BORN_MS,
    reportedMs: BORN_MS,
    final: false,
    totals: new Map([["base", total]]),
    boundaries: [{ hour: "2026112207", totals: new Map() }],
    ...part,
  };
}

function born(): Ledger {
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "c" };
  return newLedger({ ...birth, nowMs: BORN_MS, term: 1 });
}

function input(hour: string, pods: readonly PodView[], part: Partial<CloseInput> = {}): CloseInput {
  return {
    hour,
    pods,
    catalogue,
    catalogueDigest: "c",
    lateUsage: "Carry",
    nowMs: parseHourKey(hour) + HOUR_MS + 60_000,
    stored: new Set(),
    ...part,
  };
}

describe("newLedger()", () => {
  it("begins at a whole revision, whatever fraction the clock has", () => {
    const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "c" };
    expect(newLedger({ ...birth, nowMs: BORN_MS + 0.03, term: 1 }).revision).toBe(String(BORN_MS));
  });
});

describe("closeHour()", () => {
  it("reserves whole units and keeps the remainder for the next hour", () => {
    const first = closeHour(born(), input("2026112208", [pod("a", 27n)]));
    expect(openSlots(first)).toMatchObject([{ dimension: "d", hour: "2026112208", quantity: "2", planId: "p" }]);
    const second = closeHour(first, input("2026112209", [pod("a", 33n)]));
    expect(openSlots(second).map(({ hour, quantity }) => [hour, quantity])).toEqual([
      ["2026112208", "2"],
      ["2026112209", "1"],
    ]);
  });

  it("refuses to close another hour than the next", () => {
    expect(() => closeHour(born(), input("2026112210", []))).toThrow(
      "Cannot close hour as it must be the one after 2026112207: current value is 2026112210",
    );
  });

  it.each([
    [
      "a parked dimension",
      (ledger: Ledger) =>
        parkDimension(ledger, { dimension: "d", hour: "", planId: "p", reason: "x", message: "", nowMs: 0 }),
      {},
    ],
    ["a slot that was taken before", (ledger: Ledger) => raiseLastSlots(ledger, parseHourKey("2026112210")), {}],
    ["an hour that is 24 h old", (ledger: Ledger) => ledger, { nowMs: parseHourKey("2026112309") + 24 * HOUR_MS }],
  ])("posts nothing for %s, and counts on", (_what, change, part) => {
    const opened = closeHour(born(), input("2026112208", []));
    const used = pod("a", 50n, { boundaries: [{ hour: "2026112208", totals: new Map() }] });
    const closed = closeHour(change(opened), input("2026112209", [used], part));
    expect(openSlots(closed)).toEqual([]);
    expect(closed.lastClosedHour).toBe("2026112209");
    const unparked = closed.accounts.map((account) => {
      const { parked: _, ...rest } = account;
      return rest;
    });
    const later = closeHour({ ...closed, accounts: unparked }, input("2026112210", [used]));
    expect(openSlots(later)).toMatchObject([{ hour: "2026112210", quantity: "5" }]);
  });

  it("posts nothing in plain mode", () => {
    const plain = { ...closeHour(born(), input("2026112208", [])), mode: "Plain" as const };
    expect(openSlots(closeHour(plain, input("2026112209", [pod("a", 50n)])))).toEqual([]);
  });

  it("unparks a dimension when the catalogue or the plan changes", () => {
    const parked = parkDimension(closeHour(born(), input("2026112208", [])), {
      dimension: "d",
      hour: "",
      planId: "p",
      reason: "InvalidDimension",
      message: "m",
      nowMs: BORN_MS,
    });
    expect(sealLedger(parked).parked).toEqual(["d"]);
    const same = closeHour(parked, input("2026112209", []));
    expect(same.accounts[0]?.parked).toBeDefined();
    expect(closeHour(parked, input("2026112209", [], { catalogueDigest: "c2" })).accounts[0]?.parked).toBeUndefined();
  });

  it("bills nothing when more was accepted than is due, until use has caught up", () => {
    const first = closeHour(born(), input("2026112208", [pod("a", 100n)]));
    const over = creditSlots(first, [
      { dimension: "d", hour: "2026112208", acceptedBaseUnits: 150n, shares: new Map() },
    ]);
    const second = closeHour(over, input("2026112209", [pod("a", 140n)]));
    expect(openSlots(second)).toEqual([]);
    expect(openSlots(closeHour(second, input("2026112210", [pod("a", 171n)])))).toMatchObject([{ quantity: "2" }]);
  });

  it("is the same for any order of pods and shares no unit between agents that sums up wrongly", () => {
    const uses = fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.bigInt({ min: 0n, max: 500n })), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(uses, fc.integer(), (list, seed) => {
        const pods = list.map(([agent, total], n) => pod(`p${n}`, total, { agent: `shop/${agent}` }));
        const shuffled = pods.toSorted((x, y) => hash(x.uid, seed) - hash(y.uid, seed));
        const [one, two] = [pods, shuffled].map((order) => openSlots(closeHour(born(), input("2026112208", order))));
        const sorted = (slots: typeof one): unknown =>
          slots?.map((slot) => ({ ...slot, shares: slot.shares?.toSorted((x, y) => x.agent.localeCompare(y.agent)) }));
        expect(sorted(one)).toEqual(sorted(two));
        for (const slot of one ?? []) {
          const sum = (slot.shares ?? []).reduce((acc, share) => acc + BigInt(share.baseUnits), 0n);
          expect(sum).toBe(BigInt(slot.quantity) * 10n);
        }
      }),
    );
  });
});

describe("canClose()", () => {
  const END_MS = parseHourKey("2026112209");
  const waiting = pod("a", 1n);
  const done = pod("b", 1n, { boundaries: [{ hour: "2026112208", totals: new Map() }] });
  const at = (afterMs: number): Parameters<typeof canClose>[2] => ({
    nowMs: END_MS + afterMs,
    endMs: END_MS,
    graceMs: 125_000,
  });

  it.each([
    { what: "before its end", pods: [done], afterMs: -1, expected: false },
    { what: "when every pod has said its boundary", pods: [done], afterMs: 0, expected: true },
    { what: "not while one has not", pods: [done, waiting], afterMs: 60_000, expected: false },
    { what: "after the grace in any case", pods: [done, waiting], afterMs: 125_000, expected: true },
    { what: "when the silent one had ended", pods: [done, { ...waiting, final: true }], afterMs: 0, expected: true },
    {
      what: "when the silent one is younger",
      pods: [done, { ...waiting, createdMs: END_MS }],
      afterMs: 0,
      expected: true,
    },
    { what: "when nobody is there", pods: [], afterMs: 0, expected: true },
  ])("$what", ({ pods, afterMs, expected }) => {
    expect(canClose("2026112208", pods, at(afterMs))).toBe(expected);
  });
});

describe("creditSlots()", () => {
  it("credits a slot once, whatever is repeated", () => {
    const reserved = closeHour(born(), input("2026112208", [pod("a", 27n)]));
    const credit = {
      dimension: "d",
      hour: "2026112208",
      acceptedBaseUnits: 20n,
      shares: new Map([["shop/orders", 20n]]),
    };
    const once = creditSlots(reserved, [credit]);
    expect(once.accounts[0]).toMatchObject({ reservations: [], acceptedDays: [{ day: "20261122", baseUnits: "20" }] });
    expect(creditSlots(once, [credit, credit])).toBe(once);
  });

  it("gives what was not accepted back to its owners", () => {
    const reserved = closeHour(born(), input("2026112208", [pod("a", 20n), pod("b", 20n, { agent: "shop/refunds" })]));
    const shares = new Map([
      ["shop/orders", 20n],
      ["shop/refunds", 20n],
    ]);
    const credited = creditSlots(reserved, [{ dimension: "d", hour: "2026112208", acceptedBaseUnits: 30n, shares }]);
    expect(credited.attributions.map(({ agent, billed }) => [agent, billed])).toEqual([
      ["shop/orders", "15"],
      ["shop/refunds", "15"],
    ]);
  });
});

describe("slots", () => {
  it.each([
    { now: "2026-11-22T08:59:59Z", sendable: false, dead: false },
    { now: "2026-11-22T09:00:00Z", sendable: true, dead: false },
    { now: "2026-11-23T07:49:59Z", sendable: true, dead: false },
    { now: "2026-11-23T07:50:00Z", sendable: false, dead: false },
    { now: "2026-11-23T10:00:00Z", sendable: false, dead: false },
    { now: "2026-11-23T10:00:01Z", sendable: false, dead: true },
  ])("2026112208 at $now: sendable $sendable, dead $dead", ({ now, sendable, dead }) => {
    const nowMs = Date.parse(now);
    expect([isSendable("2026112208", nowMs), isDead("2026112208", nowMs)]).toEqual([sendable, dead]);
  });

  it("raises the last slot after a rollback, so that a forgotten slot is never taken again", () => {
    const ledger = closeHour(born(), input("2026112208", [pod("a", 27n)]));
    const raised = raiseLastSlots(ledger, Date.UTC(2026, 10, 22, 12, 30));
    expect(raised.accounts[0]?.lastSlot).toBe("2026112211");
    expect(raiseLastSlots(raised, Date.UTC(2026, 10, 22, 9, 30)).accounts[0]?.lastSlot).toBe("2026112211");
  });
});

describe("totalAt()", () => {
  it("takes the boundary, else the next later one, else the newest; it never falls from hour to hour", () => {
    const seen = pod("a", 9n, {
      boundaries: [
        { hour: "2026112207", totals: new Map() },
        { hour: "2026112209", totals: new Map([["base", 4n]]) },
      ],
    });
    expect(
      ["2026112206", "2026112207", "2026112208", "2026112209", "2026112210"].map((hour) => totalAt(seen, "base", hour)),
    ).toEqual([0n, 0n, 4n, 4n, 9n]);
  });
});

describe("splitByWeight()", () => {
  it("sums to the total and gives nobody more than they had", () => {
    const weights = fc.uniqueArray(fc.tuple(fc.string(), fc.bigInt({ min: 0n, max: 10n ** 15n })), {
      selector: ([key]) => key,
    });
    fc.assert(
      fc.property(weights, fc.nat({ max: 1000 }), (list, permille) => {
        const map = new Map(list);
        const sum = list.reduce((acc, [, weight]) => acc + weight, 0n);
        const total = (sum * BigInt(permille)) / 1000n;
        const parts = splitByWeight(total, map);
        expect([...parts.values()].reduce((acc, part) => acc + part, 0n)).toBe(total);
        for (const [key, part] of parts) expect(part <= (map.get(key) ?? 0n)).toBe(true);
      }),
    );
  });
});

function hash(text: string, seed: number): number {
  return Array.from(text).reduce((acc, char) => (acc * 31 + char.charCodeAt(0)) % 1009, Math.abs(seed) % 1009);
}
