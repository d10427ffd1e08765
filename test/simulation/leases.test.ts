import { describe, expect, it } from "vitest";
import { catalogueSchema, findPlan } from "#core/plan.ts";
import { runCycle } from "../../services/meter/reporter/cycle.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { MeterWorld } from "./meter-world.ts";

const CATALOGUE = catalogueSchema.parse({
  dimensions: [
    { id: "chats", from: "workflow_completed", unit: "conversation", divisor: "1" },
    { id: "tokens_1k_in", from: "input_tokens", unit: "1K tokens", divisor: "1000" },
  ],
  plans: [
    {
      id: "starter",
      displayName: "Starter",
      billing: "Custom",
      dimensions: [
        { id: "chats", included: { quantity: "0", per: "Month" }, hard: "100" },
        { id: "tokens_1k_in", included: { quantity: "0", per: "Month" }, hard: "8" },
      ],
    },
  ],
});

function limitedDesk(world: MeterWorld): Desk {
  const desk = world.desk();
  return { ...desk, terms: { ...desk.terms, catalogue: CATALOGUE, plan: findPlan(CATALOGUE, "starter") } };
}

function leasesOf(world: MeterWorld, uid: string): Record<string, string> | undefined {
  const leases = world.podUsages.get(uid)?.spec.grants?.leases;
  return leases && Object.fromEntries(leases.map(({ dimension, upTo }) => [dimension, upTo]));
}

function termOf(world: MeterWorld, uid: string): number | undefined {
  return world.podUsages.get(uid)?.spec.grants?.term;
}

/** The stamp of a pod that had no lease yet: with none at all it would count without end. */
const NOTHING_YET = { workflow_completed: "0", input_tokens: "0" };

const cycle = (desk: Desk): Promise<unknown> => runCycle(desk, { offsetSeconds: 0, skewMs: 0 });

describe("leases of a plan with hard limits", () => {
  it("are given after the term is stamped, and grow with what is used", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    world.addPod("b");
    const desk = limitedDesk(world);
    await cycle(desk);
    expect(termOf(world, "a")).toBe(1);
    expect(leasesOf(world, "a")).toEqual(NOTHING_YET);
    await cycle(desk);
    expect(leasesOf(world, "a")).toEqual({ workflow_completed: "25", input_tokens: "2000" });
    expect(leasesOf(world, "b")).toEqual({ workflow_completed: "25", input_tokens: "2000" });
    world.use("a", "workflow_completed", 20n);
    world.publishAll();
    await cycle(desk);
    expect(leasesOf(world, "a")).toMatchObject({ workflow_completed: "40" });
  });

  it("tell in the ledger when one is near, once for a period and across leaders", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    let desk = limitedDesk(world);
    const told: unknown[] = [];
    const turn = async (): Promise<void> => {
      await cycle(desk);
      const near = JSON.stringify((world.ledger?.value.nearLimits ?? []).map(({ dimension }) => dimension));
      if (told.at(-1) !== near) told.push(near);
    };
    for (let turns = 0; turns < 3; turns += 1) await turn();
    world.use("a", "workflow_completed", 79n);
    world.publishAll();
    for (let turns = 0; turns < 3; turns += 1) await turn();
    expect(told).toEqual(["[]"]);
    world.use("a", "workflow_completed", 1n);
    world.publishAll();
    for (let turns = 0; turns < 3; turns += 1) await turn();
    expect(world.ledger?.value.nearLimits).toEqual([{ dimension: "chats", softPercent: 80 }]);
    // What a new process does not know yet, it does not take back.
    for (let leaders = 0; leaders < 3; leaders += 1) {
      desk = limitedDesk(world);
      for (let turns = 0; turns < 3; turns += 1) await turn();
    }
    for (let day = 0; day < 32; day += 1) {
      world.advance(24 * 3_600_000);
      world.publishAll();
      await turn();
      await turn();
    }
    expect(told).toEqual(["[]", '["chats"]', "[]"]);
  });

  it("begin again with the period, on top of the total", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    const desk = limitedDesk(world);
    await cycle(desk);
    // Half of what is left each time: 50, 75, 88, 94, 97, 99, 100.
    for (let spent = 0n, turns = 0; turns < 8; turns += 1) {
      await cycle(desk);
      const upTo = BigInt(leasesOf(world, "a")?.["workflow_completed"] ?? "0");
      world.use("a", "workflow_completed", upTo - spent);
      world.publishAll();
      spent = upTo;
    }
    expect(leasesOf(world, "a")).toMatchObject({ workflow_completed: "100" });
    // The ledger was born on the 22nd: its next month begins a month later.
    for (let day = 0; day < 30; day += 1) {
      world.advance(24 * 3_600_000);
      world.publishAll();
      await cycle(desk);
    }
    expect(leasesOf(world, "a")).toMatchObject({ workflow_completed: "150" });
  });

  it("wait for the stamp of a new leader, whose term is above every grant's even after the ledger was lost", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    const first = limitedDesk(world);
    await cycle(first);
    await cycle(first);
    await cycle(limitedDesk(world));
    expect(termOf(world, "a")).toBe(2);
    world.ledger = undefined;
    world.statements.clear();
    const desk = limitedDesk(world);
    await cycle(desk);
    expect(termOf(world, "a")).toBe(3);
    expect(world.ledger).toMatchObject({ value: { term: 3 } });
  });

  it("are not written by a leader that was replaced while it worked", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    const old = limitedDesk(world);
    await cycle(old);
    // The old leader has listed the pods and is about to write its first ceiling.
    let taken = false;
    world.onCall = async (call) => {
      if (call !== "applyGrants" || taken) return;
      taken = true;
      await cycle(limitedDesk(world));
    };
    await cycle(old).catch(() => undefined);
    expect(taken).toBe(true);
    expect(termOf(world, "a")).toBe(2);
    expect(leasesOf(world, "a")).toEqual(NOTHING_YET);
  });

  it("are not given anew before a pod whose write was left in doubt is stamped", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    const desk = limitedDesk(world);
    await cycle(desk);
    world.onCall = (call) => {
      if (call === "applyGrants") throw new Error("timeout");
    };
    await expect(cycle(desk)).rejects.toThrow("timeout");
    world.onCall = () => undefined;
    const before = world.podUsages.get("a")?.metadata.resourceVersion;
    await cycle(desk);
    expect(world.podUsages.get("a")?.metadata.resourceVersion).not.toBe(before);
    expect(leasesOf(world, "a")).toEqual(NOTHING_YET);
    await cycle(desk);
    expect(leasesOf(world, "a")).toMatchObject({ workflow_completed: "50" });
  });

  it("of a pod that said its last word and is gone return before its hour is closed", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    const desk = limitedDesk(world);
    await cycle(desk);
    await cycle(desk);
    expect(leasesOf(world, "a")).toMatchObject({ workflow_completed: "50" });
    world.use("a", "workflow_completed", 30n);
    world.endPod("a", true);
    world.addPod("b");
    await cycle(desk);
    await cycle(desk);
    expect(leasesOf(world, "b")).toMatchObject({ workflow_completed: "35" });
  });
});

describe("K", () => {
  it("grows with the pods, a bounded part of them per cycle, and comes back with them", async () => {
    const world = new MeterWorld();
    for (let pods = 0; pods < 1600; pods += 1) world.addPod(`p${pods}`);
    const desk = world.desk();
    const slow = (): number =>
      [...world.podUsages.values()].filter(({ spec }) => spec.grants?.checkpointSeconds === 80).length;
    await cycle(desk);
    expect(slow()).toBe(500);
    for (let cycles = 0; cycles < 3; cycles += 1) await cycle(desk);
    expect(slow()).toBe(1600);
    for (let pods = 100; pods < 1600; pods += 1) world.podUsages.delete(`p${pods}`);
    await cycle(desk);
    expect([...world.podUsages.values()].every(({ spec }) => spec.grants?.checkpointSeconds === undefined)).toBe(true);
  });
});

describe("a plan without hard limits", () => {
  it("gives no leases and stamps nothing", async () => {
    const world = new MeterWorld();
    world.addPod("a");
    await cycle(world.desk());
    await cycle(world.desk());
    expect(leasesOf(world, "a")).toBeUndefined();
    expect(termOf(world, "a")).toBe(1);
  });
});
