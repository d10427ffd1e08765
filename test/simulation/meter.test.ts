import { describe, expect, it } from "vitest";
import { HOUR_MS } from "#core/time.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { expectLaws, heal, healed } from "./meter-laws.ts";
import { Crash, type Fault, MeterWorld } from "./meter-world.ts";

/** Two pods of two agents use something, the hour ends, its boundary is published. */
function busyWorld(): MeterWorld {
  const world = new MeterWorld();
  world.addPod("a");
  world.addPod("b", "shop/refunds");
  world.use("a", "tool_action", 7n);
  world.use("a", "input_tokens", 2600n);
  world.use("b", "input_tokens", 1500n);
  world.use("b", "workflow_completed", 12n);
  world.publishAll();
  return world;
}

describe("a post in five writes", () => {
  it("brings what was counted, once, in whole units, and keeps the remainder", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    expect(world.booked()).toEqual([]);
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    expect(world.billed("tool_action")).toBe(7);
    expect(world.billed("tokens_1k_in")).toBe(4);
    expect(world.billed("chats")).toBe(2);
    expectLaws(world);
    const [statement] = [...world.statements.values()].filter(({ value }) => value.intent.dimension === "tokens_1k_in");
    expect(statement?.value).toMatchObject({
      state: "Accepted",
      intent: {
        hour: "2026112208",
        quantity: "4",
        baseUnits: "4000",
        shares: [
          { agent: "shop/orders", baseUnits: "2537" },
          { agent: "shop/refunds", baseUnits: "1463" },
        ],
      },
      outcome: { acceptedQuantity: "4", adjustmentBaseUnits: "0", resolvedBy: "Answer" },
    });
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    expect(world.billed("tokens_1k_in")).toBe(4);
    expect(world.ledger?.value.lastClosedHour).toBe("2026112209");
  });

  it("waits for a pod that has not published its boundary, until the grace is over", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    world.use("a", "input_tokens", 2000n);
    world.advance(50 * 60_000 + 10_000);
    world.publish("a");
    await world.cycle(desk);
    expect(world.ledger?.value.lastClosedHour).toBe("2026112208");
    world.advance(126_000);
    await world.cycle(desk);
    expect(world.ledger?.value.lastClosedHour).toBe("2026112209");
    expect(world.billed("tokens_1k_in")).toBe(6);
  });

  it("settles a pod that is gone, deletes its PodUsage, and never counts it twice", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    world.endPod("a", true);
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    await world.cycle(desk);
    expect([...world.podUsages.keys()]).toEqual(["b"]);
    expect(world.ledger?.value.tombstones).toEqual([{ uid: "a", settledAt: expect.any(String) }]);
    await heal(world, desk);
    expect(healed(world)).toEqual([]);
  });

  it("bills nothing of a free plan, also after the customer moves to a paid one", async () => {
    const world = busyWorld();
    world.planId = "gratis";
    await world.cycle(world.desk());
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(world.desk());
    world.planId = "starter";
    const desk = world.desk();
    await world.cycle(desk);
    for (const billed of [0, 3]) {
      if (billed === 0) world.use("a", "tool_action", 3n);
      world.advance(HOUR_MS);
      world.publishAll();
      await world.cycle(desk);
      expect(world.billed("tool_action")).toBe(billed);
    }
  });
});

/** One of every kind of fault in the first post. */
/** The reporter's cycle, and the longest that it waits between two questions for the same list. */
const CYCLE_MS = 15_000;
const LIST_WAIT_MAX_MS = 300_000;
const FAULTS: Fault[] = ["LoseAnswer", "LoseRequest", "Http500", "Http403", "Shuffle", "Drop", "Foreign"];

describe("faults of the Marketplace", () => {
  it.each(FAULTS)("%s: accepted equals due in the end, nothing twice", async (fault) => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    world.faults.push(fault);
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    expectLaws(world);
    await heal(world, desk);
    expect(healed(world)).toEqual([]);
  });

  it("credits what a foreign writer had booked, a fraction rounded up, and carries the rest", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    world.faults.push("Foreign");
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    const other = [...world.statements.values()].find(({ value }) => value.state === "DuplicateOther");
    expect(other?.value.outcome).toMatchObject({ acceptedQuantity: "0.5", acceptedBaseUnits: "1" });
    expectLaws(world);
    const account = world.ledger?.value.accounts.find(({ dimension }) => dimension === other?.value.intent.dimension);
    expect(account?.acceptedDays).toMatchObject([{ day: "20261122", baseUnits: "1" }]);
  });

  it("holds an intent of an outage over 24 h until it is dead, compares the day, and carries the quantity", async () => {
    const world = busyWorld();
    let desk = world.desk();
    await world.cycle(desk);
    for (let hour = 0; hour < 30; hour += 1) {
      for (let n = 0; n < 20; n += 1) world.faults.push("LoseRequest");
      world.use("a", "tool_action", 1n);
      world.advance(HOUR_MS);
      world.publishAll();
      await world.cycle(desk);
      expectLaws(world);
    }
    world.faults.length = 0;
    await heal(world, desk);
    expect(healed(world)).toEqual([]);
    desk = world.desk();
    await heal(world, desk);
    expect(healed(world)).toEqual([]);
  });

  it("asks the list for a slot that died with its answer lost, and bills it once", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    world.faults.push("LoseAnswer");
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    world.advance(30 * HOUR_MS);
    world.publishAll();
    await heal(world, world.desk());
    expect(healed(world)).toEqual([]);
    expect([...world.statements.values()].map(({ value }) => value.state)).toContain("Reconciled");
  });
});

async function crashAt(world: MeterWorld, desk: Desk, at: number): Promise<boolean> {
  world.calls = 0;
  world.onCall = (_call, count) => {
    if (count === at) throw new Crash(`at call ${at}`);
  };
  let crashed = false;
  try {
    await world.cycle(desk);
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    crashed = true;
  }
  world.onCall = () => undefined;
  return crashed;
}

describe("a crash at every port call", () => {
  it.each(["none", "LoseAnswer", "Foreign", "Drop"] as const)("keeps every law (fault %s)", async (fault) => {
    let at = 0;
    let crashed = true;
    while (crashed) {
      at += 1;
      const world = busyWorld();
      world.addPod("c");
      world.use("c", "tool_action", 2n);
      world.publish("c");
      const desk = world.desk();
      await world.cycle(desk);
      world.endPod("c", true);
      world.advance(HOUR_MS);
      world.publishAll();
      if (fault !== "none") world.faults.push(fault);
      crashed = await crashAt(world, desk, at);
      expectLaws(world);
      await heal(world, world.desk());
      expect({ at, problems: healed(world) }).toEqual({ at, problems: [] });
    }
    expect(at).toBeGreaterThan(20);
  });

  it("keeps every law when a call fails after it was done and the same process goes on", async () => {
    for (let at = 1; at < 40; at += 1) {
      const world = busyWorld();
      const desk = world.desk();
      await world.cycle(desk);
      world.advance(HOUR_MS);
      world.publishAll();
      // Call `at` is done; the throw comes before the next one, as if its answer had been lost.
      await crashAt(world, desk, at + 1);
      expectLaws(world);
      await heal(world, desk);
      expect({ at, problems: healed(world) }).toEqual({ at, problems: [] });
    }
  });
});

describe("two reporters", () => {
  it.each(["none", "LoseAnswer", "LoseRequest"] as const)(
    "one paused at any port call while the other works (fault %s)",
    async (fault) => {
      for (let at = 1; at < 60; at += 1) {
        const world = busyWorld();
        const old = world.desk();
        await world.cycle(old);
        world.advance(HOUR_MS);
        world.publishAll();
        const next = world.desk();
        if (fault !== "none") world.faults.push(fault);
        world.calls = 0;
        world.onCall = async (_call, count) => {
          if (count !== at) return;
          world.onCall = () => undefined;
          await world.cycle(next);
          world.use("a", "tool_action", 5n);
          world.advance(HOUR_MS);
          world.publishAll();
          await world.cycle(next);
        };
        await world.cycle(old).catch(ignoreConflict);
        world.onCall = () => undefined;
        expectLaws(world);
        await heal(world, next);
        expect({ at, problems: healed(world) }).toEqual({ at, problems: [] });
      }
    },
  );
});

function ignoreConflict(error: unknown): void {
  if (!(error instanceof Error && error.name === "ConflictError")) throw error;
}

describe("a restored ledger", () => {
  it("does not bill again what it has forgotten", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    const restore = world.backup();
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    const billed = world.billed("tool_action");
    expect(billed).toBe(7);
    restore();
    await heal(world, world.desk());
    expect(world.billed("tool_action")).toBe(billed);
    world.use("a", "tool_action", 4n);
    await heal(world, world.desk());
    expect(world.billed("tool_action")).toBe(11);
  });

  it("takes no slot again that it has forgotten, though late usage would ask for it", async () => {
    const world = busyWorld();
    world.addPod("late");
    const desk = world.desk();
    await world.cycle(desk);
    const restore = world.backup();
    world.use("late", "tool_action", 4n);
    world.advance(HOUR_MS);
    world.publish("a");
    world.publish("b");
    await world.cycle(desk);
    expect(world.billed("tool_action")).toBe(7);
    restore();
    await heal(world, world.desk());
    expect(world.billed("tool_action")).toBe(11);
    expect(healed(world)).toEqual([]);
  });

  it("is noticed by the leader that goes on, by its revision", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    const restore = world.backup();
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    restore();
    world.use("a", "tool_action", 4n);
    await heal(world, desk);
    expect(world.billed("tool_action")).toBe(11);
  });

  it("is noticed when a ledger that was deleted and made again gives way to a backup of the one before", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    const hour = async (desk: Desk): Promise<void> => {
      world.advance(HOUR_MS);
      world.publishAll();
      await world.cycle(desk);
    };
    const first = world.desk();
    await world.cycle(first);
    for (let hours = 0; hours < 8; hours += 1) await hour(first);
    const restore = world.backup();
    world.use("a", "tool_action", 7n);
    world.advance(HOUR_MS);
    world.publishAll();
    // Born an hour after the use, the new ledger bills it in another slot than the old one would.
    world.ledger = undefined;
    const second = world.desk();
    await world.cycle(second);
    await hour(second);
    expect(world.billed("tool_action")).toBe(7);
    restore();
    await heal(world, second, { restored: true });
    expect(world.billed("tool_action")).toBe(7);
  });

  it("is rebuilt from its statements when it was deleted", async () => {
    const world = busyWorld();
    const desk = world.desk();
    await world.cycle(desk);
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    world.ledger = undefined;
    world.use("a", "tool_action", 4n);
    await heal(world, world.desk());
    expect(world.billed("tool_action")).toBe(11);
    expectLaws(world);
  });

  it("stays closed while Azure's list does not answer", async () => {
    const world = busyWorld();
    world.faults.push("ListDown", "ListDown", "ListDown", "ListDown");
    const desk = world.desk();
    await world.cycle(desk);
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    expect(world.booked()).toEqual([]);
    expect(world.ledger?.value.problems).toMatchObject([{ reason: "ListUnavailable" }]);
    world.faults.length = 0;
    world.advance(LIST_WAIT_MAX_MS);
    await world.cycle(desk);
    expect(world.booked()).toEqual([]);
    // A ledger that was just made wants the list twice.
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
    expect(world.billed("tool_action")).toBe(7);
    expect(world.ledger?.value.problems).toEqual([]);
  });

  it("asks a list that does not answer ever more rarely, and at once in a new process", async () => {
    const world = busyWorld();
    const desk = world.desk();
    let lists = 0;
    world.onCall = (call) => void (lists += call === "list" ? 1 : 0);
    world.faults.push(...Array.from({ length: 400 }, () => "ListDown" as const));
    const askedIn = async (ms: number): Promise<number> => {
      const before = lists;
      for (let spent = 0; spent < ms; spent += CYCLE_MS) {
        await world.cycle(desk);
        world.advance(CYCLE_MS);
      }
      return lists - before;
    };
    const first = await askedIn(HOUR_MS / 4);
    expect(first).toBeGreaterThan(3);
    await askedIn(HOUR_MS / 4);
    const later = await askedIn(HOUR_MS);
    // 240 cycles; a wait is at most five minutes, and half of it on average.
    expect(later).toBeGreaterThanOrEqual(12);
    expect(later).toBeLessThan(60);
    const before = lists;
    await world.cycle(world.desk());
    expect(lists).toBe(before + 1);
  });
});
