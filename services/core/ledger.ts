import type { Account, Ledger, Reservation } from "./api/usage-ledger.ts";
import { correctParts } from "./attributions.ts";
import { dayOf, HOUR_MS, hourKey, parseHourKey, shiftHour, toIso } from "./time.ts";
import { learnUsageResource } from "./usage-resource.ts";

/** A count must fit its string: 18 digits. */
export const COUNT_MAX = 999_999_999_999_999_999n;
/** Accepted usage is kept by UTC day for this many days, so that a day can be compared with Azure's list. */
const DAYS_KEPT = 4;
/** An event is in Azure's list this long after it was booked; how soon is unconfirmed (metering.md). */
export const LIST_LAG_MS = HOUR_MS;
/**
 * A request of ours can land until 24 h after the slot's start, or 25 h where Azure counts from the end of the hour; Azure's
 * list may show it later. Both are unconfirmed, so a slot is dead when neither can be.
 */
const SLOT_DEAD_MS = 25 * HOUR_MS + LIST_LAG_MS;
/** No request is sent later than this after the slot's start: it would be refused, or worse, land after we gave up. */
const SLOT_SENDABLE_MS = 24 * HOUR_MS - 10 * 60_000;

/** A slot of one ledger. */
export interface Slot {
  readonly dimension: string;
  readonly hour: string;
}

/** What a slot turned out to have brought, and whose intent it was. */
export interface Credit extends Slot {
  readonly acceptedBaseUnits: bigint;
  /** agent → base units of the intent. */
  readonly shares: ReadonlyMap<string, bigint>;
  /** What was not accepted is written off, not carried (R10). */
  readonly isDropped?: boolean;
  readonly usageResourceId?: string | undefined;
  /** When Azure answered; nothing where its list told. */
  readonly answeredAt?: string | undefined;
}

/** What became of a dead slot that nobody answered for. */
export interface Resolution extends Credit {
  readonly state: NonNullable<Reservation["resolved"]>["state"];
}

export interface LedgerBirth {
  readonly offerResourceId: string;
  readonly mode: Ledger["mode"];
  readonly planId: string;
  readonly catalogueDigest: string;
  readonly nowMs: number;
  readonly term: number;
}

/** The ledger of an offer resource that has none. The hour before its birth counts as closed. */
export function newLedger(birth: LedgerBirth): Ledger {
  return {
    offerResourceId: birth.offerResourceId,
    mode: birth.mode,
    // Above every revision of a ledger that was there before: a backup of that one must show as older (R6).
    revision: Math.max(1, Math.floor(birth.nowMs)).toString(),
    term: birth.term,
    planId: birth.planId,
    catalogueDigest: birth.catalogueDigest,
    anchor: toIso(parseHourKey(hourKey(birth.nowMs))),
    // There may have been another before, and Azure's list may still lack what that one posted (R6).
    confirmation: {},
    lastClosedHour: shiftHour(hourKey(birth.nowMs), -1),
    parked: [],
    problems: [],
    compared: [],
    exportedMonths: [],
    accounts: [],
    settled: [],
    attributions: [],
    tombstones: [],
  };
}

/** Whether a first or repeated send of a slot may still be tried. */
export function isSendable(hour: string, nowMs: number): boolean {
  const startMs = parseHourKey(hour);
  return nowMs >= startMs + HOUR_MS && nowMs < startMs + SLOT_SENDABLE_MS;
}

/** Whether no request of ours can land in the slot any more. */
export function isDead(hour: string, nowMs: number): boolean {
  return nowMs > parseHourKey(hour) + SLOT_DEAD_MS;
}

/** Every open reservation with its dimension, oldest slot first. The ledger's to-do list. */
export function openSlots(ledger: Ledger): OpenSlot[] {
  return slotsOf(ledger).filter((slot) => slot.resolved === undefined);
}

/** Dead slots whose money is booked, but whose statements may not say so yet. */
export function resolvedSlots(ledger: Ledger): OpenSlot[] {
  return slotsOf(ledger).filter((slot) => slot.resolved !== undefined);
}

/** A reservation and its dimension. */
export type OpenSlot = Reservation & { readonly dimension: string };

function slotsOf(ledger: Ledger): OpenSlot[] {
  return ledger.accounts
    .flatMap((account) => account.reservations.map((entry) => ({ ...entry, dimension: account.dimension })))
    .sort((a, b) => (a.hour === b.hour ? 0 : a.hour < b.hour ? -1 : 1));
}

/** Accepted base units of an account over all days. */
export function acceptedOf(account: Account): bigint {
  return account.acceptedDays.reduce((sum, day) => sum + BigInt(day.baseUnits), BigInt(account.acceptedBefore));
}

/** Whether nothing was ever accepted or is on its way: a ledger as it was made. */
export function isBlank(ledger: Ledger): boolean {
  return ledger.accounts.every((account) => acceptedOf(account) === 0n && account.reservations.length === 0);
}

/** Base units in open reservations of an account. */
export function reservedOf(account: Account): bigint {
  const open = account.reservations.filter((entry) => entry.resolved === undefined);
  return open.reduce((sum, entry) => sum + baseUnitsOf(entry), 0n);
}

/** Base units that are no longer to be posted: accepted, reserved or written off. At most what is due (I4). */
export function claimedOf(account: Account): bigint {
  return acceptedOf(account) + reservedOf(account) + BigInt(account.dropped);
}

/** The base units of a reservation. */
export function baseUnitsOf(reservation: Pick<Reservation, "quantity" | "divisor">): bigint {
  return BigInt(reservation.quantity) * BigInt(reservation.divisor);
}

/**
 * Step five of a post: removes the reservation and adds what was accepted, in one. A reservation that is gone was
 * credited already; such a credit changes nothing.
 */
export function creditSlots(ledger: Ledger, credits: readonly Credit[]): Ledger {
  return credits.reduce(creditSlot, ledger);
}

function creditSlot(ledger: Ledger, credit: Credit): Ledger {
  const found = findReservation(ledger, credit);
  if (!found) return ledger;
  const { account, reservation } = found;
  const booked = reservation.resolved
    ? addMissing(ledger, account, { credit, resolved: reservation.resolved })
    : bookSlot(ledger, found, credit);
  return replaceReservation(booked, credit, undefined);
}

/** Books what became of dead slots. Their reservations stay, as nothing but a note, until the statements say the same. */
export function resolveSlots(ledger: Ledger, resolutions: readonly Resolution[]): Ledger {
  return resolutions.reduce((state, resolution) => {
    const found = findReservation(state, resolution);
    if (!found || found.reservation.resolved) return state;
    const resolved = { state: resolution.state, acceptedBaseUnits: resolution.acceptedBaseUnits.toString() };
    return replaceReservation(bookSlot(state, found, resolution), resolution, { ...found.reservation, resolved });
  }, ledger);
}

interface Found {
  readonly account: Account;
  readonly reservation: Reservation;
}

function findReservation(ledger: Ledger, slot: Slot): Found | undefined {
  const account = ledger.accounts.find((entry) => entry.dimension === slot.dimension);
  const reservation = account?.reservations.find((entry) => entry.hour === slot.hour);
  return account && reservation ? { account, reservation } : undefined;
}

/** Accepted goes up; the rest is written off, or goes back to be posted later. */
function bookSlot(ledger: Ledger, found: Found, credit: Credit): Ledger {
  const accepted = credit.acceptedBaseUnits;
  const rest = baseUnitsOf(found.reservation) - accepted;
  const isDropped = credit.isDropped === true;
  const account = addAccepted(found.account, dayOf(credit.hour), { ...credit, baseUnits: accepted });
  const attributions = correctParts(ledger.attributions, credit.dimension, {
    difference: -rest,
    shares: credit.shares,
    isDropped,
  });
  return {
    ...learnUsageResource(ledger, credit.usageResourceId),
    ...later("lastAcceptedHour", ledger.lastAcceptedHour, accepted > 0n ? credit.hour : undefined),
    accounts: replaceAccount(
      ledger.accounts,
      rest <= 0n ? account : isDropped ? dropUnits(account, rest) : carryUnits(account, credit.hour, rest),
    ),
    attributions,
  };
}

/** Writes base units off: they will never be posted (R10). */
export function dropUnits(account: Account, baseUnits: bigint): Account {
  return { ...account, dropped: (BigInt(account.dropped) + baseUnits).toString() };
}

function carryUnits(account: Account, hour: string, baseUnits: bigint): Account {
  const oldest = account.oldestUnpostedHour;
  return {
    ...account,
    backlog: (BigInt(account.backlog) + baseUnits).toString(),
    oldestUnpostedHour: oldest !== undefined && oldest < hour ? oldest : hour,
  };
}

/** A definite answer came to light after the slot was given up: what it says beyond what was booked is accepted too. */
function addMissing(
  ledger: Ledger,
  account: Account,
  late: { readonly credit: Credit; readonly resolved: NonNullable<Reservation["resolved"]> },
): Ledger {
  const missing = late.credit.acceptedBaseUnits - BigInt(late.resolved.acceptedBaseUnits);
  if (missing <= 0n) return ledger;
  return {
    ...ledger,
    accounts: replaceAccount(
      ledger.accounts,
      addAccepted(account, dayOf(late.credit.hour), { ...late.credit, baseUnits: missing }),
    ),
  };
}

function replaceReservation(ledger: Ledger, slot: Slot, by: Reservation | undefined): Ledger {
  const account = ledger.accounts.find((entry) => entry.dimension === slot.dimension);
  if (!account) return ledger;
  const reservations = account.reservations.flatMap((entry) => {
    if (entry.hour !== slot.hour) return [entry];
    return by ? [by] : [];
  });
  return { ...ledger, accounts: replaceAccount(ledger.accounts, { ...account, reservations }) };
}

/** Adds accepted base units to a UTC day, and notes when Azure answered for it last. */
export function addAccepted(
  account: Account,
  day: string,
  accepted: { readonly baseUnits: bigint; readonly answeredAt?: string | undefined },
): Account {
  const known = account.acceptedDays.find((entry) => entry.day === day);
  const total = BigInt(known?.baseUnits ?? "0") + accepted.baseUnits;
  if (total === 0n) return account;
  const answered = later("answeredAt", known?.answeredAt, accepted.answeredAt);
  const others = account.acceptedDays.filter((entry) => entry !== known);
  const days = [...others, { day, baseUnits: total.toString(), ...answered }];
  return { ...account, acceptedDays: days.sort((a, b) => (a.day < b.day ? -1 : 1)) };
}

/** The oldest UTC day that a ledger keeps apart; it moves with the last closed hour, so that no day is added twice. */
export function oldestDayKept(lastClosedHour: string): string {
  return dayOf(shiftHour(lastClosedHour, -24 * (DAYS_KEPT - 1)));
}

/** Days older than those kept and without an open slot are summed up: nobody compares them any more. */
export function foldOldDays(account: Account, lastClosedHour: string): Account {
  const oldest = oldestDayKept(lastClosedHour);
  const open = new Set(account.reservations.map((entry) => dayOf(entry.hour)));
  const old = account.acceptedDays.filter((entry) => entry.day < oldest && !open.has(entry.day));
  const before = old.reduce((sum, entry) => sum + BigInt(entry.baseUnits), BigInt(account.acceptedBefore));
  return {
    ...account,
    acceptedBefore: before.toString(),
    acceptedDays: account.acceptedDays.filter((entry) => !old.includes(entry)),
  };
}

/** Stops new intents of a dimension until plan or catalogue change; counting goes on. */
export function parkDimension(
  ledger: Ledger,
  parking: Slot & { planId: string; reason: string; message: string; nowMs: number },
): Ledger {
  const account = ledger.accounts.find((entry) => entry.dimension === parking.dimension);
  if (!account || account.parked) return ledger;
  const parked = {
    reason: parking.reason,
    message: parking.message.slice(0, 512),
    since: toIso(parking.nowMs),
    planId: parking.planId,
    catalogueDigest: ledger.catalogueDigest,
  };
  return { ...ledger, accounts: replaceAccount(ledger.accounts, { ...account, parked }) };
}

/** The last touch of every write: revision + 1 and the summary that people and the operator read. */
export function sealLedger(ledger: Ledger): Ledger {
  const { oldestOpenHour: _, ...rest } = ledger;
  const oldest = openSlots(ledger)[0]?.hour;
  return {
    ...rest,
    revision: (BigInt(ledger.revision) + 1n).toString(),
    ...(oldest === undefined ? {} : { oldestOpenHour: oldest }),
    parked: ledger.accounts.filter((account) => account.parked).map((account) => account.dimension),
  };
}

/** The accounts with one replaced or added. */
export function replaceAccount(accounts: readonly Account[], account: Account): Account[] {
  const others = accounts.filter((entry) => entry.dimension !== account.dimension);
  return [...others, account].sort((a, b) => (a.dimension < b.dimension ? -1 : 1));
}

function later<K extends string>(key: K, a: string | undefined, b: string | undefined): { [P in K]?: string } | object {
  const newest = [a, b]
    .filter((hour) => hour !== undefined)
    .sort()
    .at(-1);
  return newest === undefined ? {} : { [key]: newest };
}
