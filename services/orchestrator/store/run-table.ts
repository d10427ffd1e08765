import { NO_USAGE } from "../responses/items.ts";
import type { Database } from "./database.ts";
import type { Journal, NewRun, RunRecord } from "./journal.ts";
import { toCount, toItem, toRun } from "./rows.ts";
import { fence, insertEvents, insertFact, NO_TOOL } from "./writes.ts";

type RunMethods = Pick<
  Journal,
  | "openRun"
  | "run"
  | "runByKey"
  | "unfinished"
  | "claim"
  | "output"
  | "nextSequence"
  | "appendEvents"
  | "endRun"
  | "removeRun"
>;

/** Runs and their events. */
export function runMethods(db: Database): RunMethods {
  const run = (id: string): RunRecord | undefined => optional(db.get("SELECT * FROM run WHERE id = ?", id), toRun);
  const owned = (id: string): RunRecord => {
    const record = run(id);
    if (!record) throw new Error(`Cannot find run ${id} in the journal`);
    return record;
  };
  return {
    run,
    openRun: (record, event) =>
      db.transaction(() => {
        insertRun(db, record);
        insertEvents(db, record.id, [event]);
        return owned(record.id);
      }),
    runByKey: (principal, key) =>
      optional(db.get("SELECT * FROM run WHERE principal = ? AND idempotency_key = ?", principal, key), toRun),
    unfinished: () => db.all("SELECT * FROM run WHERE status = 'in_progress' ORDER BY created_at_ms, id").map(toRun),
    claim: (id, owner) =>
      db.transaction(() => {
        db.run("UPDATE run SET epoch = epoch + 1, owner = ? WHERE id = ? AND status = 'in_progress'", owner, id);
        return owned(id);
      }),
    output: (id) =>
      db.all("SELECT payload FROM event WHERE run_id = ? ORDER BY sequence", id).flatMap((row) => {
        const item = toItem(Reflect.get(Object(row), "payload"));
        return item ? [item] : [];
      }),
    nextSequence: (id) =>
      toCount(db.get("SELECT coalesce(max(sequence) + 1, 0) AS count FROM event WHERE run_id = ?", id)),
    appendEvents: (ref, events) =>
      db.transaction(() => {
        fence(db, ref);
        insertEvents(db, ref.id, events);
      }),
    endRun: (ref, end, event) =>
      db.transaction(() => {
        fence(db, ref);
        db.run(
          `UPDATE run SET status = ?, incomplete_reason = ?, error = ?, completed_at_ms = ?, expires_at_ms = ? WHERE id = ?`,
          end.status,
          end.incompleteReason,
          end.error === null ? null : JSON.stringify(end.error),
          end.completedAtMs,
          end.expiresAtMs,
          ref.id,
        );
        insertEvents(db, ref.id, [event]);
        if (end.countIn === null) return undefined;
        return insertFact(db, {
          ...NO_TOOL,
          runId: ref.id,
          countIn: end.countIn,
          dimension: "workflow_completed",
          amount: 1,
          atMs: end.completedAtMs,
        });
      }),
    removeRun: (id) => void db.run("DELETE FROM run WHERE id = ? AND status <> 'in_progress'", id),
  };
}

function insertRun(db: Database, record: NewRun): void {
  db.run(
    `INSERT INTO run (id, epoch, owner, principal, caller, idempotency_key, request_digest, request, model,
       created_at_ms, status, usage) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, 'in_progress', ?)`,
    record.id,
    record.owner,
    record.principal,
    record.caller,
    record.idempotencyKey,
    record.requestDigest,
    JSON.stringify(record.request),
    record.model,
    record.createdAtMs,
    JSON.stringify(NO_USAGE),
  );
}

function optional<T>(row: unknown, parse: (row: unknown) => T): T | undefined {
  return row === undefined ? undefined : parse(row);
}
