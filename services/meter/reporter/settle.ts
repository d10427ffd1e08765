import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { checkpointSecondsOf, type PodView, toPodView } from "#core/counted.ts";
import { confirmDeleted, settlePod } from "#core/settle.ts";
import { hourKey, shiftHour } from "#core/time.ts";
import { type Desk, swapLedger, type Versioned } from "./desk.ts";

/** Pods that one cycle looks at and settles; the rest wait for the next. */
const SETTLED_PER_CYCLE = 200;

/**
 * R7: pods that are gone, and said all they had to say or fell silent for 2K, move into the ledger in one
 * compare-and-swap; only then their objects are deleted, exactly in the version that was counted.
 */
export async function settlePods(desk: Desk, ledger: Versioned<Ledger>, pods: readonly PodUsage[]): Promise<void> {
  const ended = await findEnded(desk, ledger.value, pods);
  const present = new Set(pods.map((pod) => pod.metadata.name));
  const confirmed = new Set(
    ledger.value.tombstones.filter((entry) => entry.totals && !present.has(entry.uid)).map((entry) => entry.uid),
  );
  if (ended.length === 0 && confirmed.size === 0) return;
  const settled = ended.reduce((state, pod) => settlePod(state, toPodView(pod), desk.now()), ledger.value);
  const next = confirmed.size > 0 ? confirmDeleted(settled, confirmed) : settled;
  if (JSON.stringify(next) !== JSON.stringify(ledger.value))
    await swapLedger(desk, { value: next, version: ledger.version });
  const tombstones = new Map(next.tombstones.map((entry) => [entry.uid, entry]));
  for (const pod of ended) {
    if (!tombstones.get(pod.metadata.name)?.totals) continue;
    const result = await desk.books.deletePodUsage(pod);
    desk.log.info({ namespace: pod.metadata.namespace, name: pod.metadata.name, result }, "Settled PodUsage");
  }
}

async function findEnded(desk: Desk, ledger: Ledger, pods: readonly PodUsage[]): Promise<PodUsage[]> {
  const tombstones = new Map(ledger.tombstones.map((entry) => [entry.uid, entry]));
  const ended: PodUsage[] = [];
  for (const pod of pods) {
    if (ended.length >= SETTLED_PER_CYCLE) break;
    const tombstone = tombstones.get(pod.metadata.name);
    if (tombstone?.totals) ended.push(pod);
    else if (!tombstone && mayHaveEnded(desk, ledger, pod) && (await desk.books.isPodGone(pod))) ended.push(pod);
  }
  return ended;
}

/** Final or silent, and the hour in which it last counted is closed: its usage was billed in its own hour. */
function mayHaveEnded(desk: Desk, ledger: Ledger, pod: PodUsage): boolean {
  const view = toPodView(pod);
  const lastMs = view.reportedMs || view.createdMs;
  const silentMs = desk.now() - lastMs;
  if (!view.final && silentMs < 2000 * checkpointSecondsOf(pod.spec)) return false;
  return lastHourOf(view, lastMs) <= ledger.lastClosedHour;
}

/**
 * The hour in which it last spoke. But what it counted beyond a boundary belongs to a later hour than the boundary's, also
 * where the API server's clock has gone back since.
 */
function lastHourOf(pod: PodView, lastMs: number): string {
  const spoken = hourKey(lastMs);
  const edge = pod.boundaries.at(-1);
  if (!edge || edge.hour < spoken) return spoken;
  const isBeyond = [...pod.totals].some(([dimension, total]) => total !== edge.totals.get(dimension));
  return isBeyond ? shiftHour(edge.hour, 1) : edge.hour;
}
