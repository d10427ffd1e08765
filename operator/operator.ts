import { randomUUID } from "node:crypto";
import type { Clock } from "#runtime/clock.ts";
import { createElection } from "#runtime/kube/lease.ts";
import { AGENT_DEPLOYMENTS } from "#runtime/kube/resources.ts";
import { storeKey } from "#runtime/kube/store.ts";
import type { KubeClient, KubeError, ResourceRef } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import { tendApprovals } from "./approvals.ts";
import type { Cache } from "./cache.ts";
import { createClusterFacts } from "./cluster-facts.ts";
import type { Settings } from "./config.ts";
import { runController } from "./controller.ts";
import { createRecorder } from "./events.ts";
import { createCluster } from "./kube.ts";
import type { OperatorMetrics } from "./metrics.ts";
import { createQueue } from "./queue.ts";
import { reconcileAgent } from "./reconcile.ts";
import { createWatches, type Watches } from "./watch.ts";

const LEASE_NAME = "supercargo-operator";

/** A reflector that has not even tried for so long is stuck; an unreachable API server is no reason. */
const STUCK_MS = 360_000;
const DRAIN_MS = 20_000;
const SYNC_POLL_MS = 100;

export interface OperatorOptions {
  readonly client: KubeClient;
  readonly settings: Settings;
  readonly pod: { readonly namespace: string; readonly name: string };
  /** Empty: all. */
  readonly namespaces: readonly string[];
  readonly clock: Clock;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: Logger;
  readonly metrics?: OperatorMetrics;
  /** The Lease was lost: end the process. */
  readonly onLost: (reason: string) => void;
}

export interface Operator {
  start(): void;
  /** Drains, gives the Lease back, ends the watches. */
  stop(): Promise<void>;
  isLeader(): boolean;
  /** Nothing when ready: caches are filled. Leading is no part of it, or a rolling update would lock. */
  notReady(): string | undefined;
  notLive(): string | undefined;
}

/** The operator: watches → queue → reconcile, on the leader alone. */
export function createOperator(options: OperatorOptions): Operator {
  const { client, clock, random, log, metrics } = options;
  const queue = createQueue(clock, metrics?.queue);
  const watches = createWatches({
    client,
    namespaces: options.namespaces,
    clock,
    random,
    log,
    onKey: (key, lane) => queue.add(key, lane),
    ...(metrics ? { onCacheMiss: metrics.cacheMiss } : {}),
  });
  const facts = createClusterFacts({ client, clock, log, onChange: () => addAll(watches, queue) });
  const recorder = createRecorder({ clock, instance: options.pod.name, log });
  const statusWrites = new Map<string, number>();
  let stopping = false;
  let working: Promise<void> = Promise.resolve();
  const notReady = (): string | undefined => whyNotReady(stopping, watches, facts.problem());

  const reconcile = async (key: string, signal: AbortSignal): Promise<{ requeueAfterMs: number } | undefined> => {
    const current = facts.current();
    if (!current) return { requeueAfterMs: SYNC_POLL_MS };
    const cluster = createCluster(client, signal);
    const { settings } = options;
    const caches = (ref: ResourceRef): Cache => watches.cache(ref);
    return reconcileAgent(key, { caches, cluster, facts: current, settings, clock, log, recorder, statusWrites });
  };
  const work = async (signal: AbortSignal): Promise<void> => {
    // A decision on half a cache would delete what is there.
    while (!signal.aborted && !stopping && (watches.unsynced().length > 0 || !facts.current()))
      await clock.sleep(SYNC_POLL_MS, signal).catch(() => undefined);
    const observer = metrics ? { observer: metrics.controller } : {};
    const caches = (ref: ResourceRef): Cache => watches.cache(ref);
    const cluster = createCluster(client, signal);
    void tendApprovals({ caches, cluster, clock, instance: options.pod.name, log }, signal);
    await runController({ queue, clock, random, log, reconcile, ...observer }, signal);
  };
  const election = createElection({
    client,
    clock,
    random,
    lease: { namespace: options.pod.namespace, name: LEASE_NAME },
    identity: `${options.pod.name}_${randomUUID()}`,
    log,
    onLead: (signal) => {
      working = work(signal);
    },
    onLost: options.onLost,
    ...(metrics ? { onStatus: metrics.leading } : {}),
  });

  return {
    start() {
      watches.start();
      facts.start();
      election.start();
    },
    async stop() {
      stopping = true;
      queue.close();
      await Promise.race([working, clock.sleep(DRAIN_MS)]);
      await election.stop();
      await Promise.all([watches.stop(), facts.stop()]);
    },
    isLeader: () => election.isLeader(),
    notReady,
    notLive() {
      const silentMs = clock.monotonic() - watches.oldestTryMs();
      return silentMs > STUCK_MS ? `A watch has not tried for ${Math.floor(silentMs / 1000)} s` : undefined;
    },
  };
}

function whyNotReady(stopping: boolean, watches: Watches, factsProblem: string | undefined): string | undefined {
  if (stopping) return "Stopping";
  const unsynced = watches.unsynced();
  if (unsynced.length > 0) {
    const problems = watches.problems().map(({ kind, error }) => `${kind}: ${explain(error)}`);
    return `Not listed yet: ${unsynced.join(", ")}${problems.length > 0 ? `. ${problems.join("; ")}` : ""}`;
  }
  return factsProblem;
}

function explain(error: KubeError): string {
  return error.kind === "NotFound" ? "its CustomResourceDefinition is not installed" : error.message;
}

function addAll(watches: Watches, queue: ReturnType<typeof createQueue>): void {
  for (const agent of watches.cache(AGENT_DEPLOYMENTS).list()) queue.add(storeKey(agent.metadata), "resync");
}
