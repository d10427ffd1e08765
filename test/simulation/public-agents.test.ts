import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readMetered } from "#core/exposition.ts";
import { decideOutcome, type PostAnswer } from "#core/outcome.ts";
import { HOUR_MS, periodAt, toIso } from "#core/time.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { createPodWorld } from "../fakes/pod-world.ts";
import { expectLaws, heal, healed } from "./meter-laws.ts";
import { type Fault, MeterWorld } from "./meter-world.ts";

const SLOT_MS = Date.UTC(2026, 10, 22, 8);
const INTENT = { dimension: "tool_action", quantity: 7n, divisor: 1n, slotStartMs: SLOT_MS };
const AT = { nowMs: SLOT_MS + HOUR_MS, ledgerAgeMs: 48 * HOUR_MS };

function judged(answer: Partial<PostAnswer>, at = AT): ReturnType<typeof decideOutcome> {
  return decideOutcome(INTENT, { requestId: "r", httpStatus: 200, status: "Unknown", reasons: [], ...answer }, at);
}

/** One pod whose agent took seven actions in the hour that is open, and a leader that has opened the books. */
async function busy(): Promise<[MeterWorld, Desk]> {
  const world = new MeterWorld();
  world.addPod("a");
  world.use("a", "tool_action", 7n);
  world.publishAll();
  const desk = world.desk();
  await world.cycle(desk);
  return [world, desk];
}

async function nextHour(world: MeterWorld, desk: Desk, ...faults: Fault[]): Promise<void> {
  world.faults.push(...faults);
  world.advance(HOUR_MS);
  world.publishAll();
  await world.cycle(desk);
  expectLaws(world);
}

describe("counting", () => {
  it("sums overlapping reports once: cumulative totals", async () => {
    const [world, desk] = await busy();
    for (let n = 0; n < 5; n += 1) world.publishAll();
    await nextHour(world, desk);
    expect(world.billed("tool_action")).toBe(7);
  });

  it("reads, posts and never sets to 0: use in between a read and its answer is billed later", async () => {
    const [world, desk] = await busy();
    world.onCall = (call) => {
      if (call === "post") world.use("a", "tool_action", 3n);
    };
    await nextHour(world, desk);
    world.onCall = () => undefined;
    expect(world.billed("tool_action")).toBe(7);
    await nextHour(world, desk);
    expect(world.billed("tool_action")).toBe(10);
  });

  it("counts beyond 32 bits and beyond doubles, and refuses a count that is not whole", () => {
    const text = (value: string): string =>
      `metering_epoch_info{epoch="e1"} 1\nsupercargo_usage_total{dimension="a"} ${value}\n`;
    const read = readMetered(text("9007199254740993"));
    expect(read).toMatchObject({ ok: true, counters: new Map([["a", 9007199254740993n]]) });
    expect(readMetered(text("4294967296.5")).ok).toBe(false);
  });

  it("bills a pod that stopped with its last word, and settles it once", async () => {
    const [world, desk] = await busy();
    world.use("a", "tool_action", 2n);
    world.endPod("a", true);
    await nextHour(world, desk);
    await heal(world, desk);
    expect([world.billed("tool_action"), world.podUsages.size]).toEqual([9, 0]);
  });
});

describe("a pod's state on disk", () => {
  const damages: readonly [string, (file: string) => void][] = [
    ["torn", (file) => truncateSync(file, 20)],
    ["empty", (file) => writeFileSync(file, "")],
    ["gone", (file) => rmSync(file)],
  ];

  it.each(damages)("that is %s neither ends the sidecar nor loses or doubles a unit", async (_name, damage) => {
    const pod = createPodWorld();
    try {
      await pod.clock.advance(1000);
      pod.counters.count({ a: 5n });
      await pod.clock.advance(70_000);
      expect(pod.published("a")).toBe("5");
      pod.kill(() => damage(join(pod.folder, "log", "usage.log")));
      pod.counters.count({ a: 2n });
      await pod.clock.advance(130_000);
      expect(pod.published("a")).toBe("7");
    } finally {
      pod.end();
    }
  });

  it("is followed by a last word at SIGTERM, from the counter file, with the service gone", async () => {
    const pod = createPodWorld();
    try {
      await pod.clock.advance(1000);
      pod.answer = () => undefined;
      pod.counters.count({ a: 4n });
      const stopped = pod.sidecar.stop(10_000);
      await pod.clock.advance(11_000);
      await stopped;
      expect([pod.published("a"), pod.server.stored()?.status?.final]).toEqual(["4", "Yes"]);
    } finally {
      pod.end();
    }
  });
});

describe("posting", () => {
  it("sends the same slot again after a crash behind the post, not a second event under a new id", async () => {
    const [world, desk] = await busy();
    world.onCall = (call) => {
      if (call !== "writeStatement" || world.booked().length === 0) return;
      throw new Error("Killed behind the post");
    };
    await nextHour(world, desk).catch(() => undefined);
    expect(world.booked()).toHaveLength(1);
    world.onCall = () => undefined;
    await heal(world, world.desk());
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("sends the same intent again in a later hour when the answer was lost after booking", async () => {
    const [world, desk] = await busy();
    await nextHour(world, desk, "LoseAnswer");
    world.use("a", "tool_action", 1n);
    await heal(world, desk);
    expect([world.billed("tool_action"), world.sent.get("2026112208 tool_action")]).toEqual([8, new Set(["7"])]);
  });

  it.each(["LoseRequest", "Http500", "Http403", "Drop"] as const)(
    "keeps the loop and the units alive through one %s, and lets the last answer decide",
    async (fault) => {
      const [world, desk] = await busy();
      await nextHour(world, desk, fault);
      await heal(world, desk);
      expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
      expect([...world.statements.values()].every(({ value }) => value.outcome !== undefined)).toBe(true);
    },
  );

  it("keeps units that wait longer than 3 h and longer than 24 h", async () => {
    const [world, desk] = await busy();
    for (let hour = 0; hour < 30; hour += 1) await nextHour(world, desk, ...Array<Fault>(9).fill("Http500"));
    expect(world.booked()).toEqual([]);
    await heal(world, desk);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("posts no zero in an idle hour, by its own timer", async () => {
    const [world, desk] = await busy();
    for (let hour = 0; hour < 4; hour += 1) await nextHour(world, desk);
    expect(world.booked().map(({ quantity }) => quantity)).toEqual([7]);
    expect(world.ledger?.value.lastClosedHour).toBe("2026112211");
  });

  it("names the start of the hour of use in UTC, whenever it posts", async () => {
    const [world, desk] = await busy();
    await nextHour(world, desk);
    expect([...world.statements.values()].map(({ value }) => value.intent.effectiveStartTime)).toEqual([
      toIso(SLOT_MS),
    ]);
  });

  it("carries part units to the next hour", async () => {
    const [world, desk] = await busy();
    for (const billed of [0, 1]) {
      world.use("a", "input_tokens", 600n);
      await nextHour(world, desk);
      expect(world.billed("tokens_1k_in")).toBe(billed);
    }
  });

  it("lets two leaders in one hour bill it once: they write under a resourceVersion", async () => {
    const [world, desk] = await busy();
    const other = world.desk();
    world.advance(HOUR_MS);
    world.publishAll();
    await Promise.allSettled([world.cycle(desk), world.cycle(other)]);
    expectLaws(world);
    await heal(world, other);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("sends at once what a ledger had reserved and no post had carried: reserved is not sent", async () => {
    const [world, desk] = await busy();
    world.onCall = (call) => {
      if (call === "post") throw new Error("Killed before the post");
    };
    await nextHour(world, desk).catch(() => undefined);
    expect(world.booked()).toEqual([]);
    world.onCall = () => undefined;
    await heal(world, world.desk());
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("stops at a read error instead of starting from nothing", async () => {
    const [world, desk] = await busy();
    await nextHour(world, desk);
    world.onCall = (call) => {
      if (call === "readLedger") throw new Error("The API server is away");
    };
    await world.cycle(world.desk()).catch(() => undefined);
    world.onCall = () => undefined;
    await heal(world, world.desk());
    expect(world.billed("tool_action")).toBe(7);
  });
});

describe("answers", () => {
  it("never takes a 400 for success", () => {
    for (const status of ["BadArgument", "InvalidDimension", "InvalidQuantity"])
      expect(judged({ httpStatus: 400, status })).toMatchObject({ next: "park", reason: status });
  });

  it("takes a Duplicate for what it says was accepted: equal is success, other is credited and alarms", () => {
    expect(judged({ status: "Duplicate", acceptedMessage: { quantity: 7 } })).toMatchObject({ state: "DuplicateSame" });
    expect(judged({ status: "Duplicate", acceptedMessage: { quantity: 5 } })).toMatchObject({
      state: "DuplicateOther",
      acceptedBaseUnits: 5n,
      alarm: "ForeignWriter",
    });
    expect(judged({ status: "Duplicate" })).toMatchObject({ next: "retry", alarm: "UnclearDuplicate" });
  });

  it("believes Expired after 24 h only, and never sends it again then", () => {
    expect(judged({ status: "Expired" })).toEqual({ next: "retry", alarm: "ClockFault" });
    expect(judged({ status: "Expired" }, { ...AT, nowMs: SLOT_MS + 24 * HOUR_MS })).toEqual({ next: "expire" });
  });

  it("tries again on a status that no document names", () => {
    expect(judged({ status: "DryRun" })).toEqual({ next: "retry" });
  });
});

describe("periods", () => {
  it("refills the included quantity though usage comes first after the renewal", async () => {
    const [world, desk] = await busy();
    world.use("a", "workflow_completed", 12n);
    await nextHour(world, desk);
    expect(world.billed("chats")).toBe(2);
    for (let hour = 0; hour < 24 * 31; hour += 1) await nextHour(world, desk);
    world.use("a", "workflow_completed", 9n);
    await nextHour(world, desk);
    expect(world.billed("chats")).toBe(2);
    world.use("a", "workflow_completed", 2n);
    await nextHour(world, desk);
    expect(world.billed("chats")).toBe(3);
  });

  it("renews at the hour of the start, not at midnight", () => {
    const anchorMs = Date.UTC(2026, 0, 31, 15);
    expect(periodAt(anchorMs, "Month", Date.UTC(2026, 1, 28, 14, 59)).startMs).toBe(anchorMs);
    expect(periodAt(anchorMs, "Month", Date.UTC(2026, 1, 28, 15)).startMs).toBe(Date.UTC(2026, 1, 28, 15));
    expect(periodAt(anchorMs, "Month", Date.UTC(2026, 2, 31, 15)).startMs).toBe(Date.UTC(2026, 2, 31, 15));
  });
});
