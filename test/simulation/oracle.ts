import type { Setup } from "./setup.ts";
import type { World } from "./world.ts";

const HOUR_MS = 3_600_000;

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
  const all = countedAt(world, dimension.from, Infinity);
  if (!sold.included) return all;
  const included = BigInt(sold.included.quantity) * BigInt(dimension.divisor);
  const edges = periodEdges(setup, sold.included.per, world.nowMs() + 60 * HOUR_MS);
  let due = 0n;
  let before = 0n;
  for (const edge of [...edges, Infinity]) {
    const until = countedAt(world, dimension.from, edge);
    if (until - before > included) due += until - before - included;
    before = until;
  }
  return due;
}

/** Starts of periods after the first, by the anchor's own day of the month or the last one of a shorter month. */
function periodEdges(setup: Setup, per: "Month" | "Year", untilMs: number): number[] {
  const anchor = new Date(Math.floor(setup.startMs / HOUR_MS) * HOUR_MS);
  const edges: number[] = [];
  for (let step = 1; step < 40; step += 1) {
    const months = per === "Month" ? step : 12 * step;
    const last = new Date(Date.UTC(anchor.getUTCFullYear(), anchor.getUTCMonth() + months + 1, 0)).getUTCDate();
    const first = Date.UTC(anchor.getUTCFullYear(), anchor.getUTCMonth() + months, 1, anchor.getUTCHours());
    const edge = first + (Math.min(anchor.getUTCDate(), last) - 1) * 24 * HOUR_MS;
    if (edge > untilMs) break;
    edges.push(edge);
  }
  return edges;
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
