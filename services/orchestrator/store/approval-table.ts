import type { Database } from "./database.ts";
import { type AskedApproval, type CallRef, ClaimedError, type Journal, type RunRef } from "./journal.ts";
import { toApproval, toCall, toCount } from "./rows.ts";
import { fence, insertEvents } from "./writes.ts";

type ApprovalMethods = Pick<Journal, "parkCall" | "approval" | "settleApproval" | "approvalsWaiting" | "call">;

/** What people are asked, and which call has used their answer. */
export function approvalMethods(db: Database): ApprovalMethods {
  return {
    parkCall: (ref, call, { asked, event }) =>
      db.transaction(() => {
        fence(db, ref);
        insertApproval(db, asked);
        db.run(
          "UPDATE call SET state = 'waiting', approval = ? WHERE run_id = ? AND turn = ? AND position = ?",
          asked.name,
          ref.id,
          call.turn,
          call.position,
        );
        if (event) insertEvents(db, ref.id, [event]);
      }),
    approval(name) {
      const row = db.get("SELECT * FROM approval WHERE name = ?", name);
      return row === undefined ? undefined : toApproval(row);
    },
    call({ id, turn, position }) {
      const row = db.get("SELECT * FROM call WHERE run_id = ? AND turn = ? AND position = ?", id, turn, position);
      return row === undefined ? undefined : toCall(row);
    },
    settleApproval: (name, outcome) =>
      db.run("UPDATE approval SET outcome = ? WHERE name = ? AND outcome IS NULL", outcome, name) > 0,
    approvalsWaiting: (nowMs) =>
      toCount(db.get("SELECT count(*) AS count FROM approval WHERE outcome IS NULL AND expires_at_ms > ?", nowMs)),
  };
}

/** One call uses an approval, in the transaction that starts it. Throws ClaimedError when another has. */
export function claimApproval(db: Database, name: string, by: RunRef & CallRef): void {
  const claimed = db.run(
    `UPDATE approval SET claim_run = ?, claim_epoch = ?, claim_turn = ?, claim_position = ?
       WHERE name = ? AND claim_run IS NULL`,
    by.id,
    by.epoch,
    by.turn,
    by.position,
    name,
  );
  if (claimed !== 1) throw new ClaimedError(name);
}

/** Gives a claim back: the call never left. */
export function unclaimApproval(db: Database, name: string): void {
  db.run(
    `UPDATE approval SET claim_run = NULL, claim_epoch = NULL, claim_turn = NULL, claim_position = NULL WHERE name = ?`,
    name,
  );
}

/** A claim is kept as long as any call could ask for it again. */
export function pruneApprovals(db: Database, nowMs: number): void {
  db.run(
    `DELETE FROM approval WHERE expires_at_ms < ?
       AND NOT EXISTS (SELECT 1 FROM call WHERE call.approval = approval.name)`,
    nowMs,
  );
}

function insertApproval(db: Database, asked: AskedApproval): void {
  db.run(
    `INSERT INTO approval (name, uid, digest, run_id, call_id, rule, asked_at_ms, expires_at_ms)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`,
    asked.name,
    asked.uid,
    asked.digest,
    asked.runId,
    asked.callId,
    asked.rule,
    asked.askedAtMs,
    asked.expiresAtMs,
  );
}
