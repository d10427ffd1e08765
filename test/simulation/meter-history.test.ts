import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { expectLaws, heal, healed } from "./meter-laws.ts";
import { Crash, type Fault, MeterWorld } from "./meter-world.ts";

/** One thing that happens. Leaders are numbered; a fresh one starts when its number is first used or after a crash. */
type Step =
  | { readonly kind: "use"; readonly pod: number; readonly dimension: string; readonly amount: number }
  | { readonly kind: "publish"; readonly pod: number }
  | { readonly kind: "hour" }
  | { readonly kind: "advance"; readonly minutes: number }
  | { readonly kind: "cycle"; readonly leader: number; readonly crashAt: number }
  | { readonly kind: "fault"; readonly fault: Fault }
  | { readonly kind: "end"; readonly pod: number; readonly graceful: boolean }
  | { readonly kind: "add"; readonly agent: number }
  | { readonly kind: "backup" }
  | { readonly kind: "restore" };

const pod = fc.nat({ max: 5 });
const cycle: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant("cycle" as const),
  leader: fc.nat({ max: 1 }),
  crashAt: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 40 }) },
  ),
});
const hour: fc.Arbitrary<Step> = fc.constant({ kind: "hour" });
const ordinary: fc.Arbitrary<Step>[] = [
  cycle,
  cycle,
  cycle,
  hour,
  hour,
  fc.record({
    kind: fc.constant("use" as const),
    pod,
    dimension: fc.constantFrom("tool_action", "input_tokens", "workflow_completed"),
    amount: fc.nat({ max: 3000 }),
  }),
  fc.record({ kind: fc.constant("publish" as const), pod }),
  fc.record({ kind: fc.constant("advance" as const), minutes: fc.oneof(fc.nat({ max: 90 }), fc.nat({ max: 2000 })) }),
  fc.record({
    kind: fc.constant("fault" as const),
    fault: fc.constantFrom<Fault>("LoseAnswer", "LoseRequest", "Http500", "Http403", "Shuffle", "Drop", "ListDown"),
  }),
  fc.record({ kind: fc.constant("end" as const), pod, graceful: fc.boolean() }),
  fc.record({ kind: fc.constant("add" as const), agent: fc.nat({ max: 2 }) }),
];
const foreign: fc.Arbitrary<Step> = fc.constant({ kind: "fault", fault: "Foreign" });
const disasters: fc.Arbitrary<Step>[] = [fc.constant({ kind: "backup" }), fc.constant({ kind: "restore" })];

const switches = fc.record({
  afterExpiry: fc.constantFrom("Expired" as const, "Duplicate" as const),
  expiryComparedTo: fc.constantFrom("EffectiveStartTime" as const, "EndOfHour" as const),
  listDelaySeconds: fc.constantFrom(0, 1200),
});

/** What the world does by itself. */
function happen(world: MeterWorld, step: Exclude<Step, { kind: "cycle" | "backup" | "restore" | "add" }>): void {
  switch (step.kind) {
    case "use":
      return world.use(`p${step.pod}`, step.dimension, BigInt(step.amount));
    case "publish":
      if (world.pods.get(`p${step.pod}`)?.alive) world.publish(`p${step.pod}`);
      return;
    case "hour":
      world.publishAll();
      world.advance(3_600_000);
      return world.publishAll();
    case "advance":
      return world.advance(step.minutes * 60_000);
    case "fault":
      return void world.faults.push(step.fault);
    case "end":
      return world.endPod(`p${step.pod}`, step.graceful);
  }
}

class Player {
  readonly world: MeterWorld;
  readonly leaders = new Map<number, Desk>();
  restore: () => void = () => undefined;
  count = 0;

  readonly memoryEnds: boolean;
  lastLeader = 0;

  constructor(world: MeterWorld, options: { readonly memoryEnds: boolean } = { memoryEnds: false }) {
    this.world = world;
    this.memoryEnds = options.memoryEnds;
    this.add(0);
    this.add(1);
  }

  add(agent: number): void {
    if (this.count < 6) this.world.addPod(`p${this.count++}`, `shop/agent${agent}`);
  }

  async play(step: Step): Promise<void> {
    if (step.kind === "cycle") await this.cycle(step.leader, step.crashAt);
    else if (step.kind === "backup") this.restore = this.world.backup();
    else if (step.kind === "restore") this.restore();
    else if (step.kind === "add") this.add(step.agent);
    else happen(this.world, step);
  }

  /**
   * With restores a leader's memory ends with its leadership, as main.ts ends the process: what one leader saw before
   * another led says nothing about a backup of that very moment. Without them two leaders may take turns with old memories.
   */
  async cycle(number: number, crashAt: number): Promise<void> {
    if (this.memoryEnds && this.lastLeader !== number) this.leaders.delete(number);
    this.lastLeader = number;
    const desk = this.leaders.get(number) ?? this.world.desk();
    this.leaders.set(number, desk);
    const startedAt = this.world.calls;
    this.world.onCall = (_call, count) => {
      if (crashAt > 0 && count - startedAt === crashAt) throw new Crash("crash");
    };
    try {
      await this.world.cycle(desk);
    } catch (error) {
      const known = error instanceof Crash || (error instanceof Error && error.name === "ConflictError");
      if (!known) throw error;
      this.leaders.delete(number);
    } finally {
      this.world.onCall = () => undefined;
    }
  }
}

const RUNS = Number(process.env["METER_RUNS"] ?? 60);

describe("any history", () => {
  it("keeps every law, and in the end Azure holds what is due", async () => {
    await fc.assert(
      fc.asyncProperty(
        switches,
        fc.array(fc.oneof(...ordinary), { maxLength: 60, size: "max" }),
        async (chosen, steps) => {
          const world = new MeterWorld(chosen);
          const player = new Player(world);
          for (const step of steps) {
            await player.play(step);
            expectLaws(world);
          }
          await heal(world, world.desk());
          expect(healed(world)).toEqual([]);
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("never bills more than was counted while a foreign writer takes slots of ours", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(...ordinary, foreign), { maxLength: 60, size: "max" }), async (steps) => {
        const world = new MeterWorld();
        const player = new Player(world);
        for (const step of steps) {
          await player.play(step);
          expectLaws(world);
        }
        await heal(world, world.desk());
      }),
      { numRuns: RUNS },
    );
  });

  it("never bills more than was counted when the money objects are restored from a backup", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(...ordinary, ...disasters), { maxLength: 60, size: "max" }), async (steps) => {
        const world = new MeterWorld();
        const player = new Player(world, { memoryEnds: true });
        for (const step of steps) {
          await player.play(step);
          expectLaws(world, { restored: true });
        }
        await heal(world, world.desk(), { restored: true });
      }),
      { numRuns: RUNS },
    );
  });
});
