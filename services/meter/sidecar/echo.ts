import type { CounterRecord } from "#core/counter-record.ts";
import type { Echo, SidecarState } from "#core/sidecar-fold.ts";

/**
 * What the service says of itself in its counter file, passed on as it stands: what it runs with, the ceilings it applies
 * (`ack`), and up to where it could use its dimensions now (`want`: counted plus held for calls in flight).
 */
export function toEcho(record: CounterRecord | undefined, state: SidecarState): Pick<Echo, "enforced" | "leases"> {
  const told = record && (record.configDigest !== "" || record.controlDigest !== "");
  return {
    leases: Object.entries(record?.leases ?? {}).map(([dimension, lease]) => ({
      dimension,
      want: (BigInt(state.totals[dimension] ?? "0") + BigInt(lease.held)).toString(),
      ack: lease.applied,
    })),
    enforced: told
      ? {
          configDigest: record.configDigest,
          controlDigest: record.controlDigest,
          ...(record.mode === "" ? {} : { mode: record.mode }),
        }
      : undefined,
  };
}
