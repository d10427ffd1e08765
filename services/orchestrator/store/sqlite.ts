import { addUsage, NO_USAGE } from "../responses/items.ts";
import type { StreamEvent } from "../responses/stream.ts";
import { type CallRecord, FencedError, type Journal, type RunRecord, type RunRef } from "./journal.ts";
import { toCall, toCount, toFact, toItem, toRun, toTurn, toUsage } from "./rows.ts";
import { type Database, openDatabase } from "./database.ts";

/** Facts are kept this long for hourly limits. */
const FACT_LIFE_MS = 2 * 3600 * 1000;

/**
 * Opens or creates the journal of one replica. WAL with synchronous=FULL: a commit is on disk when it returns.
 * Throws when the file is of a newer version or cannot be opened.
 */
export function openSqliteJournal(file: string): Journal {
  const db = openDatabase(file);
  return { ...runMethods(db), ...callMethods(db), ...factMethods(db), close: () => db.close() };
}

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

function runMethods(db: Database): RunMethods {
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
        if (end.countIn === null) return;
        insertFact(db, {
          ...NO_TOOL,
          runId: ref.id,
          countIn: end.countIn,
          dimension: "workflow_completed",
          atMs: end.completedAtMs,
        });
      }),
    removeRun: (id) => void db.run("DELETE FROM run WHERE id = ? AND status <> 'in_progress'", id),
  };
}

type CallMethods = Pick<
  Journal,
  "turns" | "appendTurn" | "startCall" | "endCall" | "callsStarted" | "callsInRun" | "callsSince"
>;

function callMethods(db: Database): CallMethods {
  return {
    turns(id) {
      const calls = db.all("SELECT * FROM call WHERE run_id = ? ORDER BY turn, position", id).map(toCall);
      return db
        .all("SELECT * FROM turn WHERE run_id = ? ORDER BY number", id)
        .map(toTurn)
        .map((turn) => ({ ...turn, calls: calls.filter((call) => call.turn === turn.number) }));
    },
    appendTurn: (ref, turn, events) =>
      db.transaction(() => {
        fence(db, ref);
        const usage = toUsage(db.get("SELECT usage FROM run WHERE id = ?", ref.id));
        db.run(
          "INSERT INTO turn (run_id, number, text, finish, usage) VALUES (?, ?, ?, ?, ?)",
          ref.id,
          turn.number,
          turn.text,
          turn.finish,
          JSON.stringify(turn.usage),
        );
        for (const call of turn.calls) insertCall(db, ref.id, call);
        db.run("UPDATE run SET usage = ? WHERE id = ?", JSON.stringify(addUsage(usage, turn.usage)), ref.id);
        insertEvents(db, ref.id, events);
      }),
    startCall: (ref, call, start) =>
      db.transaction(() => {
        fence(db, ref);
        db.run(
          `UPDATE call SET state = 'started', key = ?, started_at_ms = ? WHERE run_id = ? AND turn = ? AND position = ?`,
          start.key,
          start.startedAtMs,
          ref.id,
          call.turn,
          call.position,
        );
        const { server, tool } = toCall(
          db.get("SELECT * FROM call WHERE run_id = ? AND turn = ? AND position = ?", ref.id, call.turn, call.position),
        );
        insertFact(db, {
          runId: ref.id,
          countIn: start.countIn,
          dimension: "tool_action",
          server,
          tool,
          atMs: start.startedAtMs,
        });
      }),
    endCall: (ref, call, end) =>
      db.transaction(() => {
        fence(db, ref);
        db.run(
          "UPDATE call SET state = ?, result = ? WHERE run_id = ? AND turn = ? AND position = ?",
          end.state,
          end.result,
          ref.id,
          call.turn,
          call.position,
        );
        insertEvents(db, ref.id, [end.event]);
      }),
    callsStarted: (id) =>
      toCount(db.get("SELECT count(*) AS count FROM call WHERE run_id = ? AND started_at_ms IS NOT NULL", id)),
    callsInRun: (id, { server, tool }) =>
      toCount(
        db.get(
          `SELECT count(*) AS count FROM call WHERE run_id = ? AND server = ? AND tool = ? AND started_at_ms IS NOT NULL`,
          id,
          server,
          tool,
        ),
      ),
    callsSince: (sinceMs, { server, tool }) =>
      toCount(
        db.get("SELECT count(*) AS count FROM fact WHERE server = ? AND tool = ? AND at_ms > ?", server, tool, sinceMs),
      ),
  };
}

function factMethods(db: Database): Pick<Journal, "pin" | "factsAfter" | "reserveSequence" | "prune"> {
  return {
    pin: ({ server, tool, digest, generation }) =>
      db.transaction(() => {
        db.run(
          `INSERT INTO pin (server, tool, generation, digest) VALUES (?, ?, ?, ?)
             ON CONFLICT (server, tool) DO UPDATE SET generation = excluded.generation, digest = excluded.digest
             WHERE pin.generation < excluded.generation`,
          server,
          tool,
          generation,
          digest,
        );
        return String(
          Reflect.get(Object(db.get("SELECT digest FROM pin WHERE server = ? AND tool = ?", server, tool)), "digest"),
        );
      }),
    factsAfter: (countIn, sequence) =>
      db
        .all("SELECT * FROM fact WHERE counted_in = ? AND sequence > ? ORDER BY sequence", countIn, sequence)
        .map(toFact),
    reserveSequence: (sequence) =>
      db.transaction(() => {
        const highest = toCount(
          db.get("SELECT coalesce(max(seq), 0) AS count FROM sqlite_sequence WHERE name = 'fact'"),
        );
        if (highest >= sequence) return;
        db.run("DELETE FROM sqlite_sequence WHERE name = 'fact'");
        db.run("INSERT INTO sqlite_sequence (name, seq) VALUES ('fact', ?)", sequence);
      }),
    prune: (nowMs, counted) =>
      db.transaction(() => {
        db.run(
          "DELETE FROM fact WHERE at_ms < ? AND (counted_in <> ? OR sequence <= ?)",
          nowMs - FACT_LIFE_MS,
          counted.countIn,
          counted.sequence,
        );
        return db.run("DELETE FROM run WHERE expires_at_ms <= ? AND status <> 'in_progress'", nowMs);
      }),
  };
}

const NO_TOOL = { server: "", tool: "" } as const;

function insertFact(
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

function insertEvents(db: Database, runId: string, events: readonly StreamEvent[]): void {
  for (const event of events)
    db.run(
      "INSERT INTO event (run_id, sequence, payload) VALUES (?, ?, ?)",
      runId,
      event.sequence_number,
      JSON.stringify(event),
    );
}

function insertCall(db: Database, runId: string, call: CallRecord): void {
  db.run(
    `INSERT INTO call (run_id, turn, position, call_id, item_id, kind, name, server, tool, arguments, state, result)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    runId,
    call.turn,
    call.position,
    call.callId,
    call.itemId,
    call.kind,
    call.name,
    call.server,
    call.tool,
    call.arguments,
    call.state,
    call.result,
  );
}

/** Refuses a writer that no longer owns the run, and any write after its end. */
function fence(db: Database, ref: RunRef): void {
  const row = db.get("SELECT 1 FROM run WHERE id = ? AND epoch = ? AND status = 'in_progress'", ref.id, ref.epoch);
  if (row === undefined) throw new FencedError(ref);
}

function optional<T>(row: unknown, parse: (row: unknown) => T): T | undefined {
  return row === undefined ? undefined : parse(row);
}
