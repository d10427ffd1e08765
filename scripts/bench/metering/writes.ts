/**
 * What a fleet's checkpoints cost an API server: `node writes.ts PODS SECONDS`, against a light cluster. The pods are the
 * product's fold and publish plan, without their own processes; all are busy, and the hour turns in the middle. Prints JSON.
 */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { applyReading, applyTime, EMPTY_STATE, type SidecarState, toPodUsageStatus } from "#core/sidecar-fold.ts";
import { podUsageSchema, type PodUsage } from "#core/api/pod-usage.ts";
import { HOUR_MS, hourKey } from "#core/time.ts";
import { systemClock } from "#runtime/clock.ts";
import { NAMESPACES, POD_USAGES } from "#runtime/kube/resources.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import {
  isPublishDue,
  type PublishPlan,
  publishPlan,
  rememberPublished,
} from "../../../services/meter/sidecar/publish-plan.ts";
import { type ApiHarness, must, startApi } from "../../../test/api/harness.ts";
import { checkpointSecondsFor, specOf, uidOf } from "./fleet.ts";

const PODS = Number(process.argv[2] ?? 1000);
const SECONDS = Number(process.argv[3] ?? 60);
const SCRAPE_MS = 5000;
/** Those of a gateway; the sixth is pod_milliseconds. */
const DIMENSIONS = ["agent_requests", "cached_input_tokens", "input_tokens", "model_requests", "output_tokens"];
const CREATED_AT_ONCE = 16;
const EDGE_MS = Date.parse("2026-11-22T09:00:00Z");
const fleet = { pods: PODS, dimensions: DIMENSIONS };

interface Pod {
  readonly plan: PublishPlan;
  object: KubeObject;
  usage: PodUsage;
  state: SidecarState;
}

const api = await startApi();
try {
  must(await api.client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "bench" } }));
  const pods: Pod[] = [];
  let next = 0;
  const create = async (): Promise<void> => {
    for (let index = next; index < PODS; index = next) {
      next += 1;
      pods.push(await createPod(api, index));
    }
  };
  await Promise.all(Array.from({ length: CREATED_AT_ONCE }, create));
  process.stdout.write(`${JSON.stringify(await run(api, pods))}\n`);
} finally {
  await api.stop();
}
process.exit(0);

async function createPod(world: ApiHarness, index: number): Promise<Pod> {
  const uid = uidOf(index);
  const object = must(
    await world.client.create(POD_USAGES, {
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "PodUsage",
      metadata: { name: uid, namespace: "bench" },
      spec: specOf(fleet, index, EDGE_MS),
    }),
  );
  const pod: Pod = { plan: publishPlan(uid), object, usage: podUsageSchema.parse(object), state: fullState(index) };
  await put(world, pod, -Math.random() * checkpointSecondsFor(PODS) * 1000);
  return pod;
}

/** A pod that has lived for more than a day: its ring is full. */
function fullState(index: number): SidecarState {
  const first = { ...EMPTY_STATE, hour: hourKey(EDGE_MS - 27 * HOUR_MS), startedMs: EDGE_MS - 30 * HOUR_MS };
  let state: SidecarState = first;
  for (let n = 0; n <= 26; n += 1) state = tick(state, index, EDGE_MS - (27 - n) * HOUR_MS);
  return state;
}

/** A scrape in which every counter has grown. */
function tick(state: SidecarState, index: number, nowMs: number): SidecarState {
  const grown = BigInt(Math.floor((nowMs - (EDGE_MS - 40 * HOUR_MS)) / 100) + index);
  const counters = new Map(DIMENSIONS.map((dimension, n) => [dimension, grown * BigInt(n + 1)]));
  const folded = applyReading(state, { epoch: uidOf(index), counters, source: "Scrape" });
  if (!folded.ok) throw new Error(folded.problem);
  return applyTime(folded.state, { nowMs, hour: hourKey(nowMs), upMs: 0 });
}

async function put(world: ApiHarness, pod: Pod, monotonicMs: number): Promise<number> {
  pod.state = { ...pod.state, sequence: (BigInt(pod.state.sequence) + 1n).toString() };
  const status = statusOf(pod.state);
  const { managedFields: _, ...metadata } = pod.object.metadata;
  const body = { ...pod.object, metadata, status };
  pod.object = must(await world.client.updateStatus(POD_USAGES, body));
  pod.usage = { ...pod.usage, status };
  rememberPublished(pod.plan, { status, monotonicMs });
  return JSON.stringify(body).length;
}

function statusOf(state: SidecarState): ReturnType<typeof toPodUsageStatus> {
  return toPodUsageStatus(state, {
    final: false,
    reportedAt: "2026-11-22T09:00:00.000Z",
    leases: [],
    enforced: { configDigest: "c".repeat(64), controlDigest: "d".repeat(64), mode: "Running" },
  });
}

/** Each pod scrapes every S, all spread over S; the hour ends when half of the time is over. */
async function run(world: ApiHarness, pods: readonly Pod[]): Promise<Record<string, number>> {
  const dbFile = join(dirname(world.kubeconfig), "etcd", "member", "snap", "db");
  const before = statSync(dbFile).size;
  const startMs = performance.now();
  const perBucket = new Map<number, number>();
  let bytes = 0;
  let writes = 0;
  const visit = async (pod: Pod, index: number): Promise<void> => {
    const elapsedMs = performance.now() - startMs;
    pod.state = tick(pod.state, index, EDGE_MS - (SECONDS * 1000) / 2 + elapsedMs);
    if (!isPublishDue(pod.plan, { usage: pod.usage, monotonicMs: elapsedMs, status: statusOf(pod.state) })) return;
    bytes += await put(world, pod, elapsedMs);
    writes += 1;
    const bucket = Math.floor(elapsedMs / SCRAPE_MS);
    perBucket.set(bucket, (perBucket.get(bucket) ?? 0) + 1);
  };
  for (let round = 0; performance.now() - startMs < SECONDS * 1000; round += 1) {
    for (const [index, pod] of pods.entries()) {
      const dueMs = round * SCRAPE_MS + (index * SCRAPE_MS) / pods.length - (performance.now() - startMs);
      if (dueMs > 10) await systemClock.sleep(dueMs);
      await visit(pod, index);
    }
  }
  const seconds = (performance.now() - startMs) / 1000;
  const listed =
    JSON.stringify(must(await world.client.list(POD_USAGES, { limit: 500 })).items.slice(0, 100)).length / 100;
  return {
    pods: PODS,
    checkpointSeconds: checkpointSecondsFor(PODS),
    seconds,
    writes,
    writesPerSecond: writes / seconds,
    peakWritesPerSecond: Math.max(...perBucket.values()) / (SCRAPE_MS / 1000),
    bytesPerWrite: bytes / writes,
    kBPerSecond: bytes / seconds / 1000,
    dbBytesPerWrite: (statSync(dbFile).size - before) / writes,
    listedMB: (listed * PODS) / 1_000_000,
  };
}
