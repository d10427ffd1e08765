import { HOUR_MS, hourKey } from "#core/time.ts";

/** The fleet that the benches stand for: what its pods have published is a function of index and hour alone. */
export interface Fleet {
  readonly pods: number;
  readonly dimensions: readonly string[];
}

/** ARM id of an extension of the emulator's subscription. */
export const OFFER =
  "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/bench/providers/Microsoft.KubernetesConfiguration/extensions/bench";
const BOUNDARIES = 26;
const PODS_PER_AGENT = 50;
/** Adaptive K: 20 writes a second however many pods there are. */
const PODS_PER_SECOND = 20;
/** Base units that a pod adds per hour and dimension. */
const PER_HOUR = 12_345n;

/** Ten dimensions with names of an ordinary length. */
export const DIMENSIONS = Array.from({ length: 10 }, (_, n) => `documents_kind_${n}`);

/** K of a fleet of this size. */
export function checkpointSecondsFor(pods: number): number {
  return Math.max(60, Math.ceil(pods / PODS_PER_SECOND));
}

/** A UID of the usual shape. */
export function uidOf(index: number): string {
  return `0f8fad5b-d9cb-469f-a165-${String(index).padStart(12, "0")}`;
}

/** The spec of a pod's PodUsage, with a grant that needs no renewal for a day. */
export function specOf(fleet: Fleet, index: number, nowMs: number): Record<string, unknown> {
  const seconds = checkpointSecondsFor(fleet.pods);
  return {
    podName: `agent-${Math.floor(index / PODS_PER_AGENT)}-gateway-7d9f8b6c5-${String(index).padStart(5, "0")}`,
    component: "gateway",
    agentDeployment: `agent-${Math.floor(index / PODS_PER_AGENT)}`,
    offerResourceId: OFFER,
    checkpointSeconds: 60,
    control: { mode: "Running", configDigest: "c".repeat(64) },
    grants: {
      term: 1,
      entitlement: { state: "Active", planId: "bench", validUntil: new Date(nowMs + 86_400_000).toISOString() },
      clockOffsetSeconds: 0,
      ...(seconds === 60 ? {} : { checkpointSeconds: seconds }),
    },
  };
}

/** What a pod that was busy all the time has published: a full ring up to the last hour that is over. */
export function statusOf(fleet: Fleet, index: number, nowMs: number): Record<string, unknown> {
  const at = (instantMs: number): { dimension: string; total: string }[] =>
    fleet.dimensions.map((dimension, n) => ({
      dimension,
      total: ((BigInt(Math.floor(instantMs / HOUR_MS)) * PER_HOUR) / 1000n + BigInt(index * 10 + n)).toString(),
    }));
  const hours = Array.from({ length: BOUNDARIES }, (_, n) => nowMs - (BOUNDARIES - n) * HOUR_MS);
  return {
    epoch: uidOf(index),
    sequence: String(Math.floor(nowMs / 60_000)),
    totals: at(nowMs + HOUR_MS).map((entry) => ({ ...entry, last: entry.total })),
    boundaries: hours.map((instantMs) => ({ hour: hourKey(instantMs), totals: at(instantMs) })),
    final: "No",
    reportedAt: new Date(nowMs).toISOString(),
    quarantined: [],
    leases: [],
    enforced: { configDigest: "c".repeat(64), controlDigest: "d".repeat(64), mode: "Running" },
  };
}
