import type { Account, Attribution, Ledger, Reservation, Share } from "./api/usage-ledger.ts";
import { LEDGER_BOUNDS } from "./api/usage-ledger.ts";
import { livePods, type PodView, sumOf } from "./counted.ts";
import {
  acceptedOf,
  COUNT_MAX,
  expireTombstones,
  foldOldDays,
  isSendable,
  replaceAccount,
  reservedOf,
  type Slot,
} from "./ledger.ts";
import { countedOf, dueAt, openPeriod, periodOf, rollPeriods } from "./overage.ts";
import type { Catalogue, CatalogueDimension, Plan } from "./plan.ts";
import { maxOf, splitByWeight, subtractClamped } from "./shares.ts";
import { HOUR_MS, parseHourKey, shiftHour } from "./time.ts";

/** Everything that closing an hour depends on. */
export interface CloseInput {
  readonly hour: string;
  readonly pods: readonly PodView[];
  readonly catalogue: Catalogue;
  readonly catalogueDigest: string;
  /** The plan bought; nothing in plain mode or when the catalogue does not know it. */
  readonly plan: Plan | undefined;
  readonly planId: string;
  readonly mode: Ledger["mode"];
  readonly nowMs: number;
  /** `hour dimension` of slots whose UsageStatement is known to exist: their shares leave the ledger. */
  readonly stored: ReadonlySet<string>;
}

/** What opening accounts depends on. */
export type AccountInput = Pick<CloseInput, "hour" | "catalogue" | "plan">;

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
 * R3 and R8: closes the hour after `lastClosedHour`. Per account of the plan, what is due and neither accepted nor
 * reserved becomes one reservation of whole units in this hour's slot; the remainder stays. Returns the next ledger,
 * not yet sealed. Programmer's error if the hour is not the next one.
 */
export function closeHour(ledger: Ledger, input: CloseInput): Ledger {
  if (input.hour !== shiftHour(ledger.lastClosedHour, 1))
    throw new Error(
      `Cannot close hour as it must be the one after ${ledger.lastClosedHour}: current value is ${input.hour}`,
    );
  const opened = openAccounts(unpark(dropStoredShares(ledger, input.stored), input), input);
  const rolled = opened.accounts.reduce((state, account) => closeAccount(state, account, input), opened);
  return expireTombstones(
    {
      ...rolled,
      mode: input.mode,
      planId: input.planId,
      catalogueDigest: input.catalogueDigest,
      lastClosedHour: input.hour,
      accounts: rolled.accounts.map((account) => foldOldDays(account, input.hour)),
    },
    input.nowMs,
  );
}

/** Key of a slot in sets and maps. */
export function slotKey(slot: Slot): string {
  return `${slot.hour} ${slot.dimension}`;
}

/** Base units that are due and neither accepted nor reserved; negative when more was accepted than is due. */
export function billableOf(ledger: Ledger, account: Account, at: { pods: readonly PodView[]; hour: string }): bigint {
  return dueAt(account, { ledger, ...at }) - acceptedOf(account) - reservedOf(account);
}

function closeAccount(ledger: Ledger, account: Account, input: CloseInput): Ledger {
  const dimension = input.catalogue.dimensions.find((entry) => entry.id === account.dimension);
  if (!dimension || !input.plan) return ledger;
  const identity = { dimension: account.dimension, divisor: BigInt(dimension.divisor) };
  const period = periodOf(input.plan, identity, { hour: input.hour, anchorMs: Date.parse(ledger.anchor) });
  const rolled = rollPeriods(account, period, { ledger, pods: input.pods, hour: input.hour });
  const billable = billableOf(ledger, rolled, input);
  const owed = allocateFree(ledger, rolled, { ...input, billable });
  const reservation = reserve(rolled, dimension, { ...input, billable, ...owed });
  const kept = { ...rolled, divisor: dimension.divisor };
  const next = reservation
    ? { ...kept, lastSlot: input.hour, reservations: [...kept.reservations, reservation] }
    : kept;
  return {
    ...ledger,
    accounts: replaceAccount(ledger.accounts, next),
    attributions: bill(owed.attributions, account.dimension, reservation?.shares ?? []),
  };
}

function reserve(
  account: Account,
  dimension: CatalogueDimension,
  input: CloseInput & {
    readonly billable: bigint;
    readonly owed: ReadonlyMap<string, bigint>;
    readonly counted: ReadonlyMap<string, bigint>;
  },
): Reservation | undefined {
  if (!maySubmit(account, input)) return undefined;
  const divisor = BigInt(dimension.divisor);
  const quantity = [input.billable / divisor, QUANTITY_MAX, COUNT_MAX / divisor].reduce((a, b) => (a < b ? a : b));
  if (quantity <= 0n) return undefined;
  const parts = splitByWeight(quantity * divisor, sumOf(input.owed) > 0n ? input.owed : input.counted);
  const shares: Share[] = [...parts]
    .filter(([, part]) => part > 0n)
    .map(([agent, part]) => ({ agent, attributedHour: input.hour, baseUnits: part.toString() }));
  return {
    hour: input.hour,
    planId: input.planId,
    quantity: quantity.toString(),
    divisor: dimension.divisor,
    shares,
  };
}

function maySubmit(account: Account, input: CloseInput): boolean {
  return (
    input.mode === "Marketplace" &&
    input.plan?.dimensions.some((dimension) => dimension.id === account.dimension) === true &&
    account.parked === undefined &&
    (account.lastSlot === undefined || account.lastSlot < input.hour) &&
    account.reservations.length < LEDGER_BOUNDS.reservations &&
    isSendable(input.hour, input.nowMs)
  );
}

/** What the plan includes is used up by whoever counted it first; the rest is owed, and sums to what is billable or more. */
function allocateFree(
  ledger: Ledger,
  account: Account,
  input: CloseInput & { readonly billable: bigint },
): { readonly attributions: Attribution[]; readonly owed: Map<string, bigint>; readonly counted: Map<string, bigint> } {
  const counted = countedOf(account, { ledger, pods: input.pods, hour: input.hour });
  const mine = ledger.attributions.filter((entry) => entry.dimension === account.dimension);
  const covered = new Map(mine.map((entry) => [entry.agent, BigInt(entry.billed) + BigInt(entry.free)]));
  const fresh = subtractClamped(counted, covered);
  const freeNow = maxOf(0n, sumOf(fresh) - maxOf(0n, input.billable));
  const free = splitByWeight(freeNow, fresh);
  const others = ledger.attributions.filter((entry) => entry.dimension !== account.dimension);
  const known = new Map(mine.map((entry) => [entry.agent, entry]));
  for (const [agent, part] of free) {
    const entry = known.get(agent) ?? { agent, dimension: account.dimension, billed: "0", free: "0" };
    known.set(agent, { ...entry, free: (BigInt(entry.free) + part).toString() });
  }
  return { attributions: [...others, ...known.values()], owed: subtractClamped(fresh, free), counted };
}

function bill(attributions: readonly Attribution[], dimension: string, shares: readonly Share[]): Attribution[] {
  const next = new Map(attributions.map((entry) => [`${entry.agent} ${entry.dimension}`, entry]));
  for (const share of shares) {
    const key = `${share.agent} ${dimension}`;
    const entry = next.get(key) ?? { agent: share.agent, dimension, billed: "0", free: "0" };
    next.set(key, { ...entry, billed: (BigInt(entry.billed) + BigInt(share.baseUnits)).toString() });
  }
  return [...next.values()];
}

/**
 * An account for every dimension of the plan. The first accounts of a ledger open at zero, so that usage counted before
 * is billed late rather than lost; a dimension that is added later opens at what was counted when it came.
 */
export function openAccounts(ledger: Ledger, input: AccountInput): Ledger {
  const genesis = ledger.accounts.length === 0;
  const known = new Set(ledger.accounts.map((account) => account.dimension));
  const sold = (input.plan?.dimensions ?? []).filter((dimension) => !known.has(dimension.id));
  const added = sold.flatMap(({ id }) => {
    const dimension = input.catalogue.dimensions.find((entry) => entry.id === id);
    return dimension ? [openAccount(ledger, dimension, { ...input, genesis })] : [];
  });
  return added.reduce((next, account) => ({ ...next, accounts: replaceAccount(next.accounts, account) }), ledger);
}

function openAccount(
  ledger: Ledger,
  dimension: CatalogueDimension,
  input: AccountInput & { readonly genesis: boolean },
): Account {
  const account: Account = {
    dimension: dimension.id,
    from: dimension.from,
    divisor: dimension.divisor,
    dueClosed: "0",
    periods: [],
    segments: [],
    acceptedBefore: "0",
    acceptedDays: [],
    reservations: [],
    dropped: "0",
    backlog: "0",
    usualHour: "0",
  };
  if (!input.genesis) return account;
  const identity = { dimension: dimension.id, divisor: BigInt(dimension.divisor) };
  const period = periodOf(input.plan, identity, { hour: input.hour, anchorMs: Date.parse(ledger.anchor) });
  return openPeriod(account, period, { edge: shiftHour(input.hour, -1), opening: 0n });
}

/** A parked dimension gets its chance again when plan or catalogue are others than those it was parked under. */
function unpark(ledger: Ledger, input: CloseInput): Ledger {
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
