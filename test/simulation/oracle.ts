import type { Ledger } from "#core/api/usage-ledger.ts";
import type { PlanDimension } from "#core/plan.ts";
import { countedAt, edgesOf } from "./oracle-time.ts";
import { planUse } from "./plan-books.ts";
import type { World } from "./world.ts";

const HOUR_MS = 3_600_000;
/** The edge of a period stays open to late reports for 25 hours; clocks may differ by one. */
const OPEN_MS = 23 * HOUR_MS;

/**
 * What is due of a Marketplace dimension in base units, told a second time from what the pods published: no ledger, no
 * folds, months counted on the calendar one by one. Of the ledger it believes when a plan was changed, and the marks.
 */
export function dueByOracle(world: World, ledger: Ledger, id: string): bigint {
  const { catalogue } = world.setup;
  const dimension = catalogue.dimensions.find((entry) => entry.id === id);
  const divisor = BigInt(dimension?.divisor ?? "1");
  const used = planUse(world, ledger);
  const periods = new Set([...used.keys(), ...world.periodsLost]);
  let due = 0n;
  for (const plan of catalogue.plans) {
    const sold = plan.dimensions.find((entry) => entry.id === id);
    const ours = sold ? [...periods].filter((key) => key.startsWith(`${plan.id} ${id} `)) : [];
    for (const key of ours)
      due += sold?.fee ? BigInt(sold.fee.quantity) * divisor : between(used.get(key) ?? 0n, sold, divisor);
  }
  return due;
}

/**
 * The billing cycle of a ledger that was made anew begins anew (row 13): of a plan that the customer came to or left, a fee
 * may be due once more for each loss. In base units.
 */
export function movedFees(world: World, id: string): bigint {
  if (world.plansSeen.size === 1) return 0n;
  const { plans, dimensions } = world.setup.catalogue;
  const divisor = BigInt(dimensions.find((entry) => entry.id === id)?.divisor ?? "1");
  const fees = plans.flatMap((plan) => plan.dimensions.filter((entry) => entry.id === id).map(({ fee }) => fee));
  return fees.reduce((sum, fee) => sum + BigInt(fee?.quantity ?? "0") * divisor, 0n) * BigInt(world.losses);
}

/** The part of what was used that lies above what is included and below the next tier. */
function between(used: bigint, sold: PlanDimension | undefined, divisor: bigint): bigint {
  const included = BigInt(sold?.included?.quantity ?? "0") * divisor;
  const most = sold?.upTo === undefined ? used : BigInt(sold.upTo) * divisor;
  const sells = used > most ? most : used;
  return sells > included ? sells - included : 0n;
}

/** Whether an edge of a period was seen too late, or by a ledger too young, to tell what belongs on which side of it. */
export function isPeriodVague(world: World, id: string): boolean {
  const plans = world.setup.catalogue.plans.filter((plan) => world.plansSeen.has(plan.id));
  const sold = plans.flatMap((plan) => plan.dimensions.filter((entry) => entry.id === id));
  const isMoved = ["Restore", "DeleteLedger", "DeletePodUsage"].some((what) => world.happened.has(what));
  if (isMoved && world.plansSeen.size > 1 && sold.every((entry) => !entry.fee)) return true;
  if (sold.every((entry) => entry.included === undefined)) return false;
  const isSilent = world.pods.some((pod) => pod.longestCutMs > OPEN_MS);
  return isSilent || ["Late", "DeleteLedger", "DeletePodUsage", "PlanVague"].some((what) => world.happened.has(what));
}

/** Base units counted in the period of now. */
export function countedInPeriod(world: World, base: string, per: "Month" | "Year"): bigint {
  const edge = edgesOf(world.setup, per).findLast((start) => start <= world.apiNowMs() && start > world.bornMs);
  const total = countedAt(world, base, Infinity);
  return edge === undefined ? total : total - countedAt(world, base, edge);
}
