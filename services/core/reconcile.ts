import type { Account, Ledger } from "./api/usage-ledger.ts";
import type { Statement } from "./api/usage-statement.ts";
import {
  addAccepted,
  baseUnitsOf,
  creditSlots,
  foldOldDays,
  isDead,
  newLedger,
  type LedgerBirth,
  oldestDayKept,
  replaceAccount,
  type Slot,
} from "./ledger.ts";
import { maxOf } from "./shares.ts";
import { dayOf, hourKey, HOUR_MS, shiftHour } from "./time.ts";

/** What Azure's list says of one UTC day: base units by Marketplace dimension, over all plans. */
export type AzureDays = ReadonlyMap<string, ReadonlyMap<string, bigint>>;

export interface Resolved extends Slot {
  readonly acceptedBaseUnits: bigint;
}

export interface Reconciliation {
  readonly ledger: Ledger;
  /** Dead slots whose reservations left the ledger. */
  readonly resolved: readonly Resolved[];
  /** Azure holds more than we knew: a rollback of ours, or a foreign writer. */
  readonly surplus: readonly { readonly day: string; readonly dimension: string; readonly baseUnits: bigint }[];
  /** Every day in question was compared or is beyond doubt; only then may new intents be made. */
  readonly complete: boolean;
}

export interface ReconcileInput {
  readonly azure: AzureDays;
  /** UTC days that the list covered. */
  readonly days: readonly string[];
  readonly nowMs: number;
  /** agent → base units by slot, from the statements of dead slots. */
  readonly sharesOf: (slot: Slot) => ReadonlyMap<string, bigint>;
}

/**
 * R6: for each day without an open live slot, accepted = max(ledger, Azure), and that day's dead reservations leave in
 * the same write. A day with an open live slot is left alone; it is in doubt only if Azure holds more than the ledger.
 */
export function reconcileDays(ledger: Ledger, input: ReconcileInput): Reconciliation {
  const start: Reconciliation = { ledger, resolved: [], surplus: [], complete: true };
  const pairs = ledger.accounts.flatMap((account) => input.days.map((day) => ({ dimension: account.dimension, day })));
  const done = pairs.reduce((state, pair) => reconcileDay(state, pair, input), start);
  return {
    ...done,
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
  const open = account.reservations.filter((entry) => dayOf(entry.hour) === pair.day);
  const surplus = (input.azure.get(pair.day)?.get(pair.dimension) ?? 0n) - acceptedOn(account, pair.day);
  if (open.some((entry) => !isDead(entry.hour, input.nowMs)))
    return { ...state, complete: state.complete && surplus <= 0n };
  let left = maxOf(0n, surplus);
  const resolved = open
    .toSorted((a, b) => (a.hour < b.hour ? -1 : 1))
    .map((entry) => {
      const base = baseUnitsOf(entry);
      const acceptedBaseUnits = left < base ? left : base;
      left -= acceptedBaseUnits;
      return { dimension: pair.dimension, hour: entry.hour, acceptedBaseUnits };
    });
  const credited = creditSlots(
    state.ledger,
    resolved.map((slot) => ({ ...slot, shares: input.sharesOf(slot) })),
  );
  return {
    ...state,
    ledger: left > 0n ? raiseAccepted(credited, pair, left) : credited,
    resolved: [...state.resolved, ...resolved],
    surplus: left > 0n ? [...state.surplus, { ...pair, baseUnits: left }] : state.surplus,
  };
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

/** Whether statements exist that the ledger has never heard of: it was rolled back, or deleted. */
export function isBehind(ledger: Ledger, statements: readonly Statement[]): boolean {
  return statements.some((statement) => {
    const account = ledger.accounts.find((entry) => entry.dimension === statement.intent.dimension);
    return account === undefined || account.lastSlot === undefined || account.lastSlot < statement.intent.hour;
  });
}

/**
 * A lost ledger from its statements: accepted by day, open slots as reservations, whose shares were billed. Settled totals
 * of pods that are gone stay lost, which bills less, never twice. Reconciliation follows before any new intent.
 */
export function rebuildLedger(
  birth: LedgerBirth,
  statements: readonly Statement[],
  open: (ledger: Ledger) => Ledger,
): Ledger {
  const base = open(newLedger(birth));
  return statements.toSorted((a, b) => (a.intent.hour < b.intent.hour ? -1 : 1)).reduce(addStatement, base);
}

function addStatement(ledger: Ledger, statement: Statement): Ledger {
  const { intent, outcome } = statement;
  const account = ledger.accounts.find((entry) => entry.dimension === intent.dimension);
  if (!account) return ledger;
  const taken = { ...account, lastSlot: intent.hour };
  const reservation = { hour: intent.hour, planId: intent.planId, quantity: intent.quantity, divisor: intent.divisor };
  const next = { ...taken, reservations: [...taken.reservations, reservation] };
  const billed = intent.shares.reduce((list, share) => addBilled(list, share, intent.dimension), ledger.attributions);
  const reserved = { ...ledger, attributions: billed, accounts: replaceAccount(ledger.accounts, next) };
  if (!outcome) return reserved;
  const credited = creditSlots(reserved, [
    {
      dimension: intent.dimension,
      hour: intent.hour,
      acceptedBaseUnits: BigInt(outcome.acceptedBaseUnits),
      shares: sharesOfIntent(intent),
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
  return new Map(intent.shares.map((share) => [share.agent, BigInt(share.baseUnits)]));
}

function addBilled(
  attributions: Ledger["attributions"],
  share: { readonly agent: string; readonly baseUnits: string },
  dimension: string,
): Ledger["attributions"] {
  const mine = (entry: Ledger["attributions"][number]): boolean =>
    entry.agent === share.agent && entry.dimension === dimension;
  const entry = attributions.find(mine) ?? { agent: share.agent, dimension, billed: "0", free: "0" };
  const billed = (BigInt(entry.billed) + BigInt(share.baseUnits)).toString();
  return [...attributions.filter((other) => !mine(other)), { ...entry, billed }];
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
  return { ...ledger, accounts: replaceAccount(ledger.accounts, addAccepted(account, pair.day, baseUnits)) };
}
