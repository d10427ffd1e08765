import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHolds, type HoldResult, type Holds } from "./holds.ts";

interface World {
  readonly holds: Holds;
  readonly totals: Map<string, bigint>;
  readonly leases: { dimension: string; upTo: string }[];
  nowMs: number;
  /** Of the ceilings; the counters are in e1. */
  epoch: string | undefined;
}

function open(upTo: Record<string, string>): World {
  const totals = new Map<string, bigint>();
  const leases = Object.entries(upTo).map(([dimension, ceiling]) => ({ dimension, upTo: ceiling }));
  const world: Omit<World, "holds"> = { totals, leases, nowMs: 0, epoch: undefined };
  const holds = createHolds({
    total: (dimension) => totals.get(dimension) ?? 0n,
    epoch: "e1",
    control: () => ({ leases, ...(world.epoch === undefined ? {} : { epoch: world.epoch }) }),
    monotonicMs: () => world.nowMs,
  });
  return Object.assign(world, { holds });
}

function release(result: HoldResult): void {
  if (result.ok) result.release();
}

describe("createHolds()", () => {
  it("keeps the worst case of all dimensions or of none, and names the one that is short", () => {
    const { holds } = open({ input_tokens: "100", model_requests: "1" });
    const first = holds.hold({ input_tokens: 60n, model_requests: 1n });
    expect(first.ok).toBe(true);
    expect(holds.hold({ input_tokens: 10n, model_requests: 1n })).toEqual({ ok: false, dimension: "model_requests" });
    expect(holds.echo()["input_tokens"]).toEqual({ applied: "100", held: "60" });
    release(first);
    release(first);
    expect(holds.echo()["input_tokens"]).toEqual({ applied: "100", held: "0" });
  });

  it("limits nothing without a ceiling, and lets nothing through at a ceiling of 0", () => {
    const { holds } = open({ tool_action: "0" });
    expect(holds.hold({ workflow_completed: 1_000_000n }).ok).toBe(true);
    expect(holds.hold({ tool_action: 1n }).ok).toBe(false);
    expect(holds.hold({ tool_action: 0n }).ok).toBe(true);
  });

  it("counts what is counted: the ceiling is on the total", () => {
    const { holds, totals } = open({ tool_action: "3" });
    totals.set("tool_action", 2n);
    release(holds.hold({ tool_action: 1n }));
    totals.set("tool_action", 3n);
    expect(holds.hold({ tool_action: 1n }).ok).toBe(false);
  });

  it("lets nothing limited begin by ceilings for another life of the counters, and echoes none of them", () => {
    const world = open({ tool_action: "10" });
    world.epoch = "";
    expect(world.holds.hold({ tool_action: 1n })).toEqual({ ok: false, dimension: "tool_action" });
    expect(world.holds.hold({ tool_action: 0n, documents: 5n }).ok).toBe(true);
    expect(world.holds.echo()).toEqual({});
    world.epoch = "e1";
    expect(world.holds.hold({ tool_action: 1n }).ok).toBe(true);
  });

  it("asks for what it refused, for a while", () => {
    const world = open({ documents: "10" });
    expect(world.holds.hold({ documents: 20n }).ok).toBe(false);
    expect(world.holds.echo()).toEqual({ documents: { applied: "10", held: "20" } });
    world.nowMs = 300_000;
    expect(world.holds.echo()).toEqual({ documents: { applied: "10", held: "0" } });
  });

  it("says of a lowered ceiling that it is in force only when what is in flight fits under it", () => {
    const { holds, leases } = open({ documents: "10" });
    const work = holds.hold({ documents: 8n });
    leases[0] = { dimension: "documents", upTo: "5" };
    expect(holds.echo()).toEqual({ documents: { applied: "8", held: "8" } });
    expect(holds.hold({ documents: 1n }).ok).toBe(false);
    release(work);
    expect(holds.echo()["documents"]?.applied).toBe("5");
  });

  it("law: counted + held never exceeds the highest ceiling that was given", () => {
    const step = fc.record({
      kind: fc.constantFrom("hold", "settle", "move"),
      amount: fc.bigInt({ min: 0n, max: 30n }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { holds, totals, leases } = open({ a: "50" });
        const running: { release: () => void; amount: bigint }[] = [];
        let highest = 50n;
        const play = {
          hold(amount: bigint) {
            const result = holds.hold({ a: amount });
            if (result.ok) running.push({ release: result.release, amount });
          },
          move(amount: bigint) {
            leases[0] = { dimension: "a", upTo: `${50n + amount}` };
            if (50n + amount > highest) highest = 50n + amount;
          },
          settle(amount: bigint) {
            const done = running.shift();
            // At most the worst case is counted, before it is released.
            if (done) totals.set("a", (totals.get("a") ?? 0n) + (amount < done.amount ? amount : done.amount));
            done?.release();
          },
        };
        for (const { kind, amount } of steps) {
          play[kind](amount);
          const inFlight = running.reduce((sum, one) => sum + one.amount, 0n);
          expect((totals.get("a") ?? 0n) + inFlight <= highest).toBe(true);
        }
      }),
    );
  });
});
