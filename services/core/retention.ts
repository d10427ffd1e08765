import type { Ledger } from "./api/usage-ledger.ts";
import type { Statement } from "./api/usage-statement.ts";
import { DAY_MS, HOUR_MS, hourKey, parseHourKey, periodAt } from "./time.ts";

/** How long receipts are kept in the cluster. */
export interface RetentionTerms {
  readonly days: number;
  /** Only months that were exported and released may go. */
  readonly needsExport: boolean;
}

/** The month of an hour as the commands name it, YYYY-MM in UTC. */
export function monthOf(hour: string): string {
  return `${hour.slice(0, 4)}-${hour.slice(4, 6)}`;
}

/**
 * Whether a statement may be deleted. Money never depends on an old one, as long as its slot is closed in the ledger too:
 * a statement without an outcome, or one whose reservation still stands, is kept whatever its age.
 */
export function judgeRetention(
  statement: Statement,
  ledger: Ledger,
  at: { readonly terms: RetentionTerms; readonly nowMs: number },
): "Keep" | "AwaitsExport" | "Delete" {
  const { hour, dimension } = statement.intent;
  if (statement.outcome === undefined || at.nowMs < parseHourKey(hour) + at.terms.days * DAY_MS) return "Keep";
  const account = ledger.accounts.find((entry) => entry.dimension === dimension);
  if (account?.reservations.some((entry) => entry.hour === hour)) return "Keep";
  return at.terms.needsExport && !ledger.exportedMonths.includes(monthOf(hour)) ? "AwaitsExport" : "Delete";
}

/** Months that a ledger remembers as released: longer than any statement is kept, and the oldest is forgotten first. */
const MONTHS_MAX = 36;

/**
 * Marks a month as exported, so that its receipts may go when they are old enough. Nothing of it may be open: what is
 * exported is whole. Releasing twice changes nothing.
 */
export function releaseMonth(
  ledger: Ledger,
  month: string,
): { readonly ok: true; readonly value: Ledger } | { readonly ok: false; readonly problem: string } {
  const startMs = parseHourKey(`${month.replace("-", "")}0100`);
  const lastHour = hourKey(periodAt(startMs, "Month", startMs).endMs - HOUR_MS);
  if (ledger.lastClosedHour < lastHour)
    return refuse(
      `Cannot release ${month} as its last hour ${lastHour} must be closed: the last closed hour is ${ledger.lastClosedHour}`,
    );
  const open = ledger.accounts.flatMap(({ dimension, reservations }) =>
    reservations.filter(({ hour }) => monthOf(hour) === month).map(({ hour }) => `${hour} ${dimension}`),
  );
  if (open.length > 0)
    return refuse(
      `Cannot release ${month} as none of its slots may be open: open are ${open.slice(0, 10).join(", ")}${open.length > 10 ? ` and ${open.length - 10} more` : ""}`,
    );
  if (ledger.exportedMonths.includes(month)) return { ok: true, value: ledger };
  const exportedMonths = [...ledger.exportedMonths, month].toSorted().slice(-MONTHS_MAX);
  return { ok: true, value: { ...ledger, exportedMonths } };
}

function refuse(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
