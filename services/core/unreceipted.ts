import type { Statement } from "./api/usage-statement.ts";
import type { Account, Ledger } from "./api/usage-ledger.ts";
import { toUnits } from "./statement.ts";

/**
 * What Azure accepted on one day and no receipt tells: an event of somebody else, or one whose receipt a restored etcd has
 * lost. The ledger knows it from Azure's list. Less than nothing where receipts tell more than the ledger holds.
 */
export interface Unreceipted {
  readonly dimension: string;
  /** YYYYMMDD */
  readonly day: string;
  readonly divisor: string;
  readonly baseUnits: bigint;
  /** Units, a plain decimal. */
  readonly quantity: string;
}

/** Base units on receipts by dimension and day, for `findUnreceipted`. */
export type DaySums = Map<string, bigint>;

/** Adds what a receipt says was accepted to its day. */
export function addToDay(sums: DaySums, { intent, outcome }: Statement): void {
  const key = dayKey(intent.dimension, intent.hour.slice(0, 8));
  sums.set(key, (sums.get(key) ?? 0n) + BigInt(outcome?.acceptedBaseUnits ?? "0"));
}

/**
 * Compares the days of a month (YYYY-MM) that the ledger still holds one by one, those of the last week, with the receipts.
 * `before` and `after` are the ledger around the reading of the receipts: a day that changed meanwhile, or that has an open
 * slot, is left out, and so are all while the ledger itself awaits confirmation.
 */
export function findUnreceipted(
  month: string,
  ledger: { readonly before: Ledger; readonly after: Ledger },
  receipts: DaySums,
): Unreceipted[] {
  if (ledger.before.confirmation ?? ledger.after.confirmation) return [];
  return ledger.after.accounts.flatMap((account) => {
    const known = ledger.before.accounts.find(({ dimension }) => dimension === account.dimension);
    return account.acceptedDays
      .filter(({ day }) => day.startsWith(month.replace("-", "")) && !isOpen(account, day))
      .filter(({ day, baseUnits }) => known?.acceptedDays.some((was) => was.day === day && was.baseUnits === baseUnits))
      .map(({ day, baseUnits }) => ({ day, gap: BigInt(baseUnits) - receiptsOf(receipts, account.dimension, day) }))
      .filter(({ gap }) => gap !== 0n)
      .map(({ day, gap }) => toUnreceipted(account, day, gap));
  });
}

function isOpen(account: Account, day: string): boolean {
  return account.reservations.some(({ hour }) => hour.startsWith(day));
}

function receiptsOf(receipts: DaySums, dimension: string, day: string): bigint {
  return receipts.get(dayKey(dimension, day)) ?? 0n;
}

function toUnreceipted({ dimension, divisor }: Account, day: string, gap: bigint): Unreceipted {
  const units = toUnits(gap < 0n ? -gap : gap, BigInt(divisor));
  return { dimension, day, divisor, baseUnits: gap, quantity: gap < 0n ? `-${units}` : units };
}

function dayKey(dimension: string, day: string): string {
  return `${dimension}/${day}`;
}
