import type { Account, Ledger, Reservation } from "./api/usage-ledger.ts";
import { INSTALLATION, LEDGER_BOUNDS } from "./api/usage-ledger.ts";
import { openAccounts } from "./accounts.ts";
import { addParts, coveredBy, nameTeams, type Parts, teamsOf, toShares } from "./attributions.ts";
import { livePods, type PodView, sumOf } from "./counted.ts";
import { type LateUsage, fadeUsualHour, postableOf } from "./late-usage.ts";
import { claimedOf, COUNT_MAX, dropUnits, foldOldDays, isSendable, replaceAccount, type Slot } from "./ledger.ts";
import { countedOf, dueAt, dueBefore, isFee, periodOf, rollPeriods } from "./overage.ts";
import type { Catalogue } from "./plan.ts";
import { enterPlan, type HourTerms, termsOfHour } from "./plan-change.ts";
import { expireTombstones } from "./settle.ts";
import { maxOf, minOf, splitByWeight, subtractClamped } from "./shares.ts";
import { HOUR_MS, parseHourKey, shiftHour } from "./time.ts";

/** Everything that closing an hour depends on. The plan is the ledger's, by its id in the catalogue. */
export interface CloseInput {
  readonly hour: string;
  readonly pods: readonly PodView[];
  readonly catalogue: Catalogue;
  readonly catalogueDigest: string;
  readonly lateUsage: LateUsage;
  readonly nowMs: number;
  /** `hour dimension` of slots whose UsageStatement is known to exist: their shares leave the ledger. */
  readonly stored: ReadonlySet<string>;
}

/** An hour under its plan. */
type Closing = CloseInput & HourTerms & { readonly teams: ReadonlyMap<string, string> };

/** Whole units per intent: a JSON double holds no more. */
const QUANTITY_MAX = 9_007_199_254_740_991n;

/**
 * Whether every live pod has said what it had counted at the end of `hour`, or `graceMs` are over since `endMs`, the
 * moment from which pods could know that the hour was over (R8).
 */
export function canClose(
  hour: string,
  pods: readonly PodView[],
  at: { readonly nowMs: number; readonly endMs: number; readonly graceMs: number },
): boolean {
  const hourEndMs = parseHourKey(hour) + HOUR_MS;
  if (at.nowMs < hourEndMs) return false;
  if (at.nowMs >= at.endMs + at.graceMs) return true;
  return pods.every((pod) => pod.final || hasBoundary(pod, hour) || pod.createdMs >= hourEndMs);
}

/**
 * R3 and R8: closes the hour after `lastClosedHour` under its plan. Per account of the plan, what is due and not yet
 * claimed becomes one reservation of whole units in this hour's slot; the remainder stays. In the hour of a plan change
 * the accounts go over to the new plan. Returns the next ledger, not yet sealed. Programmer's error if the hour is not
 * the next one.
 */
export function closeHour(ledger: Ledger, input: CloseInput): Ledger {
  if (input.hour !== shiftHour(ledger.lastClosedHour, 1))
    throw new Error(
      `Cannot close hour as it must be the one after ${ledger.lastClosedHour}: current value is ${input.hour}`,
    );
  const teams = teamsOf(ledger.attributions, input.pods);
  const closing = { ...input, ...termsOfHour(ledger, input.hour, input.catalogue), teams };
  const opened = openAccounts(unpark(dropStoredShares(ledger, input.stored), closing), closing);
  const named = { ...opened, attributions: nameTeams(opened.attributions, teams) };
  const rolled = named.accounts.reduce((state, account) => closeAccount(state, account, closing), named);
  const closed = {
    ...rolled,
    catalogueDigest: input.catalogueDigest,
    lastClosedHour: input.hour,
    accounts: rolled.accounts.map((account) => foldOldDays(account, input.hour)),
  };
  return expireTombstones(enterPlan(closed, input), input.nowMs);
}

/** Key of a slot in sets and maps. */
export function slotKey(slot: Slot): string {
  return `${slot.hour} ${slot.dimension}`;
}

/** R3: one account of the hour. Counting goes on whatever is posted; without plan or dimension there is nothing to bill by. */
function closeAccount(ledger: Ledger, account: Account, closing: Closing): Ledger {
  const dimension = closing.catalogue.dimensions.find((entry) => entry.id === account.dimension);
  if (!dimension || !closing.plan) return ledger;
  const at = { ledger, pods: closing.pods, hour: closing.hour };
  const anchored = { hour: closing.hour, anchorMs: Date.parse(ledger.anchor) };
  const identity = { dimension: account.dimension, divisor: BigInt(dimension.divisor) };
  const rolled = rollPeriods(account, periodOf(closing.plan, identity, anchored), at);
  const due = dueAt(rolled, at);
  const own = maxOf(0n, due - dueBefore(rolled, at));
  const usual = maxOf(own, BigInt(rolled.usualHour));
  const weighed = { ...rolled, divisor: dimension.divisor, usualHour: fadeUsualHour(usual).toString() };
  const counted = countedOf(rolled, at);
  const billable = minOf(due - claimedOf(rolled), unclaimedOf(ledger, rolled, sumOf(counted)));
  const postable = postableOf({ billable, own, usual, divisor: identity.divisor, lateUsage: closing.lateUsage });
  const claim = claimOf(weighed, postable, closing);
  const { free, owners } = ownersOf(ledger, weighed, { counted, billable });
  const parts = splitByWeight(claim.baseUnits, owners);
  const freed = addParts(ledger.attributions, "free", { dimension: account.dimension, parts: free });
  const field = claim.kind === "Drop" ? "free" : "billed";
  const added = addParts(freed, field, { dimension: account.dimension, parts });
  const attributions = nameTeams(added, closing.teams);
  const left = { hour: closing.hour, baseUnits: billable - claim.baseUnits };
  const shares = toShares(parts, closing);
  const next = noteBacklog(takeClaim(weighed, claim, { ...closing, shares }), left);
  return { ...ledger, accounts: replaceAccount(ledger.accounts, next), attributions };
}

/**
 * What was counted of a base dimension and is claimed in none of those that sell it. Each plan sells it once (plan-rules.ts), so
 * this bounds nothing, unless a plan change was forgotten with a restored etcd: then what one plan was paid for is not due again
 * under another.
 */
function unclaimedOf(ledger: Ledger, account: Account, counted: bigint): bigint {
  const fromSame = ledger.accounts.filter(({ from }) => from === account.from);
  if (isFee(account) || fromSame.length === 1) return COUNT_MAX;
  return fromSame.reduce((left, each) => left - claimedOf(each), counted);
}

/** What is done with the hour's whole units: sent in its slot, written off, or left for later. */
interface Claim {
  readonly kind: "Reserve" | "Drop" | "Wait";
  readonly quantity: bigint;
  readonly baseUnits: bigint;
}

const WAIT: Claim = { kind: "Wait", quantity: 0n, baseUnits: 0n };

/** An hour that is closed too late to be sent waits in later slots, or is written off (R10). */
function claimOf(account: Account, postable: bigint, closing: Closing): Claim {
  const divisor = BigInt(account.divisor);
  const quantity = [postable / divisor, QUANTITY_MAX, COUNT_MAX / divisor].reduce(minOf);
  if (quantity <= 0n || !maySubmit(account, closing)) return WAIT;
  const claim = { quantity, baseUnits: quantity * divisor };
  if (isSendable(closing.hour, closing.nowMs)) return { kind: "Reserve", ...claim };
  return closing.lateUsage === "Drop" ? { kind: "Drop", ...claim } : WAIT;
}

function maySubmit(account: Account, closing: Closing): boolean {
  return (
    closing.mode === "Marketplace" &&
    closing.plan?.dimensions.some((dimension) => dimension.id === account.dimension) === true &&
    account.parked === undefined &&
    (account.lastSlot === undefined || account.lastSlot < closing.hour) &&
    account.reservations.length < LEDGER_BOUNDS.reservations
  );
}

function takeClaim(account: Account, claim: Claim, closing: Closing & Pick<Reservation, "shares">): Account {
  if (claim.kind === "Wait") return account;
  if (claim.kind === "Drop") return dropUnits(account, claim.baseUnits);
  const reservation: Reservation = {
    hour: closing.hour,
    planId: closing.planId,
    quantity: claim.quantity.toString(),
    divisor: account.divisor,
    shares: closing.shares,
  };
  return { ...account, lastSlot: closing.hour, reservations: [...account.reservations, reservation] };
}

/** What is due and went into no slot, and since when; or by how much more was claimed than is due. */
function noteBacklog(account: Account, left: { readonly hour: string; readonly baseUnits: bigint }): Account {
  const { oldestUnpostedHour, overAccepted: _, ...rest } = account;
  const isOwed = left.baseUnits >= BigInt(account.divisor);
  return {
    ...rest,
    backlog: maxOf(0n, left.baseUnits).toString(),
    ...(isOwed ? { oldestUnpostedHour: oldestUnpostedHour ?? left.hour } : {}),
    ...(left.baseUnits < 0n ? { overAccepted: (-left.baseUnits).toString() } : {}),
  };
}

/**
 * What the plan includes is used up by whoever counted it first; the rest is owed, and sums to what is billable or more. Where
 * nobody owes what is due, as an agent's counts were deleted by hand, those who have counted own it, else those who were ever
 * billed, else the installation: a receipt adds up all the same.
 */
function ownersOf(
  ledger: Ledger,
  account: Account,
  { counted, billable }: { readonly counted: Parts; readonly billable: bigint },
): { readonly free: Parts; readonly owners: Parts } {
  const covered = coveredBy(ledger.attributions, account.dimension);
  const fresh = subtractClamped(counted, covered);
  const free = splitByWeight(maxOf(0n, sumOf(fresh) - maxOf(0n, billable)), fresh);
  const candidates = [subtractClamped(fresh, free), counted, covered];
  const nobody: Parts = new Map(billable > 0n ? [[INSTALLATION, 1n]] : []);
  const owners = candidates.find((parts) => sumOf(parts) > 0n) ?? nobody;
  return { free, owners };
}

/** A parked dimension gets its chance again when plan or catalogue are others than those it was parked under. */
function unpark(ledger: Ledger, input: Closing): Ledger {
  return {
    ...ledger,
    accounts: ledger.accounts.map((account) => {
      const { parked, ...rest } = account;
      const same = parked?.planId === input.planId && parked.catalogueDigest === input.catalogueDigest;
      return parked === undefined || same ? account : rest;
    }),
  };
}

function dropStoredShares(ledger: Ledger, stored: ReadonlySet<string>): Ledger {
  return {
    ...ledger,
    accounts: ledger.accounts.map((account) => ({
      ...account,
      reservations: account.reservations.map((entry) => {
        const { shares: _, ...rest } = entry;
        return stored.has(slotKey({ ...entry, dimension: account.dimension })) ? rest : entry;
      }),
    })),
  };
}

function hasBoundary(pod: PodView, hour: string): boolean {
  return pod.boundaries.some((boundary) => boundary.hour >= hour);
}

/** Pods that hold an hour open, for the log. */
export function awaitedPods(ledger: Ledger, pods: readonly PodView[], hour: string): string[] {
  const hourEndMs = parseHourKey(hour) + HOUR_MS;
  return livePods(ledger, pods)
    .filter((pod) => !pod.final && !hasBoundary(pod, hour) && pod.createdMs < hourEndMs)
    .map((pod) => pod.uid);
}
