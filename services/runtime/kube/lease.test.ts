import { describe, expect, it } from "vitest";
import { createFakeClock, type FakeClock } from "../../../test/fakes/clock.ts";
import { createElection, type Election, LEASE_TIMES, microTime } from "./lease.ts";
import type { KubeClient, KubeError, KubeObject, KubeResult } from "./types.ts";

/** One Lease as the API server keeps it: compare-and-swap on resourceVersion. */
function createLeaseServer(): { client: Pick<KubeClient, "get" | "create" | "update">; state: LeaseState } {
  const state: LeaseState = { lease: undefined, version: 0, down: new Set() };
  const fail = (kind: KubeError["kind"]): KubeResult<KubeObject> => ({
    ok: false,
    error: { kind, status: 0, message: kind },
  });
  const store = (object: KubeObject): KubeResult<KubeObject> => {
    state.version += 1;
    state.lease = { ...object, metadata: { ...object.metadata, resourceVersion: String(state.version) } };
    return { ok: true, value: state.lease, dateMs: undefined };
  };
  const isDown = (object?: KubeObject): boolean => state.down.has("*") || state.down.has(holderOf(object));
  return {
    state,
    client: {
      get: async () => {
        if (state.down.has("*")) return fail("Unreachable");
        return state.lease ? { ok: true, value: state.lease, dateMs: undefined } : fail("NotFound");
      },
      create: async (_, object) => {
        if (isDown(object)) return fail("Unreachable");
        return state.lease ? fail("AlreadyExists") : store(object);
      },
      update: async (_, object) => {
        if (isDown(object)) return fail("Unreachable");
        if (!state.lease) return fail("NotFound");
        const same = object.metadata.resourceVersion === state.lease.metadata.resourceVersion;
        return same ? store(object) : fail("Conflict");
      },
    },
  };
}

interface LeaseState {
  lease: KubeObject | undefined;
  version: number;
  /** Holders whose writes do not arrive; `*` for everybody. */
  readonly down: Set<string>;
}

function holderOf(lease: KubeObject | undefined): string {
  const spec = lease?.["spec"];
  return typeof spec === "object" && spec !== null ? String(Reflect.get(spec, "holderIdentity")) : "";
}

interface Candidate {
  readonly election: Election;
  readonly events: string[];
}

function candidate(
  world: { clock: FakeClock; server: ReturnType<typeof createLeaseServer> },
  identity: string,
): Candidate {
  const events: string[] = [];
  const client: KubeClient = { ...unused, ...world.server.client };
  const election = createElection({
    client,
    clock: world.clock,
    random: () => 0.5,
    lease: { namespace: "n", name: "l" },
    identity,
    onLead: (signal) => {
      events.push("lead");
      signal.addEventListener("abort", () => events.push("aborted"));
    },
    onLost: (reason) => events.push(`lost: ${reason}`),
    log: { info: () => undefined, warn: () => undefined },
  });
  return { election, events };
}

const refuse = (): never => {
  throw new Error("An election does not call this");
};
const unused: KubeClient = {
  get: refuse,
  list: refuse,
  collect: refuse,
  create: refuse,
  update: refuse,
  updateStatus: refuse,
  apply: refuse,
  applyStatus: refuse,
  patchMerge: refuse,
  delete: refuse,
  watch: refuse,
  read: refuse,
  close: refuse,
};

function newWorld(): { clock: FakeClock; server: ReturnType<typeof createLeaseServer> } {
  return { clock: createFakeClock(), server: createLeaseServer() };
}

describe("createElection()", () => {
  it("has one leader among three, for as long as it renews", async () => {
    const world = newWorld();
    const all = ["a", "b", "c"].map((name) => candidate(world, name));
    for (const { election } of all) election.start();
    for (let second = 0; second < 120; second += 1) {
      await world.clock.advance(1_000);
      expect(all.filter(({ election }) => election.isLeader())).toHaveLength(1);
    }
    expect(all.map(({ events }) => events)).toEqual([["lead"], [], []]);
  });

  it("gives the Lease back when it stops, and another takes it within a few seconds", async () => {
    const world = newWorld();
    const [first, second] = [candidate(world, "a"), candidate(world, "b")];
    first.election.start();
    await world.clock.advance(100);
    second.election.start();
    await world.clock.advance(10_000);
    const stopped = first.election.stop();
    await world.clock.advance(0);
    await stopped;
    expect(first.events).toEqual(["lead", "aborted"]);
    await world.clock.advance(5_000);
    expect(second.election.isLeader()).toBe(true);
  });

  it("lets a standby wait a whole lease from when it saw the record change last, whatever the clocks say", async () => {
    const world = newWorld();
    const first = candidate(world, "a");
    first.election.start();
    await world.clock.advance(5_000);
    world.server.state.down.add("a");
    const second = candidate(world, "b");
    second.election.start();
    await world.clock.advance(LEASE_TIMES.leaseSeconds * 1000 - 1_000);
    expect(second.election.isLeader()).toBe(false);
    await world.clock.advance(6_000);
    expect(second.election.isLeader()).toBe(true);
  });

  it("fences itself before the Lease can be another's", async () => {
    const world = newWorld();
    const first = candidate(world, "a");
    first.election.start();
    await world.clock.advance(5_000);
    const second = candidate(world, "b");
    second.election.start();
    await world.clock.advance(1_000);
    world.server.state.down.add("a");
    for (let step = 0; step < 300; step += 1) {
      await world.clock.advance(100);
      expect(first.election.isLeader() && second.election.isLeader()).toBe(false);
    }
    expect(first.events).toEqual(["lead", "aborted", "lost: the renew deadline passed"]);
    expect(second.election.isLeader()).toBe(true);
  });

  it("stays leader through an outage shorter than its deadline", async () => {
    const world = newWorld();
    const { election, events } = candidate(world, "a");
    election.start();
    await world.clock.advance(5_000);
    world.server.state.down.add("*");
    await world.clock.advance(LEASE_TIMES.renewDeadlineMs - 4_000);
    world.server.state.down.delete("*");
    await world.clock.advance(30_000);
    expect(election.isLeader()).toBe(true);
    expect(events).toEqual(["lead"]);
  });

  it("ends when somebody else wrote the Lease, or deleted it", async () => {
    for (const [change, reason] of [
      [(state: LeaseState) => takeOver(state), "another process holds the Lease"],
      [(state: LeaseState) => (state.lease = undefined), "the Lease was deleted"],
    ] as const) {
      const world = newWorld();
      const { election, events } = candidate(world, "a");
      election.start();
      await world.clock.advance(5_000);
      change(world.server.state);
      await world.clock.advance(5_000);
      expect(events).toEqual(["lead", "aborted", `lost: ${reason}`]);
      expect(election.isLeader()).toBe(false);
    }
  });

  it("goes on after a conflict that was its own write, whose answer was lost", async () => {
    const world = newWorld();
    const { election, events } = candidate(world, "a");
    election.start();
    await world.clock.advance(5_000);
    const { state } = world.server;
    state.version += 1;
    if (state.lease)
      state.lease = { ...state.lease, metadata: { ...state.lease.metadata, resourceVersion: String(state.version) } };
    await world.clock.advance(20_000);
    expect(election.isLeader()).toBe(true);
    expect(events).toEqual(["lead"]);
  });

  it("is no leader the moment its deadline has passed, even if nothing could run in between", async () => {
    const world = newWorld();
    let jumpMs = 0;
    const clock = { ...world.clock, monotonic: () => world.clock.monotonic() + jumpMs };
    const { election } = candidate({ ...world, clock }, "a");
    election.start();
    await world.clock.advance(100);
    expect(election.isLeader()).toBe(true);
    jumpMs = LEASE_TIMES.renewDeadlineMs;
    expect(election.isLeader()).toBe(false);
  });
});

describe("microTime()", () => {
  it("has six digits, as the API server demands", () => {
    expect(microTime(Date.parse("2026-01-02T03:04:05.678Z"))).toBe("2026-01-02T03:04:05.678000Z");
  });
});

function takeOver(state: LeaseState): void {
  state.version += 1;
  const metadata = { namespace: "n", name: "l", resourceVersion: String(state.version) };
  state.lease = { apiVersion: "", kind: "Lease", metadata, spec: { holderIdentity: "z", leaseDurationSeconds: 15 } };
}
