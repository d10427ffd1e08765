import type { PodUsageStatus } from "#core/api/pod-usage.ts";
import type { CounterRecord } from "#core/counter-record.ts";
import { earlierOf, type Echo, type SidecarState } from "#core/sidecar-fold.ts";

/** What the sidecar told last, beside what it folded. */
export interface Told {
  readonly state: SidecarState;
  readonly published: PodUsageStatus | undefined;
}

/**
 * What the service says of itself in its counter file, passed on: what it runs with, the ceilings it applies (`ack`), and
 * up to where it could use its dimensions now (`want`: counted plus held for calls in flight). Ceilings of the counters
 * become ceilings of the pod's total. Of a ceiling that the service does not speak of (yet), the last word stays.
 */
export function toEcho(record: CounterRecord | undefined, told: Told): Pick<Echo, "enforced" | "leases"> {
  const { state, published } = told;
  const leases = record?.epoch === state.epoch ? record.leases : {};
  const kept = (published?.leases ?? []).filter(({ dimension }) => leases[dimension] === undefined);
  return {
    leases: [
      ...Object.entries(leases).map(([dimension, lease]) => ({
        dimension,
        want: `${totalOf(state, dimension) + BigInt(lease.held)}`,
        ack: `${earlierOf(state, dimension) + BigInt(lease.applied)}`,
      })),
      ...kept.map(({ dimension, ack }) => ({ dimension, want: `${totalOf(state, dimension)}`, ack })),
    ],
    enforced: toEnforced(record),
  };
}

function toEnforced(record: CounterRecord | undefined): Echo["enforced"] {
  if (!record || (record.configDigest === "" && record.controlDigest === "")) return undefined;
  const { configDigest, controlDigest, mode } = record;
  return { configDigest, controlDigest, ...(mode === "" ? {} : { mode }) };
}

function totalOf(state: SidecarState, dimension: string): bigint {
  return BigInt(state.totals[dimension] ?? "0");
}
