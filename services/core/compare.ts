import type { Account, Compared, Ledger } from "./api/usage-ledger.ts";
import { toBaseUnits } from "./outcome.ts";
import { toUnits } from "./statement.ts";
import { dayOf, hourKey, DAY_MS } from "./time.ts";

/** A row of Azure's list of usage events that is known to be ours. Quantities are plain decimal digits, in units. */
export interface AzureRow {
  /** YYYYMMDD in UTC. */
  readonly day: string;
  readonly dimension: string;
  readonly quantity: string;
  readonly processed: string;
  readonly reconStatus: string;
}

/** A discrepancy is shown for this long after its day. */
const SHOWN_DAYS = 14;
const SHOWN_MAX = 8;

/**
 * The days to compare: D + 2, when Partner Center has processed most of it, and D + 3 for what it had not. Nothing when
 * today's comparison is done, or the ledger is younger than these days.
 */
export function daysToCompare(ledger: Ledger, nowMs: number): string[] {
  const [two, three] = [dayAgo(nowMs, 2), dayAgo(nowMs, 3)];
  const born = dayOf(hourKey(Date.parse(ledger.anchor)));
  if (ledger.comparedDay !== undefined && ledger.comparedDay >= two) return [];
  return [three, two].filter((day) => day >= born);
}

/**
 * The comparison of D + 2: what the ledger accepted on a day beside what Azure says was submitted and processed. It finds;
 * it never lowers nor raises accepted.
 */
export function compareDays(
  ledger: Ledger,
  input: { readonly days: readonly string[]; readonly rows: readonly AzureRow[]; readonly nowMs: number },
): Ledger {
  const oldest = dayAgo(input.nowMs, SHOWN_DAYS);
  const kept = ledger.compared.filter((entry) => entry.day >= oldest && !input.days.includes(entry.day));
  const last = dayAgo(input.nowMs, 3);
  const found = input.days.flatMap((day) =>
    ledger.accounts.flatMap((account) => {
      const rows = input.rows.filter((row) => row.day === day && row.dimension === account.dimension);
      return compareDay(account, { day, rows, isLast: day <= last });
    }),
  );
  const comparedDay = dayAgo(input.nowMs, 2);
  const compared = [...kept, ...found].toSorted((a, b) => (a.day < b.day ? -1 : 1)).slice(-SHOWN_MAX);
  return { ...ledger, compared, comparedDay };
}

function compareDay(
  account: Account,
  at: { readonly day: string; readonly rows: readonly AzureRow[]; readonly isLast: boolean },
): Compared[] {
  const divisor = BigInt(account.divisor);
  const accepted = BigInt(account.acceptedDays.find((entry) => entry.day === at.day)?.baseUnits ?? "0");
  const sum = (field: "quantity" | "processed"): bigint =>
    at.rows.reduce((total, row) => total + toBaseUnits(row[field], divisor), 0n);
  const [submitted, processed] = [sum("quantity"), sum("processed")];
  const statuses = at.rows.map((row) => row.reconStatus);
  const bad = statuses.find((status) => status === "Rejected" || status === "Mismatch");
  const isProcessed = !statuses.includes("Submitted");
  const isEqual = submitted === accepted && (processed === submitted || (!isProcessed && !at.isLast));
  if (bad === undefined && isEqual) return [];
  return [
    {
      day: at.day,
      dimension: account.dimension,
      state: bad ?? "Unequal",
      accepted: toUnits(accepted, divisor),
      submitted: toUnits(submitted, divisor),
      processed: toUnits(processed, divisor),
    },
  ];
}

function dayAgo(nowMs: number, days: number): string {
  return dayOf(hourKey(nowMs - days * DAY_MS));
}
