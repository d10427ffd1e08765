import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPodWorld, type PodWorld } from "../fakes/pod-world.ts";
import { heal, healed } from "../simulation/meter-laws.ts";
import type { Fault } from "../simulation/meter-world.ts";
import { clearFiles, losePageCache, peekFile, pokeFile } from "../simulation/memory-fs.ts";
import { killBefore, nextHour, notePosts, openShop } from "./shop.ts";

// Files in memory, which can lose what was not synced.
vi.mock("node:fs", () => import("../simulation/memory-fs.ts"));

let pod: PodWorld;
beforeEach(() => {
  clearFiles();
  pod = createPodWorld();
});
afterEach(() => pod.end());

const logFile = (): string => join(pod.folder, "log", "usage.log");
const counterFile = (): string => join(pod.folder, "counters");

describe("GoogleCloudPlatform/ubbagent", () => {
  it("aggregator.go sums reports that overlap: ours are totals, and count once", async () => {
    const [world, desk] = await openShop();
    for (let n = 0; n < 5; n += 1) world.publishAll();
    await nextHour(world, desk);
    expect(world.billed("tool_action")).toBe(7);
  });

  it("aggregator.go sends a bucket under a random id and saves it then, so a crash sends twice: ours saves, then sends the same slot again", async () => {
    const [world, desk] = await openShop();
    await killBefore(world, "writeStatement", () => nextHour(world, desk));
    expect(world.booked()).toHaveLength(1);
    await heal(world, world.desk());
    expect(world.sent.get("2026112208 tool_action")).toEqual(new Set(["7"]));
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("disk.go neither syncs nor renames: ours keeps what it has counted when the node loses its power", async () => {
    await pod.clock.advance(1000);
    pod.counters.count({ a: 5n });
    await pod.clock.advance(10_000);
    expect(pod.published("a")).toBe("0");
    pod.kill(() => {
      losePageCache();
      pokeFile(counterFile(), undefined);
      pod.startService("boot-2");
    });
    await pod.clock.advance(70_000);
    expect(pod.published("a")).toBe("5");
  });

  const damages: readonly [string, (bytes: Uint8Array) => Uint8Array | undefined][] = [
    ["torn state is a panic at every start", (bytes) => bytes.slice(0, bytes.length - 20)],
    ["half a state is a panic at every start", (bytes) => bytes.slice(0, 20)],
    ["empty state is a silent loss", () => new Uint8Array()],
    ["missing state is a silent loss", () => undefined],
  ];
  it.each(damages)("disk.go: %s; ours goes on, nothing is lost or doubled", async (_name, damage) => {
    await pod.clock.advance(1000);
    pod.counters.count({ a: 5n });
    await pod.clock.advance(70_000);
    expect(pod.published("a")).toBe("5");
    pod.kill(() => pokeFile(logFile(), damage(peekFile(logFile()) ?? new Uint8Array())));
    pod.counters.count({ a: 2n });
    await pod.clock.advance(130_000);
    expect(pod.published("a")).toBe("7");
  });

  it("retry.go drops what is older than 3 h: ours waits through 3 h, and through 24 h", async () => {
    const [world, desk] = await openShop();
    for (let hour = 0; hour < 30; hour += 1) await nextHour(world, desk, ...Array<Fault>(9).fill("Http500"));
    expect(world.booked()).toEqual([]);
    await heal(world, desk);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it.each(["Http403", "LoseRequest", "LoseAnswer", "Drop"] as const)(
    "retry.go drops at every error but a 5xx: ours sends the same again after %s",
    async (fault) => {
      const [world, open] = await openShop();
      const [desk, posts] = notePosts(world, open);
      await nextHour(world, desk, fault);
      await heal(world, desk);
      expect(posts.length).toBeGreaterThan(1);
      expect(world.sent.get("2026112208 tool_action")).toEqual(new Set(["7"]));
      expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
    },
  );

  it("main.go does not handle SIGTERM: our sidecar's last word holds what nobody had scraped", async () => {
    await pod.clock.advance(1000);
    pod.answer = () => undefined;
    pod.counters.count({ a: 4n });
    const stopped = pod.sidecar.stop(10_000);
    await pod.clock.advance(11_000);
    await stopped;
    expect([pod.published("a"), pod.server.stored()?.status?.final]).toEqual(["4", "Yes"]);
  });

  it("main.go does not handle SIGTERM: what a pod said last is billed, and settled once", async () => {
    const [world, desk] = await openShop();
    world.use("a", "tool_action", 2n);
    world.endPod("a", true);
    await nextHour(world, desk);
    await heal(world, desk);
    expect([world.billed("tool_action"), world.podUsages.size]).toEqual([9, 0]);
  });
});
