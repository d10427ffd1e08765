import type { StreamEvent } from "../responses/stream.ts";
import type { Database } from "./database.ts";
import { FencedError, type FactSequence, type RunRef } from "./journal.ts";
import { toCount } from "./rows.ts";

/** The place of a fact that is no call: limits of calls look at facts with a tool. */
export const NO_TOOL = { server: "", tool: "" } as const;

/** Refuses a writer that no longer owns the run, and any write after its end. */
export function fence(db: Database, ref: RunRef): void {
  const row = db.get("SELECT 1 FROM run WHERE id = ? AND epoch = ? AND status = 'in_progress'", ref.id, ref.epoch);
  if (row === undefined) throw new FencedError(ref);
}

/** Stores events of a run under their numbers. */
export function insertEvents(db: Database, runId: string, events: readonly StreamEvent[]): void {
  for (const event of events)
    db.run(
      "INSERT INTO event (run_id, sequence, payload) VALUES (?, ?, ?)",
      runId,
      event.sequence_number,
      JSON.stringify(event),
    );
}

interface NewFact {
  readonly runId: string;
  readonly countIn: string;
  readonly dimension: string;
  readonly amount: number;
  readonly server: string;
  readonly tool: string;
  readonly atMs: number;
}

/** A countable fact; its sequence, which is returned, is the table's own. */
export function insertFact(db: Database, fact: NewFact): FactSequence {
  const row = db.get(
    `INSERT INTO fact (counted_in, dimension, amount, run_id, server, tool, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
       RETURNING sequence AS count`,
    fact.countIn,
    fact.dimension,
    fact.amount,
    fact.runId,
    fact.server,
    fact.tool,
    fact.atMs,
  );
  return toCount(row);
}

/** A fact that no counter holds. */
export function deleteFact(db: Database, fact: FactSequence): void {
  db.run("DELETE FROM fact WHERE sequence = ?", fact);
}
