import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PodUsageSpec } from "#core/api/pod-usage.ts";
import { readMetered } from "#core/exposition.ts";
import { type Counters, openCounters } from "#runtime/counters.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { createFakeClock, type FakeClock } from "./clock.ts";
import { createPodUsageServer, type PodUsageServer } from "./pod-usage-server.ts";
import { openControlFile } from "../../services/meter/sidecar/control-file.ts";
import { createSidecarLog } from "../../services/meter/sidecar/log.ts";
import { createSidecarMetrics } from "../../services/meter/sidecar/metrics.ts";
import { followPodUsage } from "../../services/meter/sidecar/pod-usage.ts";
import type { Scraper } from "../../services/meter/sidecar/prometheus.ts";
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
  readonly counters: Counters;
  readonly folder: string;
  readonly logged: Record<string, unknown>[];
  /** What the service answers instead of its counters; nothing: it is not there. */
  answer: (() => string | undefined) | undefined;
  readonly sidecar: Sidecar;
  metrics(): string;
  /** Ends the sidecar without a word and starts another in its place after `change`. */
  kill(change?: () => void): void;
  /** Total of a dimension in PodUsage. */
  published(dimension: string): string | undefined;
  end(): void;
}

/** A pod at ten past the hour whose PodUsage exists, unless told otherwise. */
export function createPodWorld(
  options: { readonly spec?: PodUsageSpec | "None"; readonly scrapeSeconds?: number } = {},
): PodWorld {
  const folder = mkdtempSync(join(tmpdir(), "sidecar-"));
  const clock = createFakeClock(Date.parse("2026-11-22T08:10:00Z"));
  const server = createPodUsageServer(clock);
  if (options.spec !== "None") server.create(options.spec ?? SPEC);
  const counterFile = join(folder, "counters");
  const counters = openCounters({ file: counterFile, dimensions: ["a", "b"], bootId: "boot" });
  const logged: Record<string, unknown>[] = [];
  const log = createSidecarLog("info", (line) => logged.push(JSON.parse(line)));
  let metrics = createSidecarMetrics();
  let life = new AbortController();
  const start = (): Sidecar => {
    life = new AbortController();
    metrics = createSidecarMetrics();
    const { signal } = life;
    const alive = <T>(result: Promise<T>): Promise<T> => untilDeath(result, signal);
    const scraper: Scraper = { scrape: () => alive(scrape(world)), close: () => undefined };
    const client = mortalClient(server.client, signal);
    const sidecar = createSidecar({
      uid: "pod-uid",
      scrapeSeconds: options.scrapeSeconds ?? 5,
      counterFile,
      scraper,
      stateLog: openStateLog(join(folder, "log"), log),
      controlFile: openControlFile(join(folder, "control.json")),
      time: createServerTime(clock),
      clock,
      metrics,
      log,
      follow: (hooks) => followPodUsage({ client, clock, namespace: "agents", uid: "pod-uid", log, ...hooks }),
    });
    sidecar.start();
    return sidecar;
  };
  const world: PodWorld = {
    clock,
    server,
    counters,
    folder,
    logged,
    answer: undefined,
    get sidecar() {
      return running;
    },
    metrics: () => metrics.exposition().text,
    kill(change) {
      life.abort(new Error("Killed"));
      change?.();
      running = start();
    },
    published: (dimension) => server.stored()?.status?.totals.find((entry) => entry.dimension === dimension)?.total,
    end() {
      life.abort(new Error("The test ended"));
      counters.close();
      rmSync(folder, { recursive: true });
    },
  };
  let running = start();
  return world;
}

async function scrape(world: PodWorld): ReturnType<Scraper["scrape"]> {
  const text = world.answer ? world.answer() : world.counters.exposition();
  if (text === undefined) return { ok: false, kind: "Unreachable", problem: "ECONNREFUSED" };
  const read = readMetered(text);
  return read.ok ? read : { ...read, kind: "Malformed" };
}

/** A promise that never settles once its owner is dead: so ends what a killed process had begun. */
function untilDeath<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return result.then((value) => (signal.aborted ? new Promise(() => undefined) : value));
}

function mortalClient(client: PodUsageServer["client"], signal: AbortSignal): PodUsageServer["client"] {
  const call = <T>(run: () => Promise<T>): Promise<T> =>
    signal.aborted ? new Promise(() => undefined) : untilDeath(run(), signal);
  return {
    get: (...args) => call(() => client.get(...args)),
    updateStatus: (...args) => call(() => client.updateStatus(...args)),
    watch: (ref, query, handlers) =>
      call(() => client.watch(ref, query, { ...handlers, signal: AbortSignal.any([signal, handlers.signal]) })),
  };
}
