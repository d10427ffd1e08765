import type { Setup } from "./setup.ts";
import type { World } from "./world.ts";

const HOUR_MS = 3_600_000;

/** Starts of periods, by the anchor's own day of the month or the last one of a shorter month. */
export function edgesOf(setup: Setup, per: "Day" | "Month" | "Year"): number[] {
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

/** Base units that all pods had counted at an instant on the hour: the boundary there or the next one known, else all. */
export function countedAt(world: World, base: string, instantMs: number): bigint {
  let sum = 0n;
  for (const pod of world.pods) {
    const edges = [...pod.boundaries.keys()].filter((hour) => toMs(hour) + HOUR_MS >= instantMs).sort();
    const [hour] = edges;
    const totals = hour === undefined ? pod.published : pod.boundaries.get(hour);
    sum += totals?.get(base) ?? 0n;
  }
  return sum;
}

/** The instant at which an hour begins. */
export function toMs(hour: string): number {
  return Date.UTC(+hour.slice(0, 4), +hour.slice(4, 6) - 1, +hour.slice(6, 8), +hour.slice(8, 10));
}
