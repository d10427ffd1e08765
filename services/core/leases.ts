import type { Ledger, NearLimit } from "./api/usage-ledger.ts";
import { livePods, type PodView, totalAt } from "./counted.ts";
import { COUNT_MAX } from "./ledger.ts";
import { periodOf, usedByPeriod } from "./overage.ts";
import type { Catalogue, CatalogueDimension, Plan, PlanDimension } from "./plan.ts";
import { maxOf } from "./shares.ts";
import { hourKey, parseHourKey, periodAt, shiftHour } from "./time.ts";

/**
 * Caps through leases (docs/metering.md). A lease is a ceiling on a pod's cumulative total, not an amount, so reading it
 * late or twice is harmless, and so is a total that we know late: as it rises, the unspent part falls by the same.
 *
 * The law, at every step: used + Σ unspent ≤ hard, where unspent is what a pod may still count before its highest
 * possible ceiling. Raises come out of what is left of it. A pod's ceiling is lowered only when the pod has acknowledged
 * the one that stands, and what that frees is given away only when the pod has acknowledged the lower one.
 */
export interface Limit {
  /** The base dimension. */
  readonly dimension: string;
  /** The Marketplace dimension that sets it. */
  readonly soldAs: string;
  /** Base units that a period never exceeds. */
  readonly hard: bigint;
  /** Base units counted in the current period. */
  readonly used: bigint;
}

/** One pod as the pool of one limit sees it, in base units. */
export interface Holder {
  readonly uid: string;
  readonly total: bigint;
  /** The ceiling that we wrote; nothing: it has no lease yet. */
  readonly upTo: bigint | undefined;
  /** The ceiling that is in force in the pod, as it says: no call in flight can end above it; nothing: it has not said. */
  readonly ack: bigint | undefined;
  /** The total that the pod needs for what it does now. */
  readonly want: bigint;
}

/**
 * New ceilings by pod UID, for pods whose ceiling should change. Any part of them may be written, in any order: raises
 * share what nobody may spend, and lowering frees nothing before it is acknowledged. Half of what remains is kept back,
 * so that a busy pod gets more without taking from the idle ones.
 */
export function planLeases(limit: Limit, holders: readonly Holder[]): Map<string, bigint> {
  const targets = shareOut(maxOf(0n, limit.hard - limit.used), holders);
  const pool = limit.hard - limit.used - holders.reduce((sum, holder) => sum + unspentOf(holder), 0n);
  const raised = raise(holders, { targets, pool });
  return raised.isShort ? new Map([...raised.next, ...lower(holders, targets)]) : raised.next;
}

type Targets = ReadonlyMap<string, bigint>;

function raise(
  holders: readonly Holder[],
  from: { readonly targets: Targets; readonly pool: bigint },
): { readonly next: Map<string, bigint>; readonly isShort: boolean } {
  const next = new Map<string, bigint>();
  let pool = from.pool;
  let isShort = pool < 0n;
  for (const holder of byNeed(holders)) {
    const missing = missingOf(holder, from.targets.get(holder.uid) ?? 0n);
    const granted = missing < pool ? missing : maxOf(0n, pool);
    isShort ||= granted < missing;
    pool -= granted;
    if (granted > 0n || holder.upTo === undefined)
      next.set(holder.uid, clamp(maxOf(ceilingOf(holder), holder.total) + granted));
  }
  return { next, isShort };
}

function lower(holders: readonly Holder[], targets: Targets): Map<string, bigint> {
  const next = new Map<string, bigint>();
  for (const holder of holders) {
    const ceiling = maxOf(holder.total + (targets.get(holder.uid) ?? 0n), holder.want);
    if (mayLower(holder) && ceiling < ceilingOf(holder)) next.set(holder.uid, ceiling);
  }
  return next;
}

/** The highest total that a pod may reach: what we wrote, or the higher one that it has not yet let go. */
export function ceilingOf(holder: Pick<Holder, "upTo" | "ack">): bigint {
  return maxOf(holder.upTo ?? 0n, holder.ack ?? 0n);
}

/** What a pod may still count. */
export function unspentOf(holder: Holder): bigint {
  return maxOf(0n, ceilingOf(holder) - holder.total);
}

/** A raise always goes beyond whatever the pod may still hold: its ack cannot be taken for that of an older ceiling. */
function missingOf(holder: Holder, target: bigint): bigint {
  const unspent = unspentOf(holder);
  const isLow = unspent * 2n < target || (unspent < needOf(holder) && unspent < target);
  return isLow ? target - unspent : 0n;
}

function mayLower(holder: Holder): boolean {
  return holder.upTo !== undefined && holder.ack === holder.upTo;
}

/** What calls now need comes first, small needs before large ones; half of the rest is shared evenly. */
function shareOut(remaining: bigint, holders: readonly Holder[]): Map<string, bigint> {
  const targets = new Map<string, bigint>();
  let left = remaining;
  const order = byNeed(holders);
  for (const holder of order) {
    const need = needOf(holder);
    const part = need <= left ? need : 0n;
    targets.set(holder.uid, part);
    left -= part;
  }
  const count = BigInt(Math.max(1, order.length));
  const half = (left + 1n) / 2n;
  order.forEach(({ uid }, index) => {
    const even = half / count + (BigInt(index) < half % count ? 1n : 0n);
    targets.set(uid, (targets.get(uid) ?? 0n) + even);
  });
  return targets;
}

function needOf(holder: Holder): bigint {
  return maxOf(0n, holder.want - holder.total);
}

function byNeed(holders: readonly Holder[]): Holder[] {
  const rank = (holder: Holder): bigint => (needOf(holder) === 0n ? COUNT_MAX : needOf(holder));
  return holders.toSorted((a, b) => (rank(a) === rank(b) ? (a.uid < b.uid ? -1 : 1) : rank(a) < rank(b) ? -1 : 1));
}

function clamp(ceiling: bigint): bigint {
  return ceiling > COUNT_MAX ? COUNT_MAX : ceiling;
}

/** What hard limits depend on. */
export interface LimitInput {
  readonly ledger: Ledger;
  readonly pods: readonly PodView[];
  readonly plan: Plan | undefined;
  readonly catalogue: Catalogue;
  /** The hour of now. */
  readonly hour: string;
}

/** Base dimensions that a plan limits. A pod without a lease of one of them may not count it. */
export function limitedDimensions(plan: Plan | undefined, catalogue: Catalogue): string[] {
  const limited = (plan?.dimensions ?? []).filter(({ hard }) => hard !== undefined).map(({ id }) => id);
  return [...new Set(catalogue.dimensions.filter(({ id }) => limited.includes(id)).map(({ from }) => from))];
}

/** The plan's limits with what is used of them now. Where several dimensions share a base dimension the tightest rules. */
export function limitsNow(input: LimitInput): Limit[] {
  const limits = new Map<string, Limit>();
  for (const sold of input.plan?.dimensions ?? []) {
    const dimension = input.catalogue.dimensions.find(({ id }) => id === sold.id);
    if (sold.hard === undefined || !dimension) continue;
    const limit = {
      dimension: dimension.from,
      soldAs: sold.id,
      hard: BigInt(sold.hard) * BigInt(dimension.divisor),
      used: usedNow(sold, dimension, input),
    };
    const other = limits.get(limit.dimension);
    if (!other || limit.hard - limit.used < other.hard - other.used) limits.set(limit.dimension, limit);
  }
  return [...limits.values()];
}

/** Limits that are used up to their soft limit, or beyond: people are warned, nothing is refused. */
export function nearLimits(plan: Plan | undefined, limits: readonly Limit[]): NearLimit[] {
  return limits.flatMap(({ soldAs, hard, used }) => {
    const softPercent = plan?.dimensions.find(({ id }) => id === soldAs)?.softPercent;
    const isNear = softPercent !== undefined && used * 100n >= hard * BigInt(softPercent);
    return isNear ? [{ dimension: soldAs, softPercent }] : [];
  });
}

/** Base units counted in the period of now, under the plan of now. */
function usedNow(sold: PlanDimension, dimension: CatalogueDimension, input: LimitInput): bigint {
  const { ledger, pods, hour } = input;
  const at = { hour, anchorMs: Date.parse(ledger.anchor) };
  const identity = { dimension: sold.id, divisor: BigInt(dimension.divisor) };
  const period = periodOf(input.plan, identity, at).id;
  const account = ledger.accounts.find((entry) => entry.dimension === sold.id);
  const used = account ? usedByPeriod(account, { ledger, pods, hour: LATEST }).get(period) : undefined;
  if (account?.segments.at(-1)?.period === period) return used ?? 0n;
  const { startMs } = periodAt(at.anchorMs, sold.included?.per ?? "Month", parseHourKey(hour));
  return (used ?? 0n) + usedSince(shiftHour(hourKey(startMs), -1), dimension.from, input);
}

/**
 * Before the first hour of a period is closed its segment is not opened. Living pods tell what they had at the edge, and
 * what is settled belongs to the period before: a pod is settled only after the hour of its end is closed. After a change
 * of plan this counts more than the new plan's part, for an hour at most; a cap may err on that side.
 */
function usedSince(edge: string, from: string, { ledger, pods }: LimitInput): bigint {
  return livePods(ledger, pods).reduce((sum, pod) => sum + totalAt(pod, from, LATEST) - totalAt(pod, from, edge), 0n);
}

/** Beyond any boundary: totals as they are now. */
const LATEST = "9999123123";
