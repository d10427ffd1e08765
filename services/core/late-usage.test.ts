import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Account, Ledger } from "./api/usage-ledger.ts";
import { closeHour } from "./close-hour.ts";
import type { PodView } from "./counted.ts";
import { fadeUsualHour, type LateUsage, postableOf } from "./late-usage.ts";
import { acceptedOf, claimedOf, creditSlots, openSlots, resolveSlots, resolvedSlots } from "./ledger.ts";
import { dueAt } from "./overage.ts";
import { catalogueSchema } from "./plan.ts";
import { rebuildLedger } from "./reconcile.ts";
import { HOUR_MS, parseHourKey, shiftHour } from "./time.ts";

describe("postableOf(): what one slot may take", () => {
  const hour = { billable: 0n, own: 0n, usual: 0n, divisor: 1n, lateUsage: "Carry" as const };
  it.each([
    { what: "an hour without backlog", of: { billable: 40n, own: 40n, usual: 10n }, expected: 40n },
    { what: "at most one ordinary hour of the backlog", of: { billable: 440n, own: 40n, usual: 50n }, expected: 90n },
    { what: "the backlog when it is smaller", of: { billable: 60n, own: 40n, usual: 50n }, expected: 60n },
    { what: "a 24th, rounded up, where nothing is usual", of: { billable: 241n, own: 0n, usual: 0n }, expected: 11n },
    { what: "at least a unit", of: { billable: 30n, own: 4n, usual: 0n, divisor: 10n }, expected: 14n },
    { what: "nothing that is not due", of: { billable: -5n, own: 40n, usual: 50n }, expected: -5n },
    {
      what: "less than the hour's own when more was accepted",
      of: { billable: 15n, own: 40n, usual: 50n },
      expected: 15n,
    },
    {
      what: "all of it where late usage is dropped",
      of: { billable: 440n, own: 40n, usual: 0n, lateUsage: "Drop" as const },
      expected: 440n,
    },
  ])("$what", ({ of, expected }) => {
    expect(postableOf({ ...hour, ...of })).toBe(expected);
  });

  it("forgets the busiest hour within about a week, but not from one hour to the next", () => {
    expect(fadeUsualHour(50n)).toBe(50n);
    let usual = 10_000n;
    for (let n = 0; n < 168; n += 1) usual = fadeUsualHour(usual);
    expect(usual).toBeLessThan(3_800n);
  });
});

const BORN = "2026112208";
const CATALOGUE = catalogueSchema.parse({
  dimensions: [{ id: "d", from: "base", unit: "u", divisor: "10" }],
  plans: [{ id: "p", displayName: "P", billing: "Custom", dimensions: [{ id: "d" }] }],
});

/** Books of one dimension that is used evenly; the Marketplace answers at once, or its slots die. */
class Desk {
  ledger: Ledger;
  used = 0n;
  boundaries: { hour: string; totals: Map<string, bigint> }[] = [{ hour: shiftHour(BORN, -1), totals: new Map() }];
  readonly lateUsage: LateUsage;

  constructor(lateUsage: LateUsage) {
    this.lateUsage = lateUsage;
    const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "", term: 1 };
    const at = { nowMs: parseHourKey(BORN), catalogue: CATALOGUE, plan: CATALOGUE.plans[0] };
    this.ledger = rebuildLedger({ ...birth, ...at }, []);
  }

  get pods(): PodView[] {
    const totals = new Map([["base", this.used]]);
    return [{ uid: "p", agent: "n/p", createdMs: 0, reportedMs: 0, final: false, totals, boundaries: this.boundaries }];
  }

  get account(): Account {
    const [account] = this.ledger.accounts;
    if (!account) throw new Error("no account");
    return account;
  }

  /** Uses something, closes the hour `lateHours` after its end, and returns the units of its slot. */
  hour(amount: bigint, lateHours = 0): number {
    const hour = shiftHour(this.ledger.lastClosedHour, 1);
    this.used += amount;
    this.boundaries = [...this.boundaries, { hour, totals: new Map([["base", this.used]]) }].slice(-26);
    const nowMs = parseHourKey(hour) + (1 + lateHours) * HOUR_MS + 60_000;
    const { pods, lateUsage } = this;
    this.ledger = closeHour(this.ledger, {
      hour,
      pods,
      catalogue: CATALOGUE,
      catalogueDigest: "",
      lateUsage,
      nowMs,
      stored: new Set(),
    });
    this.check();
    return Number(openSlots(this.ledger).find((slot) => slot.hour === hour)?.quantity ?? 0);
  }

  accept(): void {
    const credits = openSlots(this.ledger).map((slot) => ({
      ...slot,
      acceptedBaseUnits: BigInt(slot.quantity) * 10n,
      shares: new Map(),
    }));
    this.ledger = creditSlots(this.ledger, credits);
    this.check();
  }

  /** Every open slot died, and Azure holds nothing of it. */
  die(): void {
    const isDropped = this.lateUsage === "Drop";
    const state = isDropped ? ("Dropped" as const) : ("Reconciled" as const);
    const dead = openSlots(this.ledger).map((slot) => ({
      ...slot,
      acceptedBaseUnits: 0n,
      shares: new Map([["n/p", BigInt(slot.quantity) * 10n]]),
      isDropped,
      state,
    }));
    this.ledger = resolveSlots(this.ledger, dead);
    this.check();
  }

  check(): void {
    const due = dueAt(this.account, { ledger: this.ledger, pods: this.pods, hour: "9999123123" });
    expect(claimedOf(this.account) <= due && due <= this.used).toBe(true);
  }
}

describe("an outage of the Marketplace over 24 h", () => {
  it("is carried: spread over later slots, with amount and age in sight until the last unit is posted", () => {
    const desk = new Desk("Carry");
    for (let n = 0; n < 6; n += 1) desk.hour(100n);
    desk.die();
    expect(desk.account).toMatchObject({ backlog: "600", oldestUnpostedHour: BORN, dropped: "0" });
    const quantities: number[] = [];
    while (desk.account.oldestUnpostedHour !== undefined) {
      quantities.push(desk.hour(50n));
      desk.accept();
    }
    // Ten units are an ordinary hour, five are the hour's own.
    expect(quantities).toEqual([15, 15, 15, 15, 15, 15]);
    expect(acceptedOf(desk.account)).toBe(900n);
    expect(desk.account.backlog).toBe("0");
  });

  it("is written off where late usage is dropped, for ever, and its owners had it for nothing", () => {
    const desk = new Desk("Drop");
    desk.hour(104n);
    desk.die();
    expect(desk.account).toMatchObject({ dropped: "100", backlog: "4" });
    expect(resolvedSlots(desk.ledger)).toMatchObject([{ resolved: { state: "Dropped", acceptedBaseUnits: "0" } }]);
    expect(desk.ledger.attributions).toMatchObject([{ agent: "n/p", billed: "0", free: "100" }]);
    expect(desk.hour(36n)).toBe(4);
    desk.accept();
    expect(acceptedOf(desk.account)).toBe(40n);
  });

  it("gives the carried quantity back to its owners", () => {
    const desk = new Desk("Carry");
    desk.hour(100n);
    desk.die();
    expect(desk.ledger.attributions).toMatchObject([{ agent: "n/p", billed: "0", free: "0" }]);
  });
});

describe("an hour that is closed too late to be sent", () => {
  it("is carried", () => {
    const desk = new Desk("Carry");
    expect(desk.hour(100n, 24)).toBe(0);
    expect(desk.account).toMatchObject({ backlog: "100", oldestUnpostedHour: BORN });
    expect(desk.hour(100n)).toBe(20);
  });

  it("is written off in whole units where late usage is dropped", () => {
    const desk = new Desk("Drop");
    expect(desk.hour(107n, 24)).toBe(0);
    expect(desk.account).toMatchObject({ dropped: "100", backlog: "7" });
    expect(desk.ledger.attributions).toMatchObject([{ agent: "n/p", billed: "0", free: "100" }]);
    expect(desk.hour(13n)).toBe(2);
  });
});

describe("a slot that was given up", () => {
  it("holds no money any more, and leaves when its statement says so", () => {
    const desk = new Desk("Carry");
    desk.hour(100n);
    desk.die();
    expect(claimedOf(desk.account)).toBe(0n);
    const credit = { dimension: "d", hour: BORN, acceptedBaseUnits: 0n, shares: new Map() };
    const closed = creditSlots(desk.ledger, [credit]);
    expect(closed.accounts[0]).toMatchObject({ reservations: [], backlog: "100", acceptedDays: [] });
  });

  it("is given up once: a second reconciliation changes nothing", () => {
    const desk = new Desk("Carry");
    desk.hour(100n);
    desk.die();
    const again = {
      dimension: "d",
      hour: BORN,
      acceptedBaseUnits: 50n,
      shares: new Map(),
      state: "Reconciled" as const,
    };
    expect(resolveSlots(desk.ledger, [again])).toBe(desk.ledger);
  });

  it("is accepted after all when a definite answer turns up in its statement", () => {
    const desk = new Desk("Carry");
    desk.hour(100n);
    desk.die();
    const credit = { dimension: "d", hour: BORN, acceptedBaseUnits: 100n, shares: new Map() };
    expect(acceptedOf(creditSlots(desk.ledger, [credit]).accounts[0] ?? desk.account)).toBe(100n);
  });
});

it("law: whatever dies, carried usage is posted in the end, and no slot exceeds its own hour by more than one ordinary hour", () => {
  const step = fc.record({
    amount: fc.bigInt({ min: 0n, max: 400n }),
    dies: fc.boolean(),
    lateHours: fc.constantFrom(0, 0, 0, 30),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
      const desk = new Desk("Carry");
      let busiest = 10n;
      for (const { amount, dies, lateHours } of steps) {
        if (amount > busiest) busiest = amount;
        const share = (BigInt(desk.account.backlog) + 23n) / 24n;
        const units = desk.hour(amount, lateHours);
        const extra = share > busiest ? share : busiest;
        expect(BigInt(units) * 10n <= amount + extra).toBe(true);
        if (dies) desk.die();
        else desk.accept();
      }
      desk.accept();
      for (let n = 0; n < 400 && desk.account.oldestUnpostedHour !== undefined; n += 1) {
        desk.hour(0n);
        desk.accept();
      }
      expect(acceptedOf(desk.account)).toBe((desk.used / 10n) * 10n);
    }),
    { numRuns: 100 },
  );
});
