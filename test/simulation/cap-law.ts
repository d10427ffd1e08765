import type { Catalogue, PlanDimension } from "#core/plan.ts";
import { countedInPeriod } from "./oracle.ts";
import type { PodModel } from "./pod-model.ts";
import type { World } from "./world.ts";

/** What no ceiling withstands: a clock that jumps over the edge of a period, usage of the period that is forgotten. */
const BEYOND = ["Skew", "Late", "Restore", "DeleteLedger", "DeletePodUsage"];

/** The cap: what a period has counted and what pods may still count stay within the hard limit, whatever is in flight. */
export function checkCaps(world: World): void {
  const { catalogue, planId } = world.setup;
  if (BEYOND.some((what) => world.happened.has(what))) return;
  const plan = catalogue.plans.find(({ id }) => id === planId);
  for (const sold of plan?.dimensions ?? []) checkCap(world, sold, catalogue);
}

function checkCap(world: World, sold: PlanDimension, catalogue: Catalogue): void {
  const dimension = catalogue.dimensions.find(({ id }) => id === sold.id);
  if (sold.hard === undefined || !dimension) return;
  const hard = BigInt(sold.hard) * BigInt(dimension.divisor);
  const counted = countedInPeriod(world, dimension.from, sold.included?.per ?? "Month");
  let unspent = 0n;
  for (const pod of world.pods) unspent += unspentOf(world, pod, dimension.from);
  if (counted + unspent > hard)
    world.report(
      "Cap",
      `${counted} of ${dimension.from} are counted, ${unspent} more are allowed, the limit is ${hard}`,
    );
}

/** What a pod that runs may still count, by the ceiling that the API server holds, or has counted above it. */
function unspentOf(world: World, pod: PodModel, base: string): bigint {
  if (!pod.running) return 0n;
  const leases = world.api.podUsages.get(pod.uid)?.spec.grants?.leases;
  const upTo = BigInt(leases?.find(({ dimension }) => dimension === base)?.upTo ?? "0");
  const unspent = upTo - (pod.published.get(base) ?? 0n);
  // What was lost is outside counted, so outside the cap (row 3).
  const pending = pod.lossRow === "none" ? pod.unpublished(base) : 0n;
  return unspent > pending ? unspent : pending;
}
