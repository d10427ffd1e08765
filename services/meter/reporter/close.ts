import { setImmediate as yieldLoop } from "node:timers/promises";
import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { awaitedPods, canClose, closeHour, slotKey } from "#core/close-hour.ts";
import { checkpointSecondsOf, livePods, type PodView, toPodView } from "#core/counted.ts";
import { openSlots } from "#core/ledger.ts";
import { createPodMerger } from "#core/merge-pods.ts";
import { HOUR_MS, parseHourKey, shiftHour } from "#core/time.ts";
import { type Desk, swapLedger, type Versioned } from "./desk.ts";

/** The scrape interval of the sidecars. */
const SCRAPE_SECONDS = 5;
/** Pods that are added up before the event loop gets its turn. */
const MERGED_PER_TURN = 500;
/** Hours that one cycle closes at most, after an outage of ours. */
const HOURS_PER_CYCLE = 48;

/**
 * Step one of a post, for each hour that is over and complete: one compare-and-swap closes the hour and reserves what is
 * billable. `pods` must have been listed after `ledger` was read: then the swap proves that nobody settled in between.
 */
export async function closeHours(
  desk: Desk,
  ledger: Versioned<Ledger>,
  pods: readonly PodUsage[],
): Promise<Versioned<Ledger>> {
  let current = ledger;
  for (let closed = 0; closed < HOURS_PER_CYCLE; closed += 1) {
    const next = await closeNext(desk, current, pods);
    if (!next) break;
    current = next;
  }
  return current;
}

/** R8: the grace of an hour is 2K + S, with the largest K in force. */
export function graceMsOf(desk: Desk, pods: readonly PodUsage[]): number {
  const largest = pods.reduce((max, pod) => Math.max(max, checkpointSecondsOf(pod.spec)), desk.terms.checkpointSeconds);
  return (2 * largest + SCRAPE_SECONDS) * 1000;
}

/** Pods added up by agent, a few hundred at a time: probes and metrics are answered in between. */
async function mergeInTurns(ledger: Ledger, live: readonly PodView[]): Promise<PodView[]> {
  const merger = createPodMerger(ledger);
  for (const [count, pod] of live.entries()) {
    merger.add(pod);
    if (count % MERGED_PER_TURN === MERGED_PER_TURN - 1) await yieldLoop();
  }
  return merger.pods();
}

async function closeNext(
  desk: Desk,
  ledger: Versioned<Ledger>,
  pods: readonly PodUsage[],
): Promise<Versioned<Ledger> | undefined> {
  const hour = shiftHour(ledger.value.lastClosedHour, 1);
  const views = pods.map(toPodView);
  const hourEndMs = parseHourKey(hour) + HOUR_MS;
  const live = livePods(ledger.value, views);
  const endMs = Math.max(hourEndMs, desk.memory.timeKnownSinceMs);
  if (!canClose(hour, live, { nowMs: desk.now(), endMs, graceMs: graceMsOf(desk, pods) })) return undefined;
  const next = closeHour(ledger.value, {
    hour,
    pods: await mergeInTurns(ledger.value, live),
    catalogue: desk.terms.catalogue,
    catalogueDigest: desk.terms.catalogueDigest,
    lateUsage: desk.terms.lateUsage,
    nowMs: desk.now(),
    stored: desk.memory.stored,
  });
  const written = await swapLedger(desk, { value: next, version: ledger.version });
  const reserved = openSlots(next).filter((slot) => slot.hour === hour);
  // A memory from before a restore may hold a statement that went with it: the shares of this one must stay until it is stored.
  for (const slot of reserved) desk.memory.stored.delete(slotKey(slot));
  desk.log.info({ hour, reserved: reserved.length, without: awaitedPods(ledger.value, views, hour) }, "Closed hour");
  return written;
}
