import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PodUsageSpec } from "#core/api/pod-usage.ts";
import { readMetered } from "#core/exposition.ts";
import { type Counters, openCounters } from "#runtime/counters.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { createFakeClock, type FakeClock } from "./clock.ts";
import { guardedClient, mortalClock, type PortGuard, untilDeath } from "./mortal.ts";
import { createPodUsageServer, type PodUsageServer } from "./pod-usage-server.ts";
import { openControlFile } from "../../services/meter/sidecar/control-file.ts";
import { createSidecarLog, type SidecarLog } from "../../services/meter/sidecar/log.ts";
import { createSidecarMetrics, type SidecarMetrics } from "../../services/meter/sidecar/metrics.ts";
import { followPodUsage } from "../../services/meter/sidecar/pod-usage.ts";
import type { FailedScrape, Scraper } from "../../services/meter/sidecar/prometheus.ts";
import { createSidecar, type Sidecar } from "../../services/meter/sidecar/sidecar.ts";
import { openStateLog } from "../../services/meter/sidecar/state-log.ts";

export const SPEC: PodUsageSpec = {
  podName: "pod",
  component: "gateway",
  agentDeployment: "agent",
  offerResourceId: "plain",
  checkpointSeconds: 60,
  grants: {
    term: 1,
    entitlement: { state: "Active", planId: "", validUntil: "2027-01-01T00:00:00Z" },
    clockOffsetSeconds: 0,
  },
};

/** One pod in virtual time: real counters, log and control file in a folder; the API server and the port in memory. */
export interface PodWorld {
  readonly clock: FakeClock;
  readonly server: PodUsageServer;
  /** The service's; replaced by each start of the service. */
  readonly counters: Counters;
  readonly folder: string;
  readonly logged: Record<string, unknown>[];
  /** What the service answers instead of its counters; nothing: it is not there. */
  answer: (() => string | undefined) | undefined;
  readonly sidecar: Sidecar;
  metrics(): string;
  /** Ends the sidecar without a word and starts another in its place after `change`. */
  kill(change?: () => void): void;
  /** Ends the sidecar without a word: nothing that it waits for ever comes, its clock included. */
  stopDead(): void;
  /** Starts a sidecar where none runs. Throws when it cannot start. */
  revive(): void;
  /** Starts the service's counters anew on its file. */
  startService(bootId: string): void;
  /** Total of a dimension in PodUsage. */
  published(dimension: string): string | undefined;
  end(): void;
}

export interface PodWorldOptions {
  readonly spec?: PodUsageSpec | "None";
  readonly scrapeSeconds?: number;
  /** @default ten past eight */
  readonly startMs?: number;
  /** No sidecar runs before `revive`. */
  readonly isIdle?: boolean;
  /** Stands before every call of the sidecar to the API server and the service. */
  readonly guard?: PortGuard;
}

/** A pod at ten past the hour whose PodUsage exists, unless told otherwise. */
export function createPodWorld(options: PodWorldOptions = {}): PodWorld {
  const folder = mkdtempSync(join(tmpdir(), "sidecar-"));
  const clock = createFakeClock(options.startMs ?? Date.parse("2026-11-22T08:10:00Z"));
  const server = createPodUsageServer(clock);
  if (options.spec !== "None") server.create(options.spec ?? SPEC);
  const openService = (bootId: string): Counters =>
    openCounters({ file: join(folder, "counters"), dimensions: ["a", "b"], bootId });
  let counters = openService("boot");
  const logged: Record<string, unknown>[] = [];
  const log = createSidecarLog("info", (line) => logged.push(JSON.parse(line)));
  let metrics = createSidecarMetrics();
  let life = new AbortController();
  let running: Sidecar | undefined;
  const start = (): Sidecar => {
    life = new AbortController();
    metrics = createSidecarMetrics();
    return createPodSidecar(world, { options, metrics, log, signal: life.signal });
  };
  const world: PodWorld = {
    clock,
    server,
    get counters() {
      return counters;
    },
    folder,
    logged,
    answer: undefined,
    get sidecar() {
      if (!running) throw new Error("No sidecar runs");
      return running;
    },
    metrics: () => metrics.exposition().text,
    kill(change) {
      world.stopDead();
      change?.();
      world.revive();
    },
    stopDead: () => life.abort(new Error("Killed")),
    revive() {
      running = start();
      running.start();
    },
    startService(bootId) {
      counters.close();
      counters = openService(bootId);
    },
    published: (dimension) => server.stored()?.status?.totals.find((entry) => entry.dimension === dimension)?.total,
    end() {
      world.stopDead();
      counters.close();
      rmSync(folder, { recursive: true });
    },
  };
  if (options.isIdle !== true) world.revive();
  return world;
}

interface SidecarParts {
  readonly options: PodWorldOptions;
  readonly metrics: SidecarMetrics;
  readonly log: SidecarLog;
  /** Aborted when this sidecar dies. */
  readonly signal: AbortSignal;
}

function createPodSidecar(world: PodWorld, { options, metrics, log, signal }: SidecarParts): Sidecar {
  const guard: PortGuard = (call) => untilDeath(options.guard ? options.guard(call) : call.run(), signal);
  const client = guardedClient(world.server.client, { guard, signal });
  const clock = mortalClock(world.clock, signal);
  return createSidecar({
    uid: "pod-uid",
    scrapeSeconds: options.scrapeSeconds ?? 5,
    counterFile: join(world.folder, "counters"),
    scraper: {
      scrape: () => guard({ name: "scrape", run: () => scrape(world), failed: UNREACHED }),
      close: () => undefined,
    },
    stateLog: openStateLog(join(world.folder, "log"), log),
    controlFile: openControlFile(join(world.folder, "control.json")),
    time: createServerTime(clock),
    clock,
    metrics,
    log,
    follow: (hooks) => followPodUsage({ client, clock, namespace: "agents", uid: "pod-uid", log, ...hooks }),
  });
}

const UNREACHED: FailedScrape = { ok: false, kind: "Unreachable", problem: "ECONNREFUSED" };

async function scrape(world: PodWorld): ReturnType<Scraper["scrape"]> {
  const text = world.answer ? world.answer() : world.counters.exposition();
  if (text === undefined) return UNREACHED;
  const read = readMetered(text);
  return read.ok ? read : { ...read, kind: "Malformed" };
}
