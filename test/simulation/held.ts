import type { Control } from "#core/api/pod-config.ts";
import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Echo } from "#core/sidecar-fold.ts";
import type { Holds } from "#runtime/holds.ts";
import { toEcho, type Told } from "../../services/meter/sidecar/echo.ts";

/** The ceilings as the control file holds them, and the epoch that they are for. */
export type Ceilings = Pick<Control, "leases" | "epoch">;

/** Work as the services do it: its worst case is held first, then it is counted, then released. False when it is refused. */
export function countHeld(holds: Holds, need: Readonly<Record<string, bigint>>, count: () => void): boolean {
  const held = holds.hold(need);
  if (!held.ok) return false;
  count();
  held.release();
  return true;
}

/** What the sidecar passes on of the ceilings that the service applies. */
export function echoOf(service: { readonly holds: Holds; readonly epoch: string }, told: Told): Echo["leases"] {
  const record = { sequence: 0, epoch: service.epoch, bootId: "", totals: {}, journalSequence: 0, mode: "" };
  return toEcho({ ...record, configDigest: "", controlDigest: "", leases: service.holds.echo() }, told).leases;
}

/** The pod has not told yet which ceilings it applies, or that it needs more. */
export function isLeaseNews(object: PodUsage | undefined): boolean {
  const told = new Map(object?.status?.leases?.map(({ dimension, ack }) => [dimension, ack]));
  return (object?.spec.grants?.leases ?? []).some(({ dimension, upTo }) => told.get(dimension) !== upTo);
}
