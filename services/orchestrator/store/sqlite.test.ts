import { mkdtempSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NO_USAGE } from "../responses/items.ts";
import { createRequestSchema } from "../responses/request.ts";
import {
  type AskedApproval,
  type CallRecord,
  ClaimedError,
  FencedError,
  type Journal,
  type NewRun,
  type RunEnd,
} from "./journal.ts";
import { JOURNAL_TABLES } from "./schema.ts";
import { openSqliteJournal } from "./sqlite.ts";

let directory: string;
let file: string;
let journal: Journal;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "journal-"));
  file = join(directory, "journal.db");
  journal = openSqliteJournal(file);
});
afterEach(() => {
  journal.close();
  rmSync(directory, { recursive: true });
});

const run: NewRun = {
  id: "resp_1",
  owner: "one",
  principal: "alice",
  caller: "gateway",
  idempotencyKey: "k",
  requestDigest: "d",
  request: createRequestSchema.parse({ input: "Hello" }),
  model: "desk",
  createdAtMs: 1000,
};
const call: CallRecord = {
  turn: 0,
  position: 0,
  callId: "call_1",
  itemId: "mcp_1",
  kind: "Tool",
  name: "refund_order",
  server: "orders",
  tool: "refund_order",
  arguments: "{}",
  state: "planned",
  result: null,
  approval: null,
};
const usage = { ...NO_USAGE, input_tokens: 5, output_tokens: 2, total_tokens: 7 };
const turn = { number: 0, text: "", finish: "tool_calls", usage, calls: [call] } as const;
const end: RunEnd = {
  status: "completed",
  incompleteReason: null,
  error: null,
  completedAtMs: 2000,
  expiresAtMs: 9000,
  countIn: "e1",
};
const start = { key: "resp_1:call_1", startedAtMs: 1500, countIn: "e1", approval: null };

function event(sequence: number): { type: string; sequence_number: number } {
  return { type: "response.test", sequence_number: sequence };
}

/** A run with one started call. */
function begin(): { id: string; epoch: number } {
  const record = journal.openRun(run, event(0));
  journal.appendTurn(record, turn, [event(1)]);
  journal.startCall(record, call, start);
  return record;
}

describe("openSqliteJournal", () => {
  it("gives back what another process wrote", () => {
    const record = begin();
    journal.close();
    journal = openSqliteJournal(file);
    expect(journal.unfinished()).toEqual([{ ...record, usage }]);
    expect(journal.turns(run.id)).toEqual([{ ...turn, calls: [{ ...call, state: "started" }] }]);
    expect(journal.nextSequence(run.id)).toBe(2);
    expect(journal.runByKey("alice", "k")?.id).toBe("resp_1");
    expect(journal.runByKey("bob", "k")).toBeUndefined();
  });

  it("refuses every write of an owner that was replaced", () => {
    const old = begin();
    const owned = journal.claim(run.id, "two");
    expect(owned).toMatchObject({ epoch: old.epoch + 1, owner: "two" });
    const result = { state: "done", result: "", event: event(2) } as const;
    for (const write of [
      () => journal.appendTurn(old, { ...turn, number: 1, calls: [] }, []),
      () => journal.appendEvents(old, [event(2)]),
      () => journal.startCall(old, call, start),
      () => journal.endCall(old, call, result),
      () => journal.endRun(old, end, event(2)),
    ])
      expect(write).toThrow(FencedError);
    journal.endCall(owned, call, result);
    expect(journal.turns(run.id)[0]?.calls[0]?.state).toBe("done");
  });

  it("writes nothing of a transaction that fails", () => {
    const record = begin();
    const again = { state: "done", result: "x", event: event(1) } as const;
    expect(() => journal.endCall(record, call, again)).toThrow();
    expect(journal.turns(run.id)[0]?.calls[0]).toMatchObject({ state: "started", result: null });
  });

  it("takes no write after the end, and no second run for a key", () => {
    const record = begin();
    journal.endRun(record, end, event(2));
    expect(() => journal.endRun(record, end, event(3))).toThrow(FencedError);
    expect(() => journal.openRun({ ...run, id: "resp_2" }, event(0))).toThrow();
    expect(journal.unfinished()).toEqual([]);
  });

  it("numbers facts in order, per life of the counters, and keeps them when the response is deleted", () => {
    const record = begin();
    journal.endRun(record, end, event(2));
    const facts = [
      { sequence: 1, dimension: "tool_action", amount: 1 },
      { sequence: 2, dimension: "workflow_completed", amount: 1 },
    ];
    journal.removeRun(run.id);
    expect(journal.run(run.id)).toBeUndefined();
    expect(journal.factsAfter("e1", 0)).toEqual(facts);
    expect(journal.factsAfter("e1", 1)).toEqual(facts.slice(1));
    expect(journal.factsAfter("e2", 0)).toEqual([]);
    expect(journal.callsSince(1000, { server: "orders", tool: "refund_order" })).toBe(1);
    expect(journal.callsSince(1500, { server: "orders", tool: "refund_order" })).toBe(0);
  });

  it("counts with the end of a call what it used, and no limit takes that for a call", () => {
    const record = begin();
    const amounts = [{ dimension: "documents_analyzed", amount: 3 }];
    const used = { countIn: "e1", atMs: 1600, amounts };
    journal.endCall(record, call, { state: "done", result: "", event: event(2), usage: used });
    expect(journal.factsAfter("e1", 1)).toEqual([{ sequence: 2, dimension: "documents_analyzed", amount: 3 }]);
    expect(journal.callsSince(1000, { server: "orders", tool: "refund_order" })).toBe(1);
  });

  it("counts nothing of a call whose end is refused", () => {
    const old = begin();
    journal.claim(run.id, "two");
    const used = { countIn: "e1", atMs: 1600, amounts: [{ dimension: "documents_analyzed", amount: 3 }] };
    const result = { state: "done", result: "", event: event(2), usage: used } as const;
    expect(() => journal.endCall(old, call, result)).toThrow(FencedError);
    expect(journal.factsAfter("e1", 1)).toEqual([]);
  });

  it("takes a start back with its fact, and never gives the number again", () => {
    const record = journal.openRun(run, event(0));
    journal.appendTurn(record, turn, [event(1)]);
    const fact = journal.startCall(record, call, start);
    journal.undoStart(record, call, fact);
    expect(journal.factsAfter("e1", 0)).toEqual([]);
    expect(journal.callsStarted(run.id)).toBe(0);
    expect(journal.callsSince(0, { server: "orders", tool: "refund_order" })).toBe(0);
    expect(journal.turns(run.id)[0]?.calls[0]).toMatchObject({ state: "planned" });
    expect(journal.startCall(record, call, start)).toBe(fact + 1);
  });

  it("never numbers a fact below what the counters hold", () => {
    journal.reserveSequence(500);
    journal.reserveSequence(20);
    begin();
    expect(journal.factsAfter("e1", 0).map((fact) => fact.sequence)).toEqual([501]);
  });

  it("forgets what has expired, and facts once they are counted and old", () => {
    const record = begin();
    journal.endRun(record, end, event(2));
    expect(journal.prune(8999, { countIn: "e1", sequence: 2 })).toBe(0);
    expect(journal.prune(9000, { countIn: "e1", sequence: 1 })).toBe(1);
    expect(journal.output(run.id)).toEqual([]);
    journal.prune(1e9, { countIn: "e1", sequence: 1 });
    expect(journal.factsAfter("e1", 0).map((fact) => fact.sequence)).toEqual([2]);
  });

  it("pins the first digest of a definition until the generation rises", () => {
    const definition = { server: "orders", tool: "get_order", digest: "a", generation: 1 };
    expect(journal.pin(definition)).toBe("a");
    expect(journal.pin({ ...definition, digest: "b" })).toBe("a");
    expect(journal.pin({ ...definition, digest: "b", generation: 2 })).toBe("b");
    expect(journal.pin({ ...definition, digest: "a", generation: 1 })).toBe("b");
  });

  it("refuses a file of a newer version", () => {
    const newer = join(directory, "newer.db");
    const database = new DatabaseSync(newer);
    database.exec("PRAGMA user_version = 9");
    database.close();
    expect(() => openSqliteJournal(newer)).toThrow(
      `Cannot open ${newer} as its version must be <= 2: current value is 9`,
    );
  });

  it("opens a file of the first version, with what it holds", () => {
    const older = join(directory, "older.db");
    const database = new DatabaseSync(older);
    database.exec(`${JOURNAL_TABLES} PRAGMA user_version = 1;`);
    database.exec(
      `INSERT INTO run VALUES ('resp_0', 1, 'o', 'p', 'c', NULL, 'd', '${JSON.stringify(run.request)}', 'm', 1, NULL, NULL,
         'in_progress', NULL, NULL, '${JSON.stringify(NO_USAGE)}');
       INSERT INTO turn VALUES ('resp_0', 0, '', 'tool_calls', '${JSON.stringify(NO_USAGE)}');
       INSERT INTO call VALUES ('resp_0', 0, 0, 'c', 'i', 'Tool', 'n', 's', 't', '{}', 'planned', NULL, NULL, NULL);`,
    );
    database.close();
    const opened = openSqliteJournal(older);
    expect(opened.turns("resp_0")[0]?.calls[0]).toMatchObject({ state: "planned", approval: null });
    opened.close();
  });
});

describe("an approval in the journal", () => {
  const asked: AskedApproval = {
    name: "desk-1",
    uid: "u",
    digest: "d",
    runId: "resp_1",
    callId: "call_1",
    rule: "lane_approval",
    askedAtMs: 1000,
    expiresAtMs: 5000,
  };
  const byApproval = { ...start, approval: asked.name };

  function openRuns(...ids: readonly string[]): readonly { readonly id: string; readonly epoch: number }[] {
    return ids.map((id) => {
      const record = journal.openRun({ ...run, id, idempotencyKey: id }, event(0));
      journal.appendTurn(record, turn, [event(1)]);
      journal.parkCall(record, call, { asked, event: event(2) });
      return record;
    });
  }

  it("waits, is used by one call, and given back by one that never left", () => {
    const [one, two] = openRuns("resp_1", "resp_2");
    if (!one || !two) throw new Error("There must be two runs");
    expect(journal.turns(one.id)[0]?.calls[0]).toMatchObject({ state: "waiting", approval: asked.name });
    expect([journal.approvalsWaiting(4999), journal.approvalsWaiting(5000)]).toEqual([1, 0]);
    const fact = journal.startCall(one, call, byApproval);
    expect(journal.approval(asked.name)?.claim).toEqual({ id: one.id, epoch: 1, turn: 0, position: 0 });
    expect(() => journal.startCall(two, call, byApproval)).toThrow(ClaimedError);
    expect(journal.turns(two.id)[0]?.calls[0]).toMatchObject({ state: "waiting" });
    expect(journal.callsStarted(two.id)).toBe(0);
    journal.undoStart(one, call, fact);
    expect(journal.call({ id: one.id, turn: 0, position: 0 })).toMatchObject({ state: "waiting" });
    expect(journal.approval(asked.name)?.claim).toBeNull();
    journal.startCall(two, call, byApproval);
    expect(journal.approval(asked.name)?.claim?.id).toBe("resp_2");
  });

  it("learns its end once", () => {
    openRuns("resp_1");
    expect([journal.settleApproval("desk-1", "denied"), journal.settleApproval("desk-1", "approved")]).toEqual([
      true,
      false,
    ]);
    expect(journal.approval("desk-1")?.outcome).toBe("denied");
    expect(journal.approvalsWaiting(0)).toBe(0);
  });

  it("is kept as long as a call could ask for it, and no longer", () => {
    const [one] = openRuns("resp_1");
    if (!one) throw new Error("There must be a run");
    journal.startCall(one, call, byApproval);
    journal.endRun(one, end, event(3));
    journal.prune(8999, { countIn: "e1", sequence: 9 });
    expect(journal.approval(asked.name)?.claim).not.toBeNull();
    journal.prune(9000, { countIn: "e1", sequence: 9 });
    expect(journal.approval(asked.name)).toBeUndefined();
  });
});
