import type { Ledger } from "#core/api/usage-ledger.ts";
import { compareDays, daysToCompare } from "#core/compare.ts";
import { type Desk, swapLedger, type Versioned } from "./desk.ts";
import { ownRows } from "./reconcile.ts";

/** A list that does not answer is asked again after this long; R6 alarms about it already. */
const RETRY_MS = 600_000;

/** Once a day: what the ledger accepted two days ago beside what Azure has processed. It finds, it changes no sum. */
export async function compareOldDays(desk: Desk, ledger: Versioned<Ledger>): Promise<void> {
  const { memory, terms } = desk;
  const days = daysToCompare(ledger.value, desk.now());
  const [first] = days;
  if (terms.mode !== "Marketplace" || !memory.reconciled || first === undefined) return;
  if (desk.now() < memory.compareNotBeforeMs) return;
  memory.compareNotBeforeMs = desk.now() + RETRY_MS;
  const listed = await desk.marketplace.list(first);
  desk.onList?.(listed);
  const rows = listed.ok ? ownRows(ledger.value, listed.rows, { isRecreated: false }) : undefined;
  if (!rows) return;
  const value = compareDays(ledger.value, { days, rows, nowMs: desk.now() });
  await swapLedger(desk, { value, version: ledger.version });
  const differing = value.compared.filter((entry) => days.includes(entry.day));
  if (differing.length > 0) desk.log.error({ differing }, "Found another quantity at Azure than in the UsageLedger");
}
