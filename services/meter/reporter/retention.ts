import type { Ledger } from "#core/api/usage-ledger.ts";
import { judgeRetention } from "#core/retention.ts";
import { HOUR_MS } from "#core/time.ts";
import type { Desk } from "./desk.ts";

/** Statements deleted per cycle. */
const DELETED_PER_CYCLE = 100;
/** Between two looks at all statements: there may be tens of thousands. */
const LOOK_EVERY_MS = HOUR_MS;

/**
 * Deletes receipts that are old enough, and where the terms say so only those of months that somebody has exported and
 * released. The oldest go first, a part per cycle. Another leader that does the same is harmless.
 */
export async function retireStatements(desk: Desk, ledger: Ledger): Promise<void> {
  const { retention } = desk.memory;
  const at = { terms: desk.terms.retention, nowMs: desk.now() };
  const released = ledger.exportedMonths.join();
  if (at.nowMs >= retention.lookAtMs || released !== retention.released) {
    const statements = await desk.books.listStatements();
    const judged = statements.map((statement) => ({
      ...statement.intent,
      next: judgeRetention(statement, ledger, at),
    }));
    retention.awaitingExport = judged.filter(({ next }) => next === "AwaitsExport").length;
    const due = judged.filter(({ next }) => next === "Delete").toSorted((a, b) => (a.hour < b.hour ? -1 : 1));
    retention.due = due.map(({ hour, dimension }) => ({ hour, dimension }));
    retention.lookAtMs = at.nowMs + LOOK_EVERY_MS;
    retention.released = released;
  }
  const part = retention.due.splice(0, DELETED_PER_CYCLE);
  for (const slot of part) {
    const found = await desk.books.readStatement(slot);
    if (found && judgeRetention(found.value, ledger, at) === "Delete") await desk.books.deleteStatement(found);
  }
  if (part.length > 0)
    desk.log.info({ statements: part.length, left: retention.due.length }, "Deleted UsageStatements");
}
