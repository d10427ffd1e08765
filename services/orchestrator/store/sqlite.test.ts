import { mkdtempSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NO_USAGE } from "../responses/items.ts";
import { createRequestSchema } from "../responses/request.ts";
import { type CallRecord, FencedError, type Journal, type NewRun, type RunEnd } from "./journal.ts";
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
      `Cannot open ${newer} as its version must be <= 1: current value is 9`,
    );
  });
});
