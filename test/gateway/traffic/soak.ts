import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createRandom } from "../../simulation/random.ts";
import { eventually, type GatewayProcess } from "../../../services/gateway/test-world.ts";
import { drive } from "./drive.ts";
import { type PlannedCall, planCalls } from "./plan.ts";
import { startTrafficWorld, type TrafficWorld } from "./world.ts";

export interface SoakOptions {
  readonly seed: number;
  /** So many streams, or so many minutes at half of what the gateway can do here. */
  readonly streams?: number;
  readonly minutes?: number;
}

export interface SoakResult {
  readonly seed: number;
  readonly calls: number;
  readonly seconds: number;
  readonly callsPerSecond: number;
  /** Means of thirds of the run behind its warm-up, which is a fifth. */
  readonly rssMiB: { readonly first: number; readonly last: number; readonly max: number };
  /** Whether the last third is within 10 % of the first; nothing is judged of a run that is shorter than a minute. */
  readonly isFlat: boolean | undefined;
  /** What kept the process busy before and after, by kind: sockets, timers, files. */
  readonly resources: { readonly before: Resources; readonly after: Resources };
  readonly problems: readonly string[];
}

type Resources = Readonly<Record<string, number>>;

const CLIENTS = 32;
/** As in its container, 75 % of 512Mi: on a large machine Node lets its heap grow where it need not. */
const HEAP_MIB = 384;
const CANCELLED_SHARE = 0.1;
const CAPACITY_STREAMS = 1_500;
const SAMPLE_MS = 1_000;
const JUDGED_SECONDS_MIN = 60;
const GROWTH_MAX = 1.1;
/** Idle connections to upstreams are kept for half a minute. */
const SETTLING_MS = 45_000;
/** A look at the metrics has a socket, and so has a file that is read just then. */
const RESOURCES_SLACK = 4;

/** Loads a gateway for long and looks at what is left: memory, sockets, timers, holds, requests in flight. */
export async function soakGateway(options: SoakOptions): Promise<SoakResult> {
  const probe = fileURLToPath(new URL("probe.ts", import.meta.url));
  const world = await startTrafficWorld({ NODE_OPTIONS: `--import=${probe} --max-old-space-size=${HEAP_MIB}` });
  const { gateway } = world.gateway;
  try {
    const before = await resourcesOf(gateway);
    const rate = options.minutes === undefined ? undefined : (await capacityOf(world, options.seed)) / 2;
    const startMs = performance.now();
    const rss = watchRss(gateway);
    const calls = await load(world, options, rate);
    const seconds = (performance.now() - startMs) / 1000;
    const thirds = thirdsOf(rss.stop());
    await world.untilQuiet();
    const after = await settledResources(gateway, before);
    const isFlat = seconds < JUDGED_SECONDS_MIN ? undefined : thirds.last <= thirds.first * GROWTH_MAX;
    const problems = [
      ...(isFlat === false ? [`RSS grew from ${thirds.first} to ${thirds.last} MiB`] : []),
      ...leaksOf(before, after),
    ];
    const about = {
      seed: options.seed,
      calls,
      seconds: Math.round(seconds),
      callsPerSecond: Math.round(calls / seconds),
    };
    return { ...about, rssMiB: thirds, isFlat, resources: { before, after }, problems };
  } finally {
    await world.stop();
  }
}

/** Calls in a second, when clients ask as fast as they are answered. */
async function capacityOf(world: TrafficWorld, seed: number): Promise<number> {
  const startMs = performance.now();
  const calls = await load(world, { seed: seed + 1, streams: CAPACITY_STREAMS }, undefined);
  return (calls * 1000) / (performance.now() - startMs);
}

async function load(world: TrafficWorld, options: SoakOptions, rate: number | undefined): Promise<number> {
  const { gateway } = world.gateway;
  const untilMs = performance.now() + (options.minutes ?? 0) * 60_000;
  const streams = options.streams ?? Number.MAX_SAFE_INTEGER;
  const planned = planCalls(
    { seed: options.seed, streams, cancelledShare: CANCELLED_SHARE },
    createRandom(options.seed),
  );
  const calls = options.minutes === undefined ? planned : until(planned, untilMs);
  let done = 0;
  const pause = rate === undefined ? undefined : pacer(rate);
  await drive(calls, { url: gateway.url, clients: CLIENTS, ...(pause ? { pause } : {}) }, () => {
    done += 1;
    // The world remembers every line of the log: a long run must not.
    if (gateway.lines.length > 10_000) gateway.lines.length = 0;
  });
  return done;
}

function* until(calls: Iterable<PlannedCall>, untilMs: number): Iterable<PlannedCall> {
  for (const call of calls) {
    if (performance.now() > untilMs) return;
    yield call;
  }
}

/** Spreads calls evenly: each waits for its turn. */
function pacer(perSecond: number): () => Promise<void> {
  let nextMs = performance.now();
  return async () => {
    nextMs = Math.max(nextMs + 1000 / perSecond, performance.now() - 1000);
    await sleep(Math.max(0, nextMs - performance.now()));
  };
}

function watchRss({ pid }: GatewayProcess): { stop(): readonly number[] } {
  const samples: number[] = [];
  const timer = setInterval(() => {
    const text = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    samples.push(Number(text) / 1024);
  }, SAMPLE_MS);
  return {
    stop() {
      clearInterval(timer);
      return samples;
    },
  };
}

function thirdsOf(samples: readonly number[]): SoakResult["rssMiB"] {
  const warm = samples.slice(Math.floor(samples.length / 5));
  const third = Math.max(1, Math.floor(warm.length / 3));
  const mean = (of: readonly number[]): number => Math.round(of.reduce((sum, each) => sum + each, 0) / of.length);
  return { first: mean(warm.slice(0, third)), last: mean(warm.slice(-third)), max: Math.round(Math.max(...samples)) };
}

async function resourcesOf(gateway: GatewayProcess): Promise<Resources> {
  const seen = gateway.lines.length;
  gateway.child.kill("SIGUSR2");
  return await eventually(() => {
    const found = gateway.lines.slice(seen).find((line) => line["probe"] === true)?.["resources"];
    return typeof found === "object" && found !== null ? { ...found } : undefined;
  });
}

async function settledResources(gateway: GatewayProcess, before: Resources): Promise<Resources> {
  const untilMs = performance.now() + SETTLING_MS;
  for (;;) {
    const now = await resourcesOf(gateway);
    if (leaksOf(before, now).length === 0 || performance.now() > untilMs) return now;
    await sleep(SAMPLE_MS);
  }
}

function leaksOf(before: Resources, after: Resources): string[] {
  return Object.entries(after).flatMap(([kind, count]) =>
    count > (before[kind] ?? 0) + RESOURCES_SLACK ? [`${kind}: ${before[kind] ?? 0} before, ${count} after`] : [],
  );
}
