import { describe, expect, it } from "vitest";
import { acceptedOf } from "#core/ledger.ts";
import { HOUR_MS } from "#core/time.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { expectLaws, heal, healed } from "../simulation/meter-laws.ts";
import { Crash, MeterWorld } from "../simulation/meter-world.ts";

/** Under `starter` seven actions and twelve chats are counted; the customer moves to `business` within the hour. */
async function movingWorld(): Promise<MeterWorld> {
  const world = new MeterWorld();
  world.addPod("a");
  world.addPod("b", "shop/refunds");
  world.use("a", "tool_action", 7n);
  world.use("b", "workflow_completed", 12n);
  world.publishAll();
  await world.cycle(world.desk());
  world.planId = "business";
  return world;
}

/** The hour goes on under the new plan, and the pod `b` ends before it is closed. */
function goOn(world: MeterWorld): void {
  world.use("a", "tool_action", 4n);
  world.use("b", "workflow_completed", 3n);
  world.endPod("b", true);
  world.advance(HOUR_MS);
  world.publishAll();
}

/** One cycle that ends at port call `at`; whether it came so far. */
async function crashAt(world: MeterWorld, desk: Desk, at: number): Promise<boolean> {
  world.calls = 0;
  world.onCall = (_call, count) => {
    if (count === at) throw new Crash(`at call ${at}`);
  };
  try {
    await world.cycle(desk);
    return false;
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    return true;
  } finally {
    world.onCall = () => undefined;
  }
}

function posts(world: MeterWorld): string[] {
  return world
    .booked()
    .map((event) => `${event.planId} ${event.dimension} ${event.quantity}`)
    .toSorted();
}

/** What the change must bring: 2 chats beyond the ten included and 7 actions of old, the rest under the new plan. */
const EXPECTED = ["business chats 3", "business tool_action 4", "starter chats 2", "starter tool_action 7"];

describe("a plan change in the reporter", () => {
  it("is marked at the first sight, posted in its hour under the old plan, and an hour later under the new one", async () => {
    const world = await movingWorld();
    const desk = world.desk();
    await world.cycle(desk);
    expect(world.ledger?.value).toMatchObject({ planId: "business", planChange: { fromPlanId: "starter" } });
    goOn(world);
    await heal(world, desk);
    expect(posts(world)).toEqual(EXPECTED);
    expect(world.ledger?.value.planChange).toBeUndefined();
    expect(healed(world)).toEqual([]);
  });

  it("survives a leader that dies at any port call of the cycle that sees it", async () => {
    for (let at = 1, crashed = true; crashed; at += 1) {
      const world = await movingWorld();
      crashed = await crashAt(world, world.desk(), at);
      expectLaws(world);
      await world.cycle(world.desk());
      goOn(world);
      await heal(world, world.desk());
      expect({ at, posts: posts(world), problems: healed(world) }).toEqual({ at, posts: EXPECTED, problems: [] });
    }
  });

  it("survives a leader that dies at any port call of the cycle that closes its hour", async () => {
    let calls = 0;
    for (let crashed = true; crashed;) {
      calls += 1;
      const world = await movingWorld();
      await world.cycle(world.desk());
      goOn(world);
      crashed = await crashAt(world, world.desk(), calls);
      expectLaws(world);
      await heal(world, world.desk());
      expect({ at: calls, posts: posts(world), problems: healed(world) }).toEqual({
        at: calls,
        posts: EXPECTED,
        problems: [],
      });
    }
    expect(calls).toBeGreaterThan(20);
  });

  it("keeps every law when a leader with the old plan and one with the new take turns", async () => {
    const world = await movingWorld();
    for (let turn = 0; turn < 8; turn += 1) {
      world.planId = turn % 2 === 0 ? "business" : "starter";
      world.use("a", "tool_action", 5n);
      world.use("b", "workflow_completed", 4n);
      world.publishAll();
      await world.cycle(world.desk());
      world.advance(HOUR_MS / 2);
      expectLaws(world);
    }
    await heal(world, world.desk());
    expect(healed(world)).toEqual([]);
    expect(world.billed("tool_action")).toBe(47);
  });

  it("posts the old part also when the new plan is free, and closes its slots", async () => {
    const world = await movingWorld();
    world.planId = "gratis";
    await world.cycle(world.desk());
    goOn(world);
    world.faults.push("LoseAnswer");
    await heal(world, world.desk());
    expect(posts(world)).toEqual(["starter chats 2", "starter tool_action 7"]);
    expect(world.ledger?.value.oldestOpenHour).toBeUndefined();
  });

  it("bills the hours of a reporter that was down for two days under the old plan", async () => {
    const world = await movingWorld();
    world.use("a", "tool_action", 20n);
    world.advance(40 * HOUR_MS);
    world.publishAll();
    const desk = world.desk();
    await world.cycle(desk);
    world.use("a", "tool_action", 2n);
    world.publishAll();
    await heal(world, desk);
    expect(healed(world)).toEqual([]);
    expect(world.billed("tool_action")).toBe(29);
    const old = world.booked("tool_action").filter((event) => event.planId === "starter");
    expect(old.reduce((sum, event) => sum + event.quantity, 0)).toBe(27);
  });
});

describe("usage that died unbooked", () => {
  const outage = async (lateUsage: "Carry" | "Drop"): Promise<{ world: MeterWorld; desk: Desk }> => {
    const world = new MeterWorld();
    world.lateUsage = lateUsage;
    world.addPod("a");
    world.use("a", "tool_action", 7n);
    world.publishAll();
    const desk = world.desk();
    await world.cycle(desk);
    for (let n = 0; n < 200; n += 1) world.faults.push("LoseRequest");
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    world.faults.length = 0;
    world.advance(27 * HOUR_MS);
    world.publishAll();
    return { world, desk };
  };

  it.each([
    { lateUsage: "Carry" as const, state: "Reconciled", billed: 7, dropped: "0" },
    { lateUsage: "Drop" as const, state: "Dropped", billed: 0, dropped: "7" },
  ])("is settled by $lateUsage, with its receipt, whatever port call the leader dies at", async (expected) => {
    let calls = 0;
    for (let crashed = true; crashed;) {
      calls += 1;
      const { world } = await outage(expected.lateUsage);
      crashed = await crashAt(world, world.desk(), calls);
      expectLaws(world);
      await heal(world, world.desk());
      const first = [...world.statements.values()].find(({ value }) => value.intent.hour === "2026112208");
      const account = world.ledger?.value.accounts.find(({ dimension }) => dimension === "tool_action");
      expect({
        calls,
        state: first?.value.outcome?.state,
        adjustment: first?.value.outcome?.adjustmentBaseUnits,
        billed: world.billed("tool_action"),
        accepted: account && Number(acceptedOf(account)),
        dropped: account?.dropped,
        left: account?.reservations,
      }).toEqual({
        calls,
        state: expected.state,
        adjustment: "-7",
        billed: expected.billed,
        accepted: expected.billed,
        dropped: expected.dropped,
        left: [],
      });
    }
    expect(calls).toBeGreaterThan(10);
  });
});
