import type { StreamEvent } from "../responses/stream.ts";
import type { Database } from "./database.ts";
import { FencedError, type RunRef } from "./journal.ts";

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

/** A countable fact; its sequence is the table's own. */
export function insertFact(
  db: Database,
  fact: { runId: string; countIn: string; dimension: string; server: string; tool: string; atMs: number },
): void {
  db.run(
    "INSERT INTO fact (counted_in, dimension, amount, run_id, server, tool, at_ms) VALUES (?, ?, 1, ?, ?, ?, ?)",
    fact.countIn,
    fact.dimension,
    fact.runId,
    fact.server,
    fact.tool,
    fact.atMs,
  );
}
