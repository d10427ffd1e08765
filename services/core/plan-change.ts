import type { Ledger, PlanChange } from "./api/usage-ledger.ts";
import { openAccounts } from "./accounts.ts";
import { countedByAgent, marksOf, type PodView, sumOf } from "./counted.ts";
import { replaceAccount } from "./ledger.ts";
import { markPeriods, openPeriod, periodOf } from "./overage.ts";
import { type Catalogue, findPlan, type Plan } from "./plan.ts";
import { hourKey, shiftHour } from "./time.ts";

/** No hour of the calendar: counted up to it means counted until now. */
const NEWEST = "9999123123";

/** By which plan an hour is billed, and whether that plan is billed by our events at all. */
export interface HourTerms {
  readonly planId: string;
  /** Absent: the catalogue does not know it, or it is not in force yet. Such an hour is counted, not posted. */
  readonly plan: Plan | undefined;
  readonly mode: Ledger["mode"];
}

/**
 * The plan of an hour: up to the hour of a change the plan before. After it nothing is billed until the new plan has
 * been entered, which takes a plan that the catalogue knows.
 */
export function termsOfHour(ledger: Ledger, hour: string, catalogue: Catalogue): HourTerms {
  const change = ledger.planChange;
  const planId = change && hour <= change.hour ? change.fromPlanId : ledger.planId;
  const isWaiting = change !== undefined && hour > change.hour;
  const plan = isWaiting ? undefined : findPlan(catalogue, planId);
  if (ledger.mode === "Plain") return { planId, plan: undefined, mode: "Plain" };
  return { planId, plan, mode: plan?.billing === "Custom" ? "Marketplace" : "Silent" };
}

/**
 * Another plan is seen: one write notes what was counted up to now, by agent and base dimension. The old plan bills the
 * marks and no more, whatever is reported late; what is beyond them is the new plan's. A second change before the hour is
 * closed leaves the first marks standing. `pods` must have been listed after the ledger was read.
 */
export function markPlanChange(
  ledger: Ledger,
  change: {
    readonly planId: string;
    readonly pods: readonly PodView[];
    readonly catalogue: Catalogue;
    readonly nowMs: number;
  },
): Ledger {
  if (change.planId === ledger.planId) return ledger;
  if (ledger.planChange) return { ...ledger, planId: change.planId };
  const [now, next] = [hourKey(change.nowMs), shiftHour(ledger.lastClosedHour, 1)];
  const at = { ledger, pods: change.pods, hour: now > next ? now : next };
  const plan = findPlan(change.catalogue, ledger.planId);
  return {
    ...ledger,
    planId: change.planId,
    planChange: { fromPlanId: ledger.planId, hour: at.hour, marks: takeMarks(ledger, change.pods) },
    accounts: ledger.accounts.map((account) => markPeriods(account, plan, at)),
  };
}

/**
 * The hour of a change is closed: every account goes over to the new plan, whose periods open at the marks. A dimension
 * that is new is billed from the marks on; one that is gone is counted on and never due. Waits for a plan that the
 * catalogue knows: what is used meanwhile is due late, under the plan that was bought.
 */
export function enterPlan(ledger: Ledger, input: { readonly hour: string; readonly catalogue: Catalogue }): Ledger {
  const { planChange: change, ...rest } = ledger;
  const plan = findPlan(input.catalogue, ledger.planId);
  if (!change || !plan || input.hour < change.hour) return ledger;
  const at = { hour: shiftHour(input.hour, 1), anchorMs: Date.parse(ledger.anchor) };
  const blank = openAccounts(rest, { catalogue: input.catalogue, plan });
  return blank.accounts.reduce((state, account) => {
    const terms = periodOf(plan, { dimension: account.dimension, divisor: BigInt(account.divisor) }, at);
    const opening = sumOf(marksOf(change, account.from));
    const opened = openPeriod(account, terms, { edge: input.hour, opening });
    return { ...state, accounts: replaceAccount(state.accounts, opened) };
  }, blank);
}

function takeMarks(ledger: Ledger, pods: readonly PodView[]): PlanChange["marks"] {
  const dimensions = new Set([
    ...ledger.settled.map((entry) => entry.dimension),
    ...pods.flatMap((pod) => [...pod.totals.keys()]),
  ]);
  return [...dimensions].toSorted().flatMap((dimension) => {
    const counted = countedByAgent(ledger, pods, { dimension, hour: NEWEST });
    return [...counted]
      .filter(([, total]) => total > 0n)
      .map(([agent, total]) => ({ agent, dimension, total: total.toString() }));
  });
}
