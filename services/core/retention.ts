import type { Ledger } from "./api/usage-ledger.ts";
import type { Statement } from "./api/usage-statement.ts";
import { DAY_MS, parseHourKey } from "./time.ts";

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
