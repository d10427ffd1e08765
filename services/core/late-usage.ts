import { maxOf, minOf } from "./shares.ts";

/** What becomes of usage that its own hour did not bring to Azure within 24 h. */
export type LateUsage = "Carry" | "Drop";

/** The busiest hour is forgotten within about a week, so that quiet nights do not hold up a backlog. */
const USUAL_HOURS = 168n;
/** A backlog without ordinary usage beside it still leaves within about a day. */
const DRAIN_HOURS = 24n;

/** Base units of an ordinary hour as the next hour sees it: the largest of late, slowly falling, rounded up. */
export function fadeUsualHour(usual: bigint): bigint {
  return usual - usual / USUAL_HOURS;
}

/**
 * R10: the base units that one slot may take. Carry: the hour's own usage and of the backlog at most one ordinary hour,
 * for Microsoft's anomaly detection flags a spike; at least a unit and a 24th of the backlog. Drop leaves no backlog
 * that is worth spreading.
 */
export function postableOf(input: {
  readonly billable: bigint;
  readonly own: bigint;
  readonly usual: bigint;
  readonly divisor: bigint;
  readonly lateUsage: LateUsage;
}): bigint {
  const backlog = maxOf(0n, input.billable - input.own);
  if (input.lateUsage === "Drop" || backlog === 0n) return input.billable;
  const share = (backlog + DRAIN_HOURS - 1n) / DRAIN_HOURS;
  const extra = maxOf(input.usual, maxOf(input.divisor, share));
  return input.own + minOf(backlog, extra);
}
