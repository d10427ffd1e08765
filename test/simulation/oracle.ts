import type { Setup } from "./setup.ts";
import type { World } from "./world.ts";

const HOUR_MS = 3_600_000;
/** The edge of a period stays open to late reports for 25 hours; clocks may differ by one. */
const OPEN_MS = 23 * HOUR_MS;

/**
 * What is due of a Marketplace dimension in base units, told a second time from what the pods published: no ledger, no
 * period ids, no folds, months counted on the calendar one by one.
 */
export function dueByOracle(world: World, id: string): bigint {
  const { setup } = world;
  const dimension = setup.catalogue.dimensions.find((entry) => entry.id === id);
  const plan = setup.catalogue.plans.find((entry) => entry.id === setup.planId);
  const sold = plan?.dimensions.find((entry) => entry.id === id);
  if (!dimension || !sold) return 0n;
  const divisor = BigInt(dimension.divisor);
  if (sold.fee) return feesDue(world, sold.fee) * divisor;
  const included = BigInt(sold.included?.quantity ?? "0") * divisor;
  const most = sold.upTo === undefined ? undefined : BigInt(sold.upTo) * divisor;
  const edges = sold.included ? edgesOf(setup, sold.included.per).filter((edge) => edge > world.bornMs) : [];
  let due = 0n;
  let before = 0n;
  for (const edge of [...edges, Infinity]) {
    const until = countedAt(world, dimension.from, edge);
    due += between(until - before, included, most);
    before = until;
  }
  return due;
}

/** The part of what was used that lies above what is included and below the next tier. */
function between(used: bigint, included: bigint, most: bigint | undefined): bigint {
  const sells = most !== undefined && used > most ? most : used;
  return sells > included ? sells - included : 0n;
}

/** Units of the period in which the ledger was made, and of each that began since, up to the last hour that is over. */
function feesDue(world: World, fee: { readonly quantity: string; readonly per: "Day" | "Month" | "Year" }): bigint {
  const lastMs = Math.floor(world.nowMs() / HOUR_MS) * HOUR_MS - 1;
  const begun = edgesOf(world.setup, fee.per).filter((edge) => edge > world.bornMs && edge <= lastMs);
  return BigInt(begun.length + 1) * BigInt(fee.quantity);
}

/** Starts of periods, by the anchor's own day of the month or the last one of a shorter month. */
function edgesOf(setup: Setup, per: "Day" | "Month" | "Year"): number[] {
  const anchorMs = Math.floor(setup.anchorMs / HOUR_MS) * HOUR_MS;
  const anchor = new Date(anchorMs);
  if (per === "Day") {
    const first = Math.floor((setup.startMs - anchorMs) / (24 * HOUR_MS));
    return Array.from({ length: 200 }, (_, day) => anchorMs + (first + day) * 24 * HOUR_MS);
  }
  return Array.from({ length: 80 }, (_, step) => {
    const months = per === "Month" ? step : 12 * step;
    const last = new Date(Date.UTC(anchor.getUTCFullYear(), anchor.getUTCMonth() + months + 1, 0)).getUTCDate();
    const first = Date.UTC(anchor.getUTCFullYear(), anchor.getUTCMonth() + months, 1, anchor.getUTCHours());
    return first + (Math.min(anchor.getUTCDate(), last) - 1) * 24 * HOUR_MS;
  });
}

/** Whether an edge of a period was seen too late, or by a ledger too young, to tell what belongs on which side of it. */
export function isPeriodVague(world: World, id: string): boolean {
  const plan = world.setup.catalogue.plans.find((entry) => entry.id === world.setup.planId);
  const sold = plan?.dimensions.find((entry) => entry.id === id);
  if (sold?.included === undefined) return false;
  const isSilent = world.pods.some((pod) => pod.longestCutMs > OPEN_MS);
  return (
    isSilent || world.happened.has("Late") || world.happened.has("DeleteLedger") || world.happened.has("DeletePodUsage")
  );
}

/** Base units counted in the period of now. */
export function countedInPeriod(world: World, base: string, per: "Month" | "Year"): bigint {
  const edge = edgesOf(world.setup, per).findLast((start) => start <= world.apiNowMs() && start > world.bornMs);
  const total = countedAt(world, base, Infinity);
  return edge === undefined ? total : total - countedAt(world, base, edge);
}

/** Base units that all pods had counted at an instant on the hour: the boundary there or the next one known, else all. */
function countedAt(world: World, base: string, instantMs: number): bigint {
  let sum = 0n;
  for (const pod of world.pods) {
    const edges = [...pod.boundaries.keys()].filter((hour) => toMs(hour) + HOUR_MS >= instantMs).sort();
    const [hour] = edges;
    const totals = hour === undefined ? pod.published : pod.boundaries.get(hour);
    sum += totals?.get(base) ?? 0n;
  }
  return sum;
}

function toMs(hour: string): number {
  return Date.UTC(+hour.slice(0, 4), +hour.slice(4, 6) - 1, +hour.slice(6, 8), +hour.slice(8, 10));
}
