import { mkdtempSync, rmSync } from "node:fs";
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, describe, expect, it } from "vitest";
import { Refusal } from "#core/errors.ts";
import { createFakeClock, type FakeClock } from "../../../test/fakes/clock.ts";
import { TIMEOUTS, type Gateway } from "../gateway.ts";
import { createGuardrails } from "../guardrails/guardrails.ts";
import { createIssuers } from "../identity/issuers.ts";
import { createJwksClient } from "../identity/jwks.ts";
import { createBooks } from "../limits/books.ts";
import { createMeter } from "../limits/count.ts";
import { createLive } from "../live.ts";
import { createRates } from "../rates/rates.ts";
import { parseSnapshot, type Snapshot } from "../snapshot.ts";
import { createAuditLog } from "../telemetry/audit-log.ts";
import { createGatewayMetrics } from "../telemetry/metrics.ts";
import { chat, deployment, gatewayConfig } from "../test-world.ts";
import { openTurn } from "../turn.ts";
import { createUpstreamCredentials } from "../upstream/credentials.ts";
import { createRetryBudget } from "../upstream/retry-budget.ts";
import { callModel } from "../upstream/route.ts";
import type { Upstreams } from "../upstream/upstream.ts";
import { parseRequest } from "../wire/openai.ts";
import { createDeployments } from "./deployments.ts";
import { createModel, type Model } from "./test-model.ts";
import { type Play, ScriptedUpstream } from "./test-upstream.ts";

const log = pino({ level: "silent" });
const folder = mkdtempSync(join(tmpdir(), "breaker-laws-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Call {
  readonly atMs: number;
  /** Its client leaves so long after it came. */
  readonly leavesMs: number;
}

interface Script {
  /** For each deployment of each group, what it does with one request after the other. */
  readonly groups: readonly (readonly (readonly Play[])[])[];
  readonly calls: readonly Call[];
  /** When the configuration changes, to one with the same deployments. */
  readonly reloadsMs: readonly number[];
  readonly chance: number;
}

interface World {
  readonly clock: FakeClock;
  readonly gateway: Gateway;
  readonly model: Model;
  readonly upstreams: ReadonlyMap<string, ScriptedUpstream>;
  snapshot: Snapshot;
}

function nameOf(rank: number, at: number): string {
  return `g${rank}-${at}`;
}

function snapshotOf(groups: Script["groups"], version: number): Snapshot {
  const deployments = groups.flatMap((group, rank) =>
    group.map((_, at) => ({ ...deployment(nameOf(rank, at), { modelUrl: "http://m" }), priority: rank })),
  );
  const config = gatewayConfig({
    modelUrl: "http://m",
    orchestratorUrl: "http://o",
    identity: { issuer: "i", audience: "a", subjects: [], jwks: { keys: [] } },
    models: [{ name: "gpt", outputTokensMax: 64 + version, deployments }],
  });
  return parseSnapshot(JSON.stringify(config));
}

/** All parts of the gateway that a call of a model uses, but time and the network. */
function openWorld(script: Script): World {
  const clock = createFakeClock();
  const model = createModel(
    clock,
    script.groups.map((group, rank) => group.map((_, at) => nameOf(rank, at))),
  );
  const upstreams = new Map(
    script.groups.flatMap((group, rank) =>
      group.map((plays, at) => {
        const name = nameOf(rank, at);
        return [name, new ScriptedUpstream(name, plays, { clock, watcher: model })] as const;
      }),
    ),
  );
  const gateway = createGateway({ clock, upstreams, chance: script.chance });
  const snapshot = snapshotOf(script.groups, 0);
  gateway.deployments.retain(snapshot.models.values());
  return { clock, gateway, model, upstreams, snapshot };
}

function createGateway(world: {
  readonly clock: FakeClock;
  readonly upstreams: ReadonlyMap<string, ScriptedUpstream>;
  readonly chance: number;
}): Gateway {
  const { clock } = world;
  const random = (): number => world.chance;
  const pools: Upstreams = {
    pool(key) {
      const found = world.upstreams.get(key.replace("gpt/", ""));
      if (found === undefined) throw new Error(`No upstream has the key ${key}`);
      return found;
    },
    retain() {},
    close: () => Promise.resolve(),
  };
  const credentials = createUpstreamCredentials({ current: () => undefined });
  const audit = createAuditLog({ write() {} }, clock);
  const meter = createMeter({ count() {}, stage() {}, commit() {} }, log);
  const issuers = createIssuers({ client: createJwksClient(), clock, random, log });
  const counters = { epoch: "e", echo() {}, total: () => 0n };
  const files = { configFile: join(folder, "config"), controlFile: join(folder, "control") };
  return {
    clock,
    random,
    log,
    audit,
    books: createBooks({ meter, audit, clock, inFlight: () => 0 }),
    live: createLive({ ...files, counters, issuers, monotonicMs: clock.monotonic, log, onSnapshot() {} }),
    meter,
    metrics: createGatewayMetrics(new Registry()),
    upstreams: pools,
    credentials,
    deployments: createDeployments({ clock, log }),
    serviceToken: () => undefined,
    guardrails: createGuardrails({ upstreams: pools, credentials, clock, random }),
    rates: createRates(),
    retryBudget: createRetryBudget(clock),
    bodyLimitBytes: 1024,
    timeouts: TIMEOUTS,
    turns: new Set(),
    isClosed: false,
  };
}

const BODY = Buffer.from(JSON.stringify(chat("x", { stream: true })));

/** How a call ended: `ok`, or the code of its refusal. */
async function call({ gateway, clock, snapshot }: World, id: string, leavesMs: number): Promise<string> {
  const request = new IncomingMessage(new Socket());
  request.headers["x-request-id"] = id;
  const turn = openTurn(request, new ServerResponse(request), gateway);
  const route = snapshot.models.get("gpt");
  if (route === undefined) throw new Error("The alias must be there");
  const cancel = clock.after(leavesMs, () => turn.cutter.cut("client"));
  try {
    await callModel(gateway, turn, { snapshot, operation: "chat", route, request: parseRequest(BODY) });
    return "ok";
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  } finally {
    cancel();
  }
}

const DAY_MS = 24 * 60 * 60 * 1000;
const SCRIPT_MS = 90_000;

/** Plays a script to its end, and long enough after it that nothing may be left. */
async function play(world: World, script: Script): Promise<string[]> {
  const { clock, gateway } = world;
  const ends: string[] = [];
  for (const [at, { atMs, leavesMs }] of script.calls.entries())
    clock.after(atMs, () => void call(world, `r${at}`, leavesMs).then((end) => (ends[at] = end)));
  for (const [at, atMs] of script.reloadsMs.entries())
    clock.after(atMs, () => {
      world.snapshot = snapshotOf(script.groups, at + 1);
      gateway.deployments.retain(world.snapshot.models.values());
    });
  await clock.advance(60 * 60 * 1000);
  return ends;
}

const waitArbitrary = fc.constantFrom(0, 300, 2_000, 9_000, 40_000, DAY_MS);
const msArbitrary = fc.integer({ min: 0, max: 3_000 });
const playArbitrary: fc.Arbitrary<Play> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("whole", "page", "connect", "reset", "cut", "hang"),
    ms: msArbitrary,
    status: fc.constant(200),
    waitMs: fc.constant(0),
  }),
  fc.record({
    kind: fc.constant("status"),
    ms: msArbitrary,
    status: fc.constantFrom(500, 502, 504, 408, 400, 302),
    waitMs: fc.constant(0),
  }),
  fc.record({ kind: fc.constant("told"), ms: msArbitrary, status: fc.constantFrom(429, 503), waitMs: waitArbitrary }),
);
/** A bad hour: the same several times in a row. */
const playsArbitrary = fc
  .array(fc.tuple(playArbitrary, fc.integer({ min: 1, max: 7 })), { maxLength: 8 })
  .map((bouts) => bouts.flatMap(([one, times]) => Array.from({ length: times }, () => one)));
const callArbitrary: fc.Arbitrary<Call> = fc.record({
  atMs: fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: SCRIPT_MS })),
  leavesMs: fc.oneof({ weight: 4, arbitrary: fc.constant(DAY_MS) }, fc.integer({ min: 0, max: 4_000 })),
});
const scriptArbitrary: fc.Arbitrary<Script> = fc.record({
  groups: fc.array(fc.array(playsArbitrary, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }),
  calls: fc.array(callArbitrary, { minLength: 1, maxLength: 50, size: "max" }),
  reloadsMs: fc.array(fc.integer({ min: 0, max: SCRIPT_MS }), { maxLength: 2 }),
  chance: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
});

describe("laws of deployments, whatever upstreams and clients do", () => {
  it("no request to an open one, one probe at a time, the best that may be asked, each call ends, nothing is left", async () => {
    let probes = 0;
    await fc.assert(
      fc.asyncProperty(scriptArbitrary, async (script) => {
        const world = openWorld(script);
        const ends = await play(world, script);
        expect(world.model.broken).toEqual([]);
        expect(ends.filter((end) => end !== undefined)).toHaveLength(script.calls.length);
        const retries = world.model.attempts() - world.model.requests();
        const windows = Math.ceil(SCRIPT_MS / 10_000) + 2;
        expect(retries).toBeLessThanOrEqual(windows * 10 + script.calls.length * 0.2);
        // No timer, no connection and no probe outlives its request.
        expect(world.clock.pending()).toBe(0);
        expect([...world.upstreams.values()].flatMap(({ open }) => [...open])).toEqual([]);
        // Whatever was, who is well again serves again.
        for (const upstream of world.upstreams.values()) upstream.heal();
        await world.clock.advance(5 * 60 * 1000);
        for (const id of ["last-1", "last-2", "last-3"]) expect(await within(world, id)).toBe("ok");
        expect(world.model.broken).toEqual([]);
        probes += world.model.probes();
      }),
      { numRuns: 150, interruptAfterTimeLimit: 20_000 },
    );
    // The histories reach what they are about.
    expect(probes).toBeGreaterThan(20);
  });

  it("two waits of two seconds where it is told so and there is no other; none where there is", async () => {
    const told: Play = { kind: "told", ms: 0, status: 429, waitMs: 2_000 };
    const alone = { groups: [[[told, told]]], calls: [], reloadsMs: [], chance: 0.5 };
    const one = openWorld(alone);
    expect([await within(one, "r"), one.model.times()]).toEqual(["ok", [0, 2_001, 4_002]]);
    const pair = openWorld({ ...alone, groups: [[[told, told]], [[]]] });
    expect([await within(pair, "r"), pair.model.times()]).toEqual(["ok", [0, 0]]);
  });

  it("a request that comes in the wait of another one waits with it; both go on when it is over", async () => {
    const told: Play = { kind: "told", ms: 0, status: 429, waitMs: 2_000 };
    const world = openWorld({ groups: [[[told]]], calls: [], reloadsMs: [], chance: 0.5 });
    const first = call(world, "first", DAY_MS);
    await world.clock.advance(500);
    const second = call(world, "second", DAY_MS);
    await world.clock.advance(1_000);
    expect(world.model.times()).toEqual([0]);
    await world.clock.advance(2_000);
    expect([await first, await second, world.model.times()]).toEqual(["ok", "ok", [0, 2_001, 2_001]]);
  });

  it("ten retries, or a fifth of all requests, in ten seconds, however many fail", async () => {
    const fails: Play[] = Array.from({ length: 400 }, () => ({ kind: "status", ms: 0, status: 502, waitMs: 0 }));
    const groups = Array.from({ length: 2 }, () => Array.from({ length: 8 }, () => fails));
    const world = openWorld({ groups, calls: [], reloadsMs: [], chance: 0.5 });
    const ends = Promise.all(Array.from({ length: 30 }, (_, at) => call(world, `r${at}`, DAY_MS)));
    await world.clock.advance(9_000);
    expect(new Set(await ends)).toEqual(new Set(["upstream_error"]));
    expect(world.model.attempts() - world.model.requests()).toBe(10);
  });
});

/** A call in a time of its own. */
async function within(world: World, id: string): Promise<string> {
  const end = call(world, id, DAY_MS);
  await world.clock.advance(10 * 60 * 1000);
  return await end;
}
