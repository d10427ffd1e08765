import type { Account, Ledger, Share } from "./api/usage-ledger.ts";
import type { Statement } from "./api/usage-statement.ts";
import { openAccounts } from "./accounts.ts";
import { addParts } from "./attributions.ts";
import type { LateUsage } from "./late-usage.ts";
import {
  addAccepted,
  baseUnitsOf,
  creditSlots,
  foldOldDays,
  isDead,
  LIST_LAG_MS,
  newLedger,
  type LedgerBirth,
  oldestDayKept,
  type OpenSlot,
  replaceAccount,
  resolveSlots,
  type Resolution,
  type Slot,
} from "./ledger.ts";
import type { Catalogue, Plan } from "./plan.ts";
import { maxOf, minOf } from "./shares.ts";
import { dayOf, hourKey, HOUR_MS, parseHourKey, shiftHour, toIso } from "./time.ts";

/** What Azure's list says of one UTC day: base units by Marketplace dimension, over all plans. */
export type AzureDays = ReadonlyMap<string, ReadonlyMap<string, bigint>>;

export interface Reconciliation {
  readonly ledger: Ledger;
  /** Dead slots that were given up. */
  readonly resolved: readonly Resolution[];
  /** Azure holds more than we knew: a rollback of ours, or a foreign writer. */
  readonly surplus: readonly { readonly day: string; readonly dimension: string; readonly baseUnits: bigint }[];
  /** Every day in question was compared or is beyond doubt; only then may new intents be made. */
  readonly complete: boolean;
}

export interface ReconcileInput {
  readonly azure: AzureDays;
  /** UTC days that the list covered. */
  readonly days: readonly string[];
  /** When Azure answered with the list, by its own clock. */
  readonly nowMs: number;
  /** agent → base units by slot, from the statements of dead slots. */
  readonly sharesOf: (slot: Slot) => ReadonlyMap<string, bigint>;
  readonly lateUsage: LateUsage;
}

/**
 * R6: for each day without an open live slot, accepted = max(ledger, Azure), and that day's dead reservations are given up
 * in the same write: what Azure does not hold of them is carried, or written off (R10). A day with an open live slot, or
 * with dead ones while the list may still lack what was booked last on it or on the day after, is left alone; it is in
 * doubt only if Azure holds more than the ledger. While the ledger itself is in doubt, so is a day whose last booking the
 * list may lack: what the list shows may be others, which the ledger has forgotten.
 */
export function reconcileDays(ledger: Ledger, input: ReconcileInput): Reconciliation {
  const start: Reconciliation = { ledger, resolved: [], surplus: [], complete: true };
  const pairs = ledger.accounts.flatMap((account) => input.days.map((day) => ({ dimension: account.dimension, day })));
  const done = pairs.reduce((state, pair) => reconcileDay(state, pair, input), start);
  const isUntold = ledger.accounts.some((account) => input.days.some((day) => isFresh(account, day, input)));
  return {
    ...done,
    complete: done.complete && !(ledger.confirmation && isUntold),
    ledger: {
      ...done.ledger,
      accounts: done.ledger.accounts.map((account) => foldOldDays(account, ledger.lastClosedHour)),
    },
  };
}

function reconcileDay(
  state: Reconciliation,
  pair: { readonly day: string; readonly dimension: string },
  input: ReconcileInput,
): Reconciliation {
  const account = state.ledger.accounts.find((entry) => entry.dimension === pair.dimension);
  if (!account) return state;
  const open = account.reservations.filter((entry) => dayOf(entry.hour) === pair.day && !entry.resolved);
  const surplus = (input.azure.get(pair.day)?.get(pair.dimension) ?? 0n) - acceptedOn(account, pair.day);
  const isLive = open.some((entry) => !isDead(entry.hour, input.nowMs));
  const mayLack = open.length > 0 && [pair.day, nextDay(pair.day)].some((day) => isFresh(account, day, input));
  if (isLive || mayLack) return { ...state, complete: state.complete && surplus <= 0n };
  let left = maxOf(0n, surplus);
  const resolved = open
    .toSorted((a, b) => (a.hour < b.hour ? -1 : 1))
    .map((entry) => {
      const acceptedBaseUnits = minOf(left, baseUnitsOf(entry));
      left -= acceptedBaseUnits;
      return toResolution({ ...entry, dimension: pair.dimension }, acceptedBaseUnits, input);
    });
  const given = resolveSlots(state.ledger, resolved);
  return {
    ...state,
    ledger: left > 0n ? raiseAccepted(given, pair, left) : given,
    resolved: [...state.resolved, ...resolved],
    surplus: left > 0n ? [...state.surplus, { ...pair, baseUnits: left }] : state.surplus,
  };
}

/** A dead slot as it is given up when Azure's list holds so much of it. */
function toResolution(slot: OpenSlot, acceptedBaseUnits: bigint, input: ReconcileInput): Resolution {
  const isDropped = input.lateUsage === "Drop" && acceptedBaseUnits < baseUnitsOf(slot);
  const shares = slot.shares ? toParts(slot.shares) : input.sharesOf(slot);
  return { ...slot, acceptedBaseUnits, shares, isDropped, state: isDropped ? "Dropped" : "Reconciled" };
}

/** Dead slots that nobody can be asked about: assumed accepted, in the customer's favour. */
export function assumeAccepted(
  ledger: Ledger,
  dead: readonly OpenSlot[],
  sharesOf: ReconcileInput["sharesOf"],
): Ledger {
  const toUnknown = (slot: OpenSlot): Resolution => ({
    ...slot,
    acceptedBaseUnits: baseUnitsOf(slot),
    shares: slot.shares ? toParts(slot.shares) : sharesOf(slot),
    state: "Unknown",
  });
  return resolveSlots(ledger, dead.map(toUnknown));
}

/** UTC days that a comparison must cover: those the ledger keeps apart, those of open slots, up to today. */
export function daysInQuestion(ledger: Ledger, at: { readonly nowMs: number; readonly sinceMs?: number }): string[] {
  const kept = oldestDayKept(ledger.lastClosedHour);
  const since = at.sinceMs === undefined ? kept : dayOf(hourKey(at.sinceMs));
  const open = ledger.accounts.flatMap((account) => account.reservations.map((entry) => dayOf(entry.hour)));
  const first = [kept, since, ...open].sort()[0] ?? kept;
  const today = dayOf(hourKey(at.nowMs));
  const days: string[] = [];
  for (let hour = `${first}00`; dayOf(hour) <= today && days.length < DAYS_MAX; hour = shiftHour(hour, 24))
    days.push(dayOf(hour));
  return days;
}
const DAYS_MAX = 400;

/** A change of leaders takes no longer. */
const OVERDUE_MS = 10 * 60_000;

/**
 * Whether the books stand further back than a change of leaders explains: an hour should have been closed, or a wait for
 * confirmation have ended. Their leaders were away, or this is a backup, and what was posted since is forgotten. A leader
 * that was there all the time knows better, by the revision.
 */
export function isOverdue(ledger: Ledger, at: { readonly nowMs: number; readonly listedMs: number }): boolean {
  const listedAt = ledger.confirmation?.listedAt;
  if (listedAt !== undefined) return at.listedMs - Date.parse(listedAt) > LIST_LAG_MS + OVERDUE_MS;
  return at.nowMs - parseHourKey(ledger.lastClosedHour) > 2 * HOUR_MS + OVERDUE_MS;
}

/**
 * A ledger that was just made, or is or may be rolled back, waits for two readings of Azure's list, an hour apart by Azure's
 * clock, of which the second holds nothing that it does not know: the first may lack what was booked last (R6). The wait
 * stands in the ledger, so that the next leader waits as well.
 */
export function confirmLedger(
  ledger: Ledger,
  seen: { readonly listedMs: number; readonly isDoubtful: boolean; readonly isComplete: boolean },
): Ledger {
  const { confirmation, ...confirmed } = ledger;
  if (seen.isDoubtful || (confirmation && confirmation.listedAt === undefined))
    return { ...ledger, confirmation: { listedAt: toIso(seen.listedMs) } };
  if (confirmation?.listedAt === undefined || !seen.isComplete) return ledger;
  return seen.listedMs - Date.parse(confirmation.listedAt) < LIST_LAG_MS ? ledger : confirmed;
}

/** After a rollback no hour that is over may be taken again: a slot used and forgotten would be credited twice. */
export function raiseLastSlots(ledger: Ledger, nowMs: number): Ledger {
  const newest = hourKey(nowMs - HOUR_MS);
  return {
    ...ledger,
    accounts: ledger.accounts.map((account) =>
      account.lastSlot !== undefined && account.lastSlot >= newest ? account : { ...account, lastSlot: newest },
    ),
  };
}

/**
 * Statements that the ledger has never heard of, as it was rolled back: their slots are taken again as they were, so that
 * an open one is sent with its own quantity and the others are accepted. The same ledger when there are none.
 */
export function adoptStatements(ledger: Ledger, statements: readonly Statement[]): Ledger {
  const unknown = statements.filter(({ intent }) => {
    const account = ledger.accounts.find((entry) => entry.dimension === intent.dimension);
    return account !== undefined && (account.lastSlot === undefined || account.lastSlot < intent.hour);
  });
  return inOrder(unknown).reduce(addStatement, ledger);
}

/**
 * A lost ledger from its statements: accepted by day, open slots as reservations, whose shares were billed. Settled totals
 * of pods that are gone stay lost, which bills less, never twice. Reconciliation follows before any new intent. A plan
 * that the catalogue does not know yet is entered when it does, with all that was counted since.
 */
export function rebuildLedger(
  birth: LedgerBirth & { readonly catalogue: Catalogue; readonly plan: Plan | undefined },
  statements: readonly Statement[],
): Ledger {
  const born = newLedger(birth);
  const isWaiting = birth.plan === undefined && birth.mode !== "Plain";
  const planChange = { fromPlanId: "", hour: born.lastClosedHour, marks: [] };
  const base = isWaiting ? { ...born, planChange } : openAccounts(born, birth);
  return inOrder(statements).reduce(addStatement, base);
}

function inOrder(statements: readonly Statement[]): Statement[] {
  return statements.toSorted((a, b) => (a.intent.hour < b.intent.hour ? -1 : 1));
}

function addStatement(ledger: Ledger, statement: Statement): Ledger {
  const { intent, outcome } = statement;
  const account = ledger.accounts.find((entry) => entry.dimension === intent.dimension);
  if (!account) return ledger;
  const taken = { ...account, lastSlot: intent.hour };
  const reservation = { hour: intent.hour, planId: intent.planId, quantity: intent.quantity, divisor: intent.divisor };
  const next = { ...taken, reservations: [...taken.reservations, reservation] };
  const parts = { dimension: intent.dimension, parts: sharesOfIntent(intent) };
  const billed = addParts(ledger.attributions, "billed", parts);
  const reserved = { ...ledger, attributions: billed, accounts: replaceAccount(ledger.accounts, next) };
  if (!outcome) return reserved;
  const credited = creditSlots(reserved, [
    {
      dimension: intent.dimension,
      hour: intent.hour,
      acceptedBaseUnits: BigInt(outcome.acceptedBaseUnits),
      shares: sharesOfIntent(intent),
      isDropped: outcome.state === "Dropped",
      usageResourceId: outcome.usageResourceId,
    },
  ]);
  return {
    ...credited,
    accounts: credited.accounts.map((entry) => foldOldDays(entry, ledger.lastClosedHour)),
  };
}

/** The shares of an intent as a map. */
export function sharesOfIntent(intent: Statement["intent"]): Map<string, bigint> {
  return toParts(intent.shares);
}

function toParts(shares: readonly Share[]): Map<string, bigint> {
  return new Map(shares.map((share) => [share.agent, BigInt(share.baseUnits)]));
}

/** Whether a slot of the day was answered so lately that the list may lack it: the day's total would be short by it. */
function isFresh(account: Account, day: string, at: Pick<ReconcileInput, "nowMs">): boolean {
  const answeredAt = account.acceptedDays.find((entry) => entry.day === day)?.answeredAt;
  return answeredAt !== undefined && at.nowMs - Date.parse(answeredAt) < LIST_LAG_MS;
}

/** Azure may list an event by the day of its slot, or by the day on which it was sent: at most 24 h later. */
function nextDay(day: string): string {
  return dayOf(shiftHour(`${day}00`, 24));
}

function acceptedOn(account: Account, day: string): bigint {
  return BigInt(account.acceptedDays.find((entry) => entry.day === day)?.baseUnits ?? "0");
}

function raiseAccepted(
  ledger: Ledger,
  pair: { readonly day: string; readonly dimension: string },
  baseUnits: bigint,
): Ledger {
  const account = ledger.accounts.find((entry) => entry.dimension === pair.dimension);
  if (!account) return ledger;
  return { ...ledger, accounts: replaceAccount(ledger.accounts, addAccepted(account, pair.day, { baseUnits })) };
}
