import {
  type Account,
  INSTALLATION,
  type Ledger,
  LEDGER_BOUNDS,
  type Period,
  type Segment,
} from "./api/usage-ledger.ts";
import { countedByAgent, livePods, type PodView, sumOf, totalAt } from "./counted.ts";
import type { Plan, PlanDimension } from "./plan.ts";
import { maxOf } from "./shares.ts";
import { HOUR_MS, hourKey, parseHourKey, type Per, periodAt, shiftHour } from "./time.ts";
import { BILLING_PERIOD } from "./usage.ts";

/**
 * What is due of what was counted (R3). An account's time is cut into segments, each under one period of one plan. A
 * period's use is the sum of its segments, so a plan that is left and bought again goes on where it was. All in base units.
 */

/**
 * Hours for which a segment's opening stays open to late reports. A sidecar keeps 26 boundaries: when hour edge + 25 is
 * closed, the ring still begins at the edge.
 */
const PERIOD_OPEN_HOURS = 25;

/** What a plan includes of a dimension that it does not charge for: more than a count can hold. */
const UNBILLED = 999_999_999_999_999_999n;

/** What a plan says of one dimension in the period that holds an hour. */
export interface PeriodTerms {
  readonly id: string;
  readonly included: bigint;
  readonly upTo?: bigint | undefined;
  readonly fee?: bigint | undefined;
  /** The last hour; absent: the period never ends. */
  readonly until?: string;
}

/** The books as they are read at the end of an hour. */
export interface AtHour {
  readonly ledger: Ledger;
  readonly pods: readonly PodView[];
  readonly hour: string;
}

/** The period that `hour` belongs to under a plan, and its terms. */
export function periodOf(
  plan: Plan | undefined,
  account: { readonly dimension: string; readonly divisor: bigint },
  at: { readonly hour: string; readonly anchorMs: number },
): PeriodTerms {
  const sold = plan?.dimensions.find((dimension) => dimension.id === account.dimension);
  if (!plan || !sold) return { id: `${plan?.id ?? ""}/unbilled`, included: UNBILLED };
  const period = spanOf(plan.id, sold.fee?.per ?? sold.included?.per, at);
  if (plan.billing !== "Custom") return { ...period, included: UNBILLED };
  return { ...period, ...termsOf(sold, account.divisor) };
}

/**
 * Opens a segment when the period of `hour` is another than that of the newest one: found by comparing ids at every
 * fold, not by noticing an event. Freezes openings that no late report can reach any more, and closes what lies before.
 */
export function rollPeriods(account: Account, period: PeriodTerms, at: AtHour): Account {
  const edge = shiftHour(at.hour, -1);
  const newest = account.segments.at(-1);
  const isOpen = newest !== undefined && (newest.period === period.id || newest.edge >= edge);
  const opening = settledTotal(at.ledger, account.from);
  const opened = isOpen
    ? account
    : addSegment(account, period, { edge, opening, frozen: isFee(account) ? "Yes" : "No" });
  const isRipe = (entry: Segment): boolean => shiftHour(entry.edge, PERIOD_OPEN_HOURS) <= at.hour;
  return closeFrozen(freezeOpenings(opened, isRipe, at), at.hour);
}

/**
 * A plan change, first half, in the write that takes the marks: opens the periods of the old plan up to `hour`, the hour
 * in which the new plan was first seen, and freezes every opening at what is known now. A late report would otherwise
 * move usage into a period before the mark and be charged under the new plan as well.
 */
export function markPeriods(account: Account, plan: Plan | undefined, at: AtHour): Account {
  const identity = { dimension: account.dimension, divisor: BigInt(account.divisor) };
  const anchorMs = Date.parse(at.ledger.anchor);
  let marked = account;
  for (let hour = shiftHour(at.ledger.lastClosedHour, 1); hour <= at.hour; hour = shiftHour(hour, 1))
    marked = rollPeriods(marked, periodOf(plan, identity, { hour, anchorMs }), { ...at, hour });
  return freezeOpenings(marked, () => true, at);
}

/**
 * A plan change, second half, once the hour of the marks is closed under the old plan: opens the new plan's period after
 * that hour (`edge`) at the sum of the marks. What was counted before and is reported later belongs to the new plan. Also
 * opens an account at an absolute count.
 */
export function openPeriod(
  account: Account,
  period: PeriodTerms,
  at: { readonly edge: string; readonly opening: bigint },
): Account {
  const floor = BigInt(account.segments.at(-1)?.opening ?? "0");
  const opened = addSegment(account, period, { ...at, opening: maxOf(at.opening, floor), frozen: "Yes" });
  return closeFrozen(opened, shiftHour(at.edge, 1));
}

/**
 * Base units due at the end of `hour`: over all periods, what was used beyond what was included, up to the next tier, or
 * the fee (I10). Without a period (nothing was ever closed) nothing is due.
 */
export function dueAt(account: Account, at: AtHour): bigint {
  return dueOfUsed(account, usedByPeriod(account, at));
}

/**
 * Base units that became due before `hour`, as far as is known now; the rest of dueAt is the hour's own. What a segment
 * that opens with the hour counts is the hour's own whenever it was used, and so is a fee, which is due whole.
 */
export function dueBefore(account: Account, at: AtHour): bigint {
  if (isFee(account)) return 0n;
  const before = { ...at, hour: shiftHour(at.hour, -1) };
  const opensHere = account.segments.at(-1)?.edge === before.hour;
  const opening = openingsOf(account, livePods(at.ledger, at.pods)).at(-1) ?? 0n;
  return dueOfUsed(account, usedOfCounted(account, before, opensHere ? opening : countedAt(account, before)));
}

/** Base units used in each period that the account remembers, at the end of `hour`. */
export function usedByPeriod(account: Account, at: AtHour): Map<string, bigint> {
  return usedOfCounted(account, at, countedAt(account, at));
}

function countedAt(account: Account, at: AtHour): bigint {
  return sumOf(countedByAgent(at.ledger, at.pods, { dimension: account.from, hour: at.hour }));
}

function usedOfCounted(account: Account, at: AtHour, counted: bigint): Map<string, bigint> {
  const used = new Map(account.periods.map((period) => [period.id, BigInt(period.used)]));
  const openings = openingsOf(account, livePods(at.ledger, at.pods));
  // A plan change opens segments up to its hour at once; those after `hour` have not begun.
  const begun = account.segments.filter((segment, index) => index === 0 || segment.edge < at.hour);
  begun.forEach((segment, index) => {
    const end = index + 1 < begun.length ? (openings[index + 1] ?? counted) : counted;
    used.set(segment.period, (used.get(segment.period) ?? 0n) + maxOf(0n, end - (openings[index] ?? 0n)));
  });
  return used;
}

function dueOfUsed(account: Account, used: ReadonlyMap<string, bigint>): bigint {
  return account.periods.reduce(
    (due, period) => due + dueOf(period, used.get(period.id) ?? 0n),
    BigInt(account.dueClosed),
  );
}

/** Who owns what was counted at the end of `hour`: agents their use, the installation its fees. */
export function countedOf(account: Account, at: AtHour): Map<string, bigint> {
  if (isFee(account)) return new Map([[INSTALLATION, dueAt(account, at)]]);
  return countedByAgent(at.ledger, at.pods, { dimension: account.from, hour: at.hour });
}

/**
 * A settled pod's total at each open edge moves into that segment's opening, where its live total was. If the pod wrote
 * again after it had been settled with `before`, only what the edge has beyond that moves: an edge below `before` was
 * known then, and one opened since began with all that was settled.
 */
export function settleOpenings(account: Account, pod: PodView, before: bigint): Account {
  const movedTo = (edge: string): bigint => maxOf(0n, totalAt(pod, account.from, edge) - before);
  return {
    ...account,
    segments: account.segments.map((segment) =>
      segment.frozen === "Yes"
        ? segment
        : { ...segment, opening: (BigInt(segment.opening) + movedTo(segment.edge)).toString() },
    ),
  };
}

export function isFee(account: Account): boolean {
  return account.from === BILLING_PERIOD;
}

function termsOf(sold: PlanDimension, divisor: bigint): Pick<PeriodTerms, "included" | "upTo" | "fee"> {
  const toBase = (units: string | undefined): bigint | undefined =>
    units === undefined ? undefined : BigInt(units) * divisor;
  return { included: toBase(sold.included?.quantity) ?? 0n, upTo: toBase(sold.upTo), fee: toBase(sold.fee?.quantity) };
}

function spanOf(
  planId: string,
  per: Per | undefined,
  at: { readonly hour: string; readonly anchorMs: number },
): { readonly id: string; readonly until?: string } {
  if (per === undefined) return { id: `${planId}/always` };
  const { startMs, endMs } = periodAt(at.anchorMs, per, parseHourKey(at.hour));
  return { id: `${planId}/${per}/${hourKey(startMs)}`, until: hourKey(endMs - HOUR_MS) };
}

function addSegment(
  account: Account,
  terms: PeriodTerms,
  segment: { readonly edge: string; readonly opening: bigint; readonly frozen: "Yes" | "No" },
): Account {
  const known = account.periods.some((period) => period.id === terms.id);
  const period: Period = {
    id: terms.id,
    included: terms.included.toString(),
    ...(terms.upTo === undefined ? {} : { upTo: terms.upTo.toString() }),
    ...(terms.fee === undefined ? {} : { fee: terms.fee.toString() }),
    ...(terms.until === undefined ? {} : { until: terms.until }),
    used: "0",
  };
  return {
    ...account,
    periods: known ? account.periods : [...account.periods, period],
    segments: [...account.segments, { period: terms.id, ...segment, opening: segment.opening.toString() }],
  };
}

/**
 * Counted at the edge of each segment. Never falling: if a PodUsage was deleted by hand and came back, its totals must
 * not be due a second time in the segment after.
 */
function openingsOf(account: Account, live: readonly PodView[]): bigint[] {
  let floor = 0n;
  return account.segments.map((segment) => {
    floor = maxOf(floor, openingOf(segment, account.from, live));
    return floor;
  });
}

/**
 * While late reports may come the live pods say what they had at the edge. After an outage of ours a pod may have
 * forgotten it, and its oldest boundary would move use of this segment into the one before: what was known then stands.
 */
function openingOf(segment: Segment, from: string, live: readonly PodView[]): bigint {
  const settled = BigInt(segment.opening);
  if (segment.frozen === "Yes") return settled;
  const forgot = live.some(
    (pod) => (pod.boundaries[0]?.hour ?? "") > segment.edge && totalAt(pod, from, segment.edge) > 0n,
  );
  if (forgot && segment.seen !== undefined) return maxOf(settled, BigInt(segment.seen));
  return live.reduce((sum, pod) => sum + totalAt(pod, from, segment.edge), settled);
}

/** Freezes the openings that are ripe, and notes of the others what is known. */
function freezeOpenings(
  account: Account,
  isRipe: (segment: Segment) => boolean,
  at: Pick<AtHour, "ledger" | "pods">,
): Account {
  const openings = openingsOf(account, livePods(at.ledger, at.pods));
  const segments = account.segments.map((segment, index): Segment => {
    if (segment.frozen === "Yes") return segment;
    const { period, edge } = segment;
    const opening = (openings[index] ?? 0n).toString();
    return isRipe(segment) ? { period, edge, opening, frozen: "Yes" } : { ...segment, seen: opening };
  });
  return { ...account, segments };
}

/** Moves the use of segments that are over, between two frozen openings, into their periods, and what is due of periods that are over. */
function closeFrozen(account: Account, hour: string): Account {
  const [first, second, ...rest] = account.segments;
  if (first?.frozen !== "Yes" || second?.frozen !== "Yes" || second.edge >= hour) return closeOver(account, hour);
  const used = maxOf(0n, BigInt(second.opening) - BigInt(first.opening));
  const periods = account.periods.map((period) =>
    period.id === first.period ? { ...period, used: (BigInt(period.used) + used).toString() } : period,
  );
  return closeFrozen({ ...account, periods, segments: [second, ...rest] }, hour);
}

/**
 * A period without an open segment is remembered until it is over: the plan may come back within it, and what it includes
 * must not. Beyond the bound, more plans than a catalogue holds, the oldest are let go.
 */
function closeOver(account: Account, hour: string): Account {
  const open = new Set(account.segments.map((segment) => segment.period));
  const waiting = account.periods.filter((period) => !open.has(period.id));
  const isOver = (period: Period): boolean => period.until === undefined || period.until < hour;
  const excess = account.periods.length - LEDGER_BOUNDS.periods;
  const closed = waiting.filter((period, index) => isOver(period) || index < excess);
  const due = closed.reduce((sum, period) => sum + dueOf(period, BigInt(period.used)), BigInt(account.dueClosed));
  return {
    ...account,
    dueClosed: due.toString(),
    periods: account.periods.filter((period) => !closed.includes(period)),
  };
}

/** I10: used beyond what is included, less what the next tier sells. */
function dueOf(period: Period, used: bigint): bigint {
  if (period.fee !== undefined) return BigInt(period.fee);
  const included = BigInt(period.included);
  const cap = period.upTo === undefined ? used : BigInt(period.upTo);
  return maxOf(0n, (used < cap ? used : cap) - included);
}

function settledTotal(ledger: Ledger, dimension: string): bigint {
  return ledger.settled.reduce((sum, entry) => (entry.dimension === dimension ? sum + BigInt(entry.total) : sum), 0n);
}
