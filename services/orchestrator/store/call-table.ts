import { addUsage } from "../responses/items.ts";
import type { Database } from "./database.ts";
import type { CallRecord, CallRef, Journal } from "./journal.ts";
import { toCall, toTurn, toUsage } from "./rows.ts";
import { claimApproval, unclaimApproval } from "./approval-table.ts";
import { deleteFact, fence, insertEvents, insertFact, NO_TOOL } from "./writes.ts";

type CallMethods = Pick<Journal, "turns" | "appendTurn" | "startCall" | "undoStart" | "endCall">;

const CALL = "run_id = ? AND turn = ? AND position = ?";

/** Turns of the model and the calls that it planned. */
export function callMethods(db: Database): CallMethods {
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
        const where = [ref.id, call.turn, call.position];
        const { key, startedAtMs, approval } = start;
        db.run(
          `UPDATE call SET state = 'started', key = ?, started_at_ms = ?, approval = ? WHERE ${CALL}`,
          key,
          startedAtMs,
          approval,
          ...where,
        );
        const { server, tool } = toCall(db.get(`SELECT * FROM call WHERE ${CALL}`, ...where));
        if (approval !== null) claimApproval(db, approval, { ...ref, turn: call.turn, position: call.position });
        return insertFact(db, {
          runId: ref.id,
          countIn: start.countIn,
          dimension: "tool_action",
          amount: 1,
          server,
          tool,
          atMs: startedAtMs,
        });
      }),
    undoStart: (ref, call, fact) =>
      db.transaction(() => {
        fence(db, ref);
        takeBack(db, ref.id, call);
        deleteFact(db, fact);
      }),
    endCall: (ref, call, end) =>
      db.transaction(() => {
        fence(db, ref);
        const where = [ref.id, call.turn, call.position];
        db.run(`UPDATE call SET state = ?, result = ? WHERE ${CALL}`, end.state, end.result, ...where);
        insertEvents(db, ref.id, [end.event]);
        if (end.usage === undefined) return;
        const { amounts, ...place } = end.usage;
        for (const amount of amounts) insertFact(db, { ...NO_TOOL, ...place, ...amount, runId: ref.id });
      }),
  };
}

/** A call that never left waits again, or is as it was planned. */
function takeBack(db: Database, runId: string, { turn, position }: CallRef): void {
  const { approval } = toCall(db.get(`SELECT * FROM call WHERE ${CALL}`, runId, turn, position));
  if (approval !== null) unclaimApproval(db, approval);
  const state = approval === null ? "planned" : "waiting";
  db.run(`UPDATE call SET key = NULL, started_at_ms = NULL, state = ? WHERE ${CALL}`, state, runId, turn, position);
}

function insertCall(db: Database, runId: string, call: CallRecord): void {
  db.run(
    `INSERT INTO call (run_id, turn, position, call_id, item_id, kind, name, server, tool, arguments, state, result, approval)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
    call.approval,
  );
}
