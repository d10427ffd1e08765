import type { Account, Ledger, Period } from "./api/usage-ledger.ts";
import { countedByAgent, livePods, type PodView, sumOf, totalAt } from "./counted.ts";
import type { Plan } from "./plan.ts";
import { maxOf } from "./shares.ts";
import { addMonths, hourKey, monthsBetween, parseHourKey, shiftHour } from "./time.ts";

/**
 * Hours for which a period's opening stays open to late reports. A sidecar keeps 26 boundaries: when hour edge + 25 is
 * closed, the ring still begins at the edge.
 */
const PERIOD_OPEN_HOURS = 25;

/** What a plan includes of a dimension that it does not charge for: more than a count can hold. */
const UNBILLED = 999_999_999_999_999_999n;

/** Start of the period that holds an instant: always the original anchor + k steps, so 31 Jan → 28 Feb → 31 Mar. */
export function periodStart(anchorMs: number, per: "Month" | "Year", instantMs: number): number {
  const step = per === "Month" ? 1 : 12;
  const k = Math.floor(monthsBetween(anchorMs, instantMs) / step);
  const start = addMonths(anchorMs, k * step);
  return start <= instantMs ? start : addMonths(anchorMs, (k - 1) * step);
}

/** The period that `hour` belongs to under a plan, and what it includes in base units. */
export function periodOf(
  plan: Plan | undefined,
  account: { readonly dimension: string; readonly divisor: bigint },
  at: { readonly hour: string; readonly anchorMs: number },
): { readonly id: string; readonly included: bigint } {
  const sold = plan?.dimensions.find((dimension) => dimension.id === account.dimension);
  const planId = plan?.id ?? "";
  if (!sold || plan?.billing !== "Custom") return { id: `${planId}/unbilled`, included: UNBILLED };
  const included = sold.included;
  if (!included) return { id: `${planId}/always`, included: 0n };
  const start = periodStart(at.anchorMs, included.per, parseHourKey(at.hour));
  return {
    id: `${planId}/${included.per}/${hourKey(start)}`,
    included: BigInt(included.quantity) * account.divisor,
  };
}

/**
 * Opens the period of `hour` when its id is new: found by comparing ids at every fold, not by noticing an event. Freezes
 * openings that no late report can reach any more, and closes the periods before them.
 */
export function rollPeriods(
  account: Account,
  period: { readonly id: string; readonly included: bigint },
  at: { readonly ledger: Ledger; readonly pods: readonly PodView[]; readonly hour: string },
): Account {
  const edge = shiftHour(at.hour, -1);
  const opened = isNewest(account, period.id)
    ? account.periods
    : [
        ...account.periods,
        {
          id: period.id,
          included: period.included.toString(),
          edge,
          opening: settledTotal(at.ledger, account.from).toString(),
          frozen: "No" as const,
        },
      ];
  const live = livePods(at.ledger, at.pods);
  const periods = opened.map((entry) =>
    entry.frozen === "No" && shiftHour(entry.edge, PERIOD_OPEN_HOURS) <= at.hour
      ? { ...entry, opening: openingOf(entry, account.from, live).toString(), frozen: "Yes" as const }
      : entry,
  );
  return closeFrozen({ ...account, periods });
}

/**
 * Base units due at the end of `hour`: over all periods, what was used beyond what was included. Without a period
 * (nothing was ever closed) nothing is due.
 */
export function dueAt(
  account: Account,
  at: { readonly ledger: Ledger; readonly pods: readonly PodView[]; readonly hour: string },
): bigint {
  const live = livePods(at.ledger, at.pods);
  const counted = sumOf(countedByAgent(at.ledger, at.pods, { dimension: account.from, hour: at.hour }));
  const openings = account.periods.map((period) => openingOf(period, account.from, live));
  return account.periods.reduce((due, period, index) => {
    const end = openings[index + 1] ?? counted;
    return due + overageOf(end - (openings[index] ?? 0n), BigInt(period.included));
  }, BigInt(account.dueClosed));
}

/** A settled pod's total at each open edge moves into that period's opening, where its live total was. */
export function settleOpenings(account: Account, pod: PodView): Account {
  return {
    ...account,
    periods: account.periods.map((period) =>
      period.frozen === "Yes"
        ? period
        : { ...period, opening: (BigInt(period.opening) + totalAt(pod, account.from, period.edge)).toString() },
    ),
  };
}

function isNewest(account: Account, id: string): boolean {
  return account.periods.at(-1)?.id === id;
}

function openingOf(period: Period, from: string, live: readonly PodView[]): bigint {
  if (period.frozen === "Yes") return BigInt(period.opening);
  return live.reduce((sum, pod) => sum + totalAt(pod, from, period.edge), BigInt(period.opening));
}

function closeFrozen(account: Account): Account {
  const [first, second, ...rest] = account.periods;
  if (!first || second?.frozen !== "Yes") return account;
  const due = overageOf(BigInt(second.opening) - BigInt(first.opening), BigInt(first.included));
  return closeFrozen({
    ...account,
    dueClosed: (BigInt(account.dueClosed) + due).toString(),
    periods: [second, ...rest],
  });
}

function overageOf(used: bigint, included: bigint): bigint {
  return maxOf(0n, used - included);
}

function settledTotal(ledger: Ledger, dimension: string): bigint {
  return ledger.settled.reduce((sum, entry) => (entry.dimension === dimension ? sum + BigInt(entry.total) : sum), 0n);
}
