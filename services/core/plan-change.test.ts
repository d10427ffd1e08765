import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Account, Ledger } from "./api/usage-ledger.ts";
import { closeHour } from "./close-hour.ts";
import type { PodView } from "./counted.ts";
import { claimedOf, creditSlots, openSlots } from "./ledger.ts";
import { settlePod } from "./settle.ts";
import { dueAt } from "./overage.ts";
import { catalogueSchema, findPlan } from "./plan.ts";
import { markPlanChange } from "./plan-change.ts";
import { rebuildLedger } from "./reconcile.ts";
import { HOUR_MS, parseHourKey, shiftHour } from "./time.ts";

const NEWEST = "9999123123";
const BORN = "2026112208";
const CATALOGUE = catalogueSchema.parse({
  dimensions: [
    { id: "chat", from: "chats", unit: "chat", divisor: "1" },
    { id: "action", from: "actions", unit: "action", divisor: "1" },
    { id: "base_fee", from: "billing_period", unit: "month", divisor: "1" },
  ],
  plans: [
    {
      id: "a",
      displayName: "A",
      billing: "Custom",
      dimensions: [{ id: "chat", included: { quantity: "10", per: "Month" } }, { id: "action" }],
    },
    {
      id: "b",
      displayName: "B",
      billing: "Custom",
      dimensions: [
        { id: "chat", included: { quantity: "100", per: "Month" } },
        { id: "base_fee", fee: { quantity: "5", per: "Month" } },
      ],
    },
    { id: "c", displayName: "C", billing: "Custom", dimensions: [{ id: "chat" }, { id: "action" }] },
    { id: "free", displayName: "Free", billing: "Free", dimensions: [] },
  ],
});

/** Books and pods of one installation; an hour is closed and its intents are answered at once. */
class Desk {
  ledger: Ledger;
  pods: PodView[] = [];
  catalogue = CATALOGUE;
  lateUsage: "Carry" | "Drop" = "Carry";
  readonly posted: string[] = [];

  constructor(planId: string) {
    const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId, catalogueDigest: "", term: 1 };
    const at = { nowMs: parseHourKey(BORN), catalogue: CATALOGUE, plan: findPlan(CATALOGUE, planId) };
    this.ledger = rebuildLedger({ ...birth, ...at }, []);
  }

  /** A pod says its total, and with an hour what it was at its end. */
  say(uid: string, chats: bigint, boundary?: string, base = "chats"): void {
    const old = this.pods.find((pod) => pod.uid === uid);
    const birth = { hour: shiftHour(BORN, -1), totals: new Map<string, bigint>() };
    const totals = new Map([...(old?.totals ?? []), [base, chats] as const]);
    const boundaries = [
      ...(old?.boundaries ?? [birth]),
      ...(boundary === undefined ? [] : [{ hour: boundary, totals }]),
    ];
    const pod: PodView = { uid, agent: `n/${uid}`, createdMs: 0, reportedMs: 0, final: false, totals, boundaries };
    this.pods = [...this.pods.filter((other) => other.uid !== uid), pod];
    this.check();
  }

  seePlan(planId: string, hour: string): void {
    const nowMs = parseHourKey(hour) + HOUR_MS / 2;
    this.ledger = markPlanChange(this.ledger, { planId, pods: this.pods, catalogue: this.catalogue, nowMs });
    this.check();
  }

  /** Closes up to and including an hour, in time, and returns what each posted: `hour plan dimension quantity`. */
  close(until: string): string[] {
    const before = this.posted.length;
    for (let hour = shiftHour(this.ledger.lastClosedHour, 1); hour <= until; hour = shiftHour(hour, 1))
      this.closeOne(hour);
    return this.posted.slice(before);
  }

  closeOne(hour: string, nowMs = parseHourKey(hour) + HOUR_MS + 60_000): void {
    const { pods, catalogue, lateUsage } = this;
    this.ledger = closeHour(this.ledger, {
      hour,
      pods,
      catalogue,
      catalogueDigest: "",
      lateUsage,
      nowMs,
      stored: new Set(),
    });
    this.check();
    const slots = openSlots(this.ledger);
    this.posted.push(
      ...slots.map((slot) => `${slot.hour.slice(-2)} ${slot.planId} ${slot.dimension} ${slot.quantity}`),
    );
    this.ledger = creditSlots(
      this.ledger,
      slots.map((slot) => ({ ...slot, acceptedBaseUnits: BigInt(slot.quantity), shares: new Map() })),
    );
    this.check();
  }

  settle(uid: string): void {
    const pod = this.pods.find((other) => other.uid === uid);
    if (pod) this.ledger = settlePod(this.ledger, pod, 0);
    this.pods = this.pods.filter((other) => other.uid !== uid);
    this.check();
  }

  account(dimension: string): Account | undefined {
    return this.ledger.accounts.find((account) => account.dimension === dimension);
  }

  /** I4 at every step: accepted + reserved + dropped <= due <= counted. */
  check(): void {
    for (const account of this.ledger.accounts) {
      const due = dueAt(account, { ledger: this.ledger, pods: this.pods, hour: NEWEST });
      const { from } = account;
      const live = this.pods.reduce((sum, pod) => sum + (pod.totals.get(from) ?? 0n), 0n);
      const settled = this.ledger.settled.reduce(
        (sum, entry) => sum + (entry.dimension === from ? BigInt(entry.total) : 0n),
        0n,
      );
      expect(claimedOf(account) <= due, `${account.dimension}: ${claimedOf(account)} claimed of ${due} due`).toBe(true);
      if (from !== "billing_period")
        expect(due <= live + settled, `${account.dimension}: ${due} due of ${live + settled} counted`).toBe(true);
    }
  }
}

describe("a plan change", () => {
  it("bills the old plan up to the mark in its hour, the rest an hour later under the new plan", () => {
    const desk = new Desk("a");
    desk.say("p", 14n);
    desk.seePlan("c", "2026112208");
    desk.say("p", 20n, "2026112208");
    expect(desk.close("2026112208")).toEqual(["08 a chat 4"]);
    expect(desk.ledger).toMatchObject({ planId: "c", lastClosedHour: "2026112208" });
    expect(desk.ledger.planChange).toBeUndefined();
    desk.say("p", 23n, "2026112209");
    expect(desk.close("2026112209")).toEqual(["09 c chat 9"]);
  });

  it("bills no hour of a reporter that was away for what was used in a later one", () => {
    const desk = new Desk("a");
    // The month of the plan ends with hour 07; of what was used in it, all but the last chat in its last hour is free.
    for (const hour of ["2026122204", "2026122205", "2026122206"]) desk.say("p", 0n, hour);
    desk.close("2026122204");
    desk.say("p", 11n, "2026122207");
    desk.seePlan("c", "2026122210");
    expect(desk.close("2026122210")).toEqual(["07 a chat 1"]);
    expect(desk.account("chat")?.reservations).toEqual([]);
  });

  it("opens the new plan's included quantity at the mark", () => {
    const desk = new Desk("c");
    desk.say("p", 14n);
    desk.seePlan("a", "2026112208");
    desk.say("p", 27n, "2026112208");
    desk.say("p", 27n, "2026112209");
    expect(desk.close("2026112209")).toEqual(["08 c chat 14", "09 a chat 3"]);
  });

  it("does not refill a plan that is left and bought again in one hour", () => {
    const desk = new Desk("a");
    desk.say("p", 12n);
    desk.seePlan("b", "2026112208");
    desk.seePlan("a", "2026112208");
    desk.say("p", 15n, "2026112208");
    desk.say("p", 19n, "2026112209");
    expect(desk.close("2026112209")).toEqual(["08 a chat 2", "09 a chat 7"]);
  });

  it("keeps the first marks when a second change is seen before the hour is closed", () => {
    const desk = new Desk("a");
    desk.say("p", 12n);
    desk.seePlan("b", "2026112208");
    desk.say("p", 50n);
    desk.seePlan("c", "2026112208");
    expect(desk.ledger.planChange).toMatchObject({ fromPlanId: "a", marks: [{ agent: "n/p", total: "12" }] });
    desk.say("p", 50n, "2026112208");
    desk.say("p", 50n, "2026112209");
    expect(desk.close("2026112209")).toEqual(["08 a chat 2", "09 c chat 38"]);
  });

  it("bills nothing in the hour of the mark that a boundary total below the mark would take back", () => {
    const desk = new Desk("c");
    desk.say("p", 45n, "2026112208");
    desk.say("p", 50n);
    // The reporter's clock is behind the pod's: it still sees hour 08, which the pod has ended at 45.
    desk.seePlan("a", "2026112208");
    expect(desk.close("2026112208")).toEqual(["08 c chat 50"]);
    desk.say("p", 61n, "2026112209");
    expect(desk.close("2026112209")).toEqual(["09 a chat 1"]);
  });

  it("counts a pod that is settled between the mark and the close once", () => {
    const desk = new Desk("c");
    desk.say("gone", 7n);
    desk.say("p", 3n, "2026112208");
    desk.close("2026112208");
    desk.say("p", 5n);
    desk.seePlan("a", "2026112209");
    desk.settle("gone");
    desk.say("p", 6n, "2026112209");
    desk.say("p", 18n, "2026112210");
    expect(desk.close("2026112210")).toEqual(["09 c chat 2", "10 a chat 3"]);
  });

  it("gives a total that was late at the mark to the new plan, whatever its boundaries say", () => {
    const desk = new Desk("c");
    desk.say("late", 10n);
    desk.seePlan("a", "2026112210");
    // Cut off until now: most of it was used before the mark, but nobody knew.
    desk.say("late", 60n, "2026112208");
    desk.say("late", 90n, "2026112209");
    desk.say("late", 100n, "2026112210");
    desk.say("late", 100n, "2026112211");
    expect(desk.close("2026112210")).toEqual(["08 c chat 10"]);
    expect(desk.close("2026112211")).toEqual(["11 a chat 80"]);
  });

  it("closes the hours of a reporter that was down for days under the old plan, with its months", () => {
    const desk = new Desk("a");
    desk.say("p", 12n, "2026112208");
    desk.close("2026112208");
    // The next month of the anchor begins on 22 December at 08:00.
    desk.say("p", 18n, "2026122207");
    desk.say("p", 33n, "2026122309");
    desk.seePlan("c", "2026122310");
    for (let hour = "2026112209"; hour <= "2026122310"; hour = shiftHour(hour, 1))
      desk.closeOne(hour, parseHourKey("2026122311") + 60_000);
    desk.say("p", 34n, "2026122311");
    desk.close("2026122320");
    // 2 + 6 beyond the first month's ten, 5 beyond the second's, and one under the new plan.
    expect(claimedOf(desk.account("chat") ?? raise())).toBe(14n);
    expect(desk.posted.every((post) => post === "08 a chat 2" || /(10|11|1.|20) [ac] chat/.test(post))).toBe(true);
  });

  it("starts a dimension at the mark, and owes nothing for what was used before", () => {
    const desk = new Desk("b");
    desk.say("p", 40n, undefined, "actions");
    desk.seePlan("c", "2026112208");
    desk.say("p", 44n, "2026112208", "actions");
    desk.say("p", 45n, "2026112209", "actions");
    expect(desk.close("2026112209").filter((post) => post.includes("action"))).toEqual(["09 c action 5"]);
  });

  it("starts every dimension at the mark when the plan before sold none", () => {
    const desk = new Desk("free");
    desk.say("p", 40n, "2026112208");
    desk.close("2026112208");
    desk.seePlan("c", "2026112209");
    desk.say("p", 42n, "2026112209");
    desk.say("p", 42n, "2026112210");
    expect(desk.close("2026112210")).toEqual(["10 c chat 2"]);
  });

  it("counts a removed dimension on, and owes nothing of it until the plan sells it again", () => {
    const desk = new Desk("c");
    desk.say("p", 5n, undefined, "actions");
    desk.seePlan("b", "2026112208");
    desk.say("p", 30n, "2026112208", "actions");
    expect(desk.close("2026112209").filter((post) => post.includes("action"))).toEqual(["08 c action 5"]);
    desk.seePlan("c", "2026112210");
    desk.say("p", 33n, "2026112210", "actions");
    desk.say("p", 33n, "2026112211", "actions");
    expect(desk.close("2026112211").filter((post) => post.includes("action"))).toEqual(["11 c action 3"]);
  });

  it("posts the old part of a metered plan also when the new one is free", () => {
    const desk = new Desk("c");
    desk.say("p", 5n);
    desk.seePlan("free", "2026112208");
    desk.say("p", 9n, "2026112208");
    desk.say("p", 9n, "2026112210");
    expect(desk.close("2026112210")).toEqual(["08 c chat 5"]);
  });

  it("charges the fee of the new plan an hour after the mark, once", () => {
    const desk = new Desk("c");
    desk.seePlan("b", "2026112208");
    expect(desk.close("2026112212")).toEqual(["09 b base_fee 5"]);
  });

  it("waits with a plan that the catalogue does not know, and bills it from the mark on when it does", () => {
    const desk = new Desk("c");
    desk.catalogue = { ...CATALOGUE, plans: CATALOGUE.plans.filter((plan) => plan.id !== "a") };
    desk.say("p", 5n);
    desk.seePlan("a", "2026112208");
    desk.say("p", 20n, "2026112208");
    desk.say("p", 21n, "2026112211");
    expect(desk.close("2026112211")).toEqual(["08 c chat 5"]);
    desk.catalogue = CATALOGUE;
    desk.say("p", 22n, "2026112213");
    expect(desk.close("2026112213")).toEqual(["13 a chat 7"]);
  });

  it("waits from birth with a plan that the catalogue does not know, and loses nothing", () => {
    const desk = new Desk("unknown");
    desk.say("p", 20n, "2026112209");
    expect(desk.close("2026112209")).toEqual([]);
    const [c] = CATALOGUE.plans.filter((plan) => plan.id === "c");
    desk.catalogue = { ...CATALOGUE, plans: [{ ...(c ?? raise()), id: "unknown" }] };
    desk.say("p", 21n, "2026112211");
    expect(desk.close("2026112211")).toEqual(["11 unknown chat 21"]);
  });

  it("is one write that a new leader sees as it is: seeing the same plan again changes nothing", () => {
    const desk = new Desk("a");
    desk.say("p", 12n);
    desk.seePlan("b", "2026112208");
    const marked = desk.ledger;
    desk.say("p", 30n);
    desk.seePlan("b", "2026112208");
    expect(desk.ledger).toBe(marked);
  });
});

describe("law: accepted + reserved + dropped <= due <= counted, and no base unit is due twice", () => {
  const pod = fc.constantFrom("p", "q", "r");
  const step = fc.oneof(
    fc.record({ kind: fc.constant("use" as const), pod, amount: fc.bigInt({ min: 0n, max: 30n }) }),
    fc.record({ kind: fc.constant("say" as const), pod }),
    fc.record({ kind: fc.constant("plan" as const), planId: fc.constantFrom("a", "b", "c", "free", "nobody") }),
    fc.record({ kind: fc.constant("hour" as const), close: fc.boolean() }),
    fc.record({ kind: fc.constant("settle" as const), pod }),
  );

  it("holds for any plans, late totals, settled pods and hours that are closed late or too late", () => {
    const lateUsage = fc.constantFrom("Carry" as const, "Drop" as const);
    fc.assert(fc.property(lateUsage, fc.constantFrom("a", "c"), fc.array(step, { maxLength: 60, size: "max" }), play), {
      numRuns: 300,
    });
  });

  type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

  function play(lateUsage: "Carry" | "Drop", planId: string, steps: readonly Step[]): void {
    const desk = new Desk(planId);
    desk.lateUsage = lateUsage;
    // A period ends after four hours, so that its edge moves with late totals while plans change.
    desk.ledger = { ...desk.ledger, anchor: "2026-10-22T12:00:00.000Z" };
    const players = new Map(["p", "q", "r"].map((uid) => [uid, new Player(desk, uid)]));
    let hour = BORN;
    for (const next of steps) {
      if (next.kind === "plan") desk.seePlan(next.planId, hour);
      else if (next.kind !== "hour") players.get(next.pod)?.act(next, hour);
      else {
        for (const player of players.values()) player.endHour(hour);
        hour = shiftHour(hour, 1);
        const nowMs = parseHourKey(hour) + 60_000;
        while (next.close && desk.ledger.lastClosedHour < shiftHour(hour, -1))
          desk.closeOne(shiftHour(desk.ledger.lastClosedHour, 1), nowMs);
      }
    }
  }
});

/** A pod whose sidecar publishes when it can, with the boundaries that it kept meanwhile. */
class Player {
  readonly desk: Desk;
  readonly uid: string;
  used = 0n;
  ring: { readonly hour: string; readonly total: bigint }[] = [];
  isSettled = false;

  constructor(desk: Desk, uid: string) {
    this.desk = desk;
    this.uid = uid;
  }

  act(step: { readonly kind: "use" | "say" | "settle"; readonly amount?: bigint }, hour: string): void {
    if (this.isSettled) return;
    if (step.kind === "use") this.used += step.amount ?? 0n;
    if (step.kind === "say") this.say();
    if (step.kind !== "settle" || this.desk.ledger.lastClosedHour < shiftHour(hour, -1)) return;
    this.say();
    this.desk.settle(this.uid);
    this.isSettled = true;
  }

  endHour(hour: string): void {
    if (!this.isSettled) this.ring.push({ hour, total: this.used });
  }

  say(): void {
    for (const { hour, total } of this.ring) this.desk.say(this.uid, total, hour);
    this.ring = [];
    this.desk.say(this.uid, this.used);
  }
}

function raise(): never {
  throw new Error("not there");
}
