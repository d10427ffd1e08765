import { appendFileSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { createPodWorld, type PodWorld, SPEC } from "../../../test/fakes/pod-world.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
let world: PodWorld;

afterEach(() => world.end());

/** A pod that has published once. */
async function runningPod(options: Parameters<typeof createPodWorld>[0] = {}): Promise<PodWorld> {
  world = createPodWorld(options);
  await world.clock.advance(SECOND);
  return world;
}

const boundaries = (): string[] => (world.server.stored()?.status?.boundaries ?? []).map(({ hour }) => hour);
const errors = (message: string): Record<string, unknown>[] =>
  world.logged.filter(({ level, msg }) => level === "error" && msg === message);
const logFile = (): string => join(world.folder, "log", "usage.log");

describe("checkpoints", () => {
  it("come at once, then every K", async () => {
    await runningPod();
    expect(world.server.calls.put).toBe(1);
    world.counters.count({ a: 3n });
    await world.clock.advance(58 * SECOND);
    expect([world.published("a"), world.server.calls.put]).toEqual(["0", 1]);
    await world.clock.advance(6 * SECOND);
    expect([world.published("a"), world.server.calls.put]).toEqual(["3", 2]);
  });

  it("come at the K of the grants when the reporter stretches it, and at the old one when it takes that back", async () => {
    await runningPod();
    const { grants } = SPEC;
    if (!grants) throw new Error("The sample has grants");
    world.server.setSpec({ grants: { ...grants, checkpointSeconds: 300 } });
    await world.clock.advance(5 * MINUTE - 10 * SECOND);
    expect(world.server.calls.put).toBe(1);
    await world.clock.advance(20 * SECOND);
    expect(world.server.calls.put).toBe(2);
    world.server.setSpec({ grants });
    await world.clock.advance(2 * MINUTE + 10 * SECOND);
    expect(world.server.calls.put).toBe(4);
  });

  it("carry each hour's boundary within K of its end", async () => {
    await runningPod();
    await world.clock.advance(50 * MINUTE - 7 * SECOND);
    expect(boundaries()).toEqual(["2026112207"]);
    await world.clock.advance(MINUTE + 6 * SECOND);
    expect(boundaries()).toEqual(["2026112207", "2026112208"]);
    await world.clock.advance(3 * HOUR);
    expect(boundaries().at(-1)).toBe("2026112211");
  });

  it("tell at once what the service runs with, and when it asks for more than its ceiling", async () => {
    await runningPod();
    const lease = (held: string): void =>
      world.counters.echo({
        configDigest: "c",
        controlDigest: "d",
        mode: "Running",
        leases: { a: { applied: "10", held } },
      });
    world.counters.count({ a: 7n });
    lease("1");
    await world.clock.advance(6 * SECOND);
    expect(world.server.stored()?.status).toMatchObject({
      enforced: { configDigest: "c", controlDigest: "d", mode: "Running" },
      leases: [{ dimension: "a", want: "8", ack: "10" }],
    });
    lease("4");
    await world.clock.advance(6 * SECOND);
    expect(world.server.stored()?.status?.leases).toEqual([{ dimension: "a", want: "11", ack: "10" }]);
    const puts = world.server.calls.put;
    lease("40");
    await world.clock.advance(20 * SECOND);
    expect(world.server.calls.put).toBe(puts);
  });

  it("are written again over another writer's change, and keep it", async () => {
    await runningPod();
    world.server.faults.push({ kind: "Conflict", status: 409, message: "the object has been modified" });
    world.counters.count({ a: 3n });
    await world.clock.advance(70 * SECOND);
    world.server.setSpec({ control: { mode: "Paused" } });
    expect(world.published("a")).toBe("3");
    expect(world.server.stored()?.spec.control?.mode).toBe("Paused");
    expect(world.logged.filter(({ msg }) => msg === "Failed to publish PodUsage")).toEqual([]);
  });
});

describe("an API server in trouble", () => {
  const away = { kind: "Unreachable", status: 0, message: "ECONNREFUSED" } as const;

  it("is left alone more and more, up to K, and gets every hour's boundary when it is back", async () => {
    await runningPod({ scrapeSeconds: 30 });
    world.server.outage = away;
    world.counters.count({ a: 5n });
    await world.clock.advance(26 * HOUR);
    const { put, get, watch } = world.server.calls;
    // K = 60: about one write a minute, not one every scrape; reads every 15 s at most.
    expect(put).toBeLessThan(26 * 70);
    expect(put).toBeGreaterThan(26 * 50);
    expect(get + watch).toBeLessThan((26 * HOUR) / (7 * SECOND));
    world.server.outage = undefined;
    world.counters.count({ a: 1n });
    await world.clock.advance(2 * MINUTE);
    expect(world.published("a")).toBe("6");
    expect(boundaries()).toHaveLength(26);
    expect(boundaries().slice(-2)).toEqual(["2026112308", "2026112309"]);
    const old = world.server.stored()?.status?.boundaries?.[1]?.totals.find(({ dimension }) => dimension === "a");
    expect(old?.total).toBe("5");
  });

  it("may ask for patience with 429", async () => {
    await runningPod();
    world.server.faults.push({ kind: "Throttled", status: 429, message: "slow", retryAfterMs: 40_000 });
    world.counters.count({ a: 5n });
    await world.clock.advance(65 * SECOND);
    expect(world.server.calls.put).toBe(2);
    await world.clock.advance(30 * SECOND);
    expect([world.server.calls.put, world.published("a")]).toEqual([2, "0"]);
    await world.clock.advance(10 * SECOND);
    expect([world.server.calls.put, world.published("a")]).toEqual([3, "5"]);
  });

  it("may end watches at once or refuse them: the object is read every few seconds, never in a spin", async () => {
    world = createPodWorld();
    world.server.watchEnd = { kind: "Closed" };
    await world.clock.advance(2 * MINUTE);
    expect(world.server.calls.watch).toBeLessThan(25);
    world.server.watchEnd = { kind: "Failed", error: { kind: "Forbidden", status: 403, message: "no" } };
    await world.clock.advance(MINUTE);
    const before = world.server.calls.get;
    world.server.setSpec({ control: { mode: "Revoked" } });
    await world.clock.advance(16 * SECOND);
    expect(world.server.calls.get).toBe(before + 1);
    const control: unknown = JSON.parse(readFileSync(join(world.folder, "control.json"), "utf8"));
    expect(control).toMatchObject({ mode: "Revoked", epoch: world.counters.epoch });
  });

  it("may be restored to an earlier state: totals are published over it", async () => {
    await runningPod();
    const backup = structuredClone(world.server.stored());
    for (let n = 0; n < 5; n += 1) {
      world.counters.count({ a: 1n });
      await world.clock.advance(MINUTE);
    }
    expect(world.published("a")).toBe("5");
    if (backup) world.server.restore(backup);
    await world.clock.advance(2 * MINUTE);
    expect(world.published("a")).toBe("5");
  });
});

describe("404", () => {
  it("before the first read means not yet: it is looked for every 2 s, and nothing is Ready", async () => {
    world = createPodWorld({ spec: "None" });
    await world.clock.advance(21 * SECOND);
    expect(world.server.calls.get).toBe(11);
    expect(world.sidecar.notReady()).toBe("no grant has arrived yet");
    world.counters.count({ a: 2n });
    world.server.create(SPEC);
    await world.clock.advance(8 * SECOND);
    expect([world.published("a"), world.sidecar.notReady()]).toEqual(["2", undefined]);
  });

  it("afterwards means settled: no write, a look every K, also after a restart; a re-created one gets lifetime totals", async () => {
    await runningPod();
    world.counters.count({ a: 2n });
    await world.clock.advance(MINUTE + 5 * SECOND);
    world.server.remove();
    world.counters.count({ a: 5n });
    await world.clock.advance(10 * MINUTE);
    world.kill();
    const before = { ...world.server.calls };
    await world.clock.advance(10 * MINUTE);
    expect(world.server.calls.put).toBe(before.put);
    expect(world.server.calls.get - before.get).toBeLessThanOrEqual(11);
    world.server.create(SPEC);
    await world.clock.advance(2 * MINUTE);
    expect(world.published("a")).toBe("7");
  });
});

describe("a sidecar that dies", () => {
  const damages: readonly (readonly [string, () => void])[] = [
    ["a whole log", () => undefined],
    ["a torn log", () => truncateSync(logFile(), statSync(logFile()).size - 3)],
    ["half a record more", () => appendFileSync(logFile(), Buffer.from([0, 0, 0, 99, 1, 2]))],
    ["a log of zeros", () => writeFileSync(logFile(), Buffer.alloc(500))],
    ["an empty log", () => truncateSync(logFile(), 0)],
    ["no log", () => rmSync(join(world.folder, "log"), { recursive: true })],
    [
      "a flipped bit in the middle",
      () => {
        const bytes = readFileSync(logFile());
        bytes[100] = (bytes[100] ?? 0) ^ 4;
        writeFileSync(logFile(), bytes);
      },
    ],
  ];

  it.each(damages)("goes on with %s: nothing lost, nothing twice", async (_what, damage) => {
    await runningPod();
    world.counters.count({ a: 10n, b: 1n });
    await world.clock.advance(MINUTE + 5 * SECOND);
    world.counters.count({ a: 5n });
    await world.clock.advance(10 * SECOND);
    world.kill(damage);
    world.counters.count({ a: 1n });
    await world.clock.advance(2 * MINUTE);
    expect([world.published("a"), world.published("b")]).toEqual(["16", "1"]);
  });

  it("counts on without a log, and again with one when the folder is there", async () => {
    await runningPod();
    world.kill(() => {
      rmSync(join(world.folder, "log"), { recursive: true });
      writeFileSync(join(world.folder, "log"), "a file in the way");
    });
    world.counters.count({ a: 4n });
    await world.clock.advance(70 * SECOND);
    expect(world.published("a")).toBe("4");
    expect(errors("Failed to open the log").length).toBeGreaterThan(0);
    rmSync(join(world.folder, "log"));
    world.counters.count({ a: 4n });
    await world.clock.advance(10 * SECOND);
    expect(statSync(logFile()).size).toBeGreaterThan(100);
  });

  it("does not believe a stale log against a PodUsage that is ahead", async () => {
    await runningPod();
    const stale = readFileSync(logFile());
    world.counters.count({ a: 6n });
    await world.clock.advance(3 * MINUTE);
    world.kill(() => writeFileSync(logFile(), stale));
    await world.clock.advance(2 * MINUTE);
    expect(world.published("a")).toBe("6");
    expect(BigInt(world.server.stored()?.status?.sequence ?? "0")).toBeGreaterThan(2n);
  });
});

describe("a service in trouble", () => {
  const epoch = 'metering_epoch_info{epoch="e"} 1\n';

  it("that prints what nobody can read is rejected, said once, and its counter file is believed instead", async () => {
    await runningPod();
    world.answer = () => `${epoch}supercargo_usage_total{dimension="a"} 1e9\n`;
    world.counters.count({ a: 3n });
    await world.clock.advance(2 * MINUTE);
    expect(world.published("a")).toBe("3");
    expect(errors("Rejected a scrape")).toHaveLength(1);
    expect(world.metrics()).toMatch(/result="rejected"} 2[34]/);
    world.answer = undefined;
    await world.clock.advance(10 * SECOND);
    expect(world.logged.some(({ msg }) => msg === "Accepted scrapes again")).toBe(true);
  });

  it("whose counter falls within its epoch is quarantined in that dimension alone, in sight of all", async () => {
    await runningPod();
    let a = 9;
    let b = 1;
    rmSync(join(world.folder, "counters"));
    world.answer = () =>
      `${epoch}supercargo_usage_total{dimension="a"} ${a}\nsupercargo_usage_total{dimension="b"} ${b}\n`;
    await world.clock.advance(MINUTE);
    a = 2;
    b = 5;
    await world.clock.advance(10 * SECOND);
    expect(world.server.stored()?.status?.quarantined).toEqual(["a"]);
    a = 500;
    await world.clock.advance(2 * MINUTE);
    expect([world.published("a"), world.published("b")]).toEqual(["9", "5"]);
    expect(errors("Quarantined dimension")).toHaveLength(1);
    expect(world.metrics()).toContain("supercargo_sidecar_quarantined_dimensions 1");
  });

  it("that names what PodUsage cannot hold does not stop the checkpoints of the rest", async () => {
    await runningPod();
    const stored = JSON.stringify(world.counters.exposition());
    world.answer = () => `${JSON.parse(stored)}supercargo_usage_total{dimension="c"} 999999999999999999\n`;
    await world.clock.advance(MINUTE);
    world.answer = () =>
      `${JSON.parse(stored)}supercargo_usage_total{dimension="c"} 999999999999999999\n`.replaceAll(
        /epoch="[^"]+"/g,
        'epoch="next"',
      );
    await world.clock.advance(2 * MINUTE);
    expect(errors("Rejected a scrape")).toHaveLength(1);
    expect(world.logged.filter(({ msg }) => msg === "Failed to publish PodUsage")).toEqual([]);
  });
});

describe("the end of a pod", () => {
  it("reads the counter file last, publishes it as final, and leaves no timer", async () => {
    await runningPod();
    world.answer = () => undefined;
    world.counters.count({ a: 8n });
    const stopped = world.sidecar.stop(10_000);
    await world.clock.advance(SECOND);
    await stopped;
    expect(world.server.stored()?.status).toMatchObject({
      final: "Yes",
      totals: expect.arrayContaining([{ dimension: "a", total: "8", last: "8" }]),
    });
  });

  it("is not final when a counter file is there that nobody can read: units may stand in it", async () => {
    await runningPod();
    world.counters.count({ a: 3n });
    await world.clock.advance(10 * SECOND);
    world.answer = () => undefined;
    rmSync(join(world.folder, "counters"));
    mkdirSync(join(world.folder, "counters"));
    const stopped = world.sidecar.stop(10 * SECOND);
    await world.clock.advance(11 * SECOND);
    await stopped;
    expect([world.published("a"), world.server.stored()?.status?.final]).toEqual(["3", "No"]);
    expect(errors("Failed to read the counter file: these totals are not final")).toHaveLength(1);
  });

  it("tries again while the API server is away, until its deadline", async () => {
    await runningPod();
    world.server.outage = { kind: "Unreachable", status: 0, message: "ECONNREFUSED" };
    world.counters.count({ a: 8n });
    let ended = false;
    const stopped = world.sidecar.stop(10_000).then(() => (ended = true));
    await world.clock.advance(4 * SECOND);
    expect(ended).toBe(false);
    world.server.outage = undefined;
    await world.clock.advance(SECOND);
    await stopped;
    expect([world.published("a"), world.server.stored()?.status?.final]).toEqual(["8", "Yes"]);
  });

  it("ends at its deadline all the same, and says so", async () => {
    await runningPod();
    world.server.outage = { kind: "Unreachable", status: 0, message: "ECONNREFUSED" };
    const stopped = world.sidecar.stop(10_000);
    await world.clock.advance(11 * SECOND);
    await stopped;
    expect(errors("Failed to publish the final totals in time")).toHaveLength(1);
  });
});
