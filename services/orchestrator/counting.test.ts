import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Counters, openCounters } from "#runtime/counters.ts";
import { createLogger } from "#runtime/log.ts";
import { COUNTED_DIMENSIONS, createFactCounter, type FactCounter } from "./counting.ts";
import { NO_USAGE } from "./responses/items.ts";
import { createRequestSchema } from "./responses/request.ts";
import type { Journal } from "./store/journal.ts";
import { openSqliteJournal } from "./store/sqlite.ts";

const log = createLogger({ component: "orchestrator", level: "silent" });
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "counting-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

interface Process {
  readonly journal: Journal;
  readonly counters: Counters;
  readonly counter: FactCounter;
  end(): void;
}

function startProcess(name: string, boot = "boot-1"): Process {
  const journal = openSqliteJournal(join(directory, `${name}.db`));
  const file = join(directory, `${name}.counters`);
  const counters = openCounters({ file, dimensions: COUNTED_DIMENSIONS, bootId: boot });
  const counter = createFactCounter(counters, journal, log);
  counter.count();
  const end = (): void => {
    journal.close();
    counters.close();
  };
  return { journal, counters, counter, end };
}

let serial = 0;

/** One completed run: a fact in the journal, not yet counted. */
function complete({ journal, counter }: Process): void {
  serial += 1;
  const event = { type: "x", sequence_number: 0 };
  const request = createRequestSchema.parse({ input: "x" });
  const run = { id: `resp_${serial}`, owner: "o", principal: "p", caller: "c", idempotencyKey: null };
  const record = journal.openRun({ ...run, requestDigest: "", request, model: "m", createdAtMs: 1 }, event);
  const end = {
    status: "completed",
    incompleteReason: null,
    error: null,
    completedAtMs: 2,
    expiresAtMs: null,
  } as const;
  journal.endRun(record, { ...end, countIn: counter.countIn }, { type: "y", sequence_number: 1 });
}

/** One call of a tool that used `amount`: its start and its end are in the journal, not yet counted. */
function call({ journal, counter }: Process, amount: number): void {
  serial += 1;
  const request = createRequestSchema.parse({ input: "x" });
  const run = { id: `resp_${serial}`, owner: "o", principal: "p", caller: "c", idempotencyKey: null };
  const record = journal.openRun(
    { ...run, requestDigest: "", request, model: "m", createdAtMs: 1 },
    { type: "x", sequence_number: 0 },
  );
  const place = { turn: 0, position: 0, callId: "c", itemId: "i" };
  const tool = { kind: "Tool", name: "read", server: "s", tool: "read", arguments: "{}" } as const;
  const planned = { ...place, ...tool, state: "planned", result: null, approval: null } as const;
  journal.appendTurn(record, { number: 0, text: "", finish: "tool_calls", usage: NO_USAGE, calls: [planned] }, []);
  const at = { countIn: counter.countIn, atMs: 2 };
  const start = { key: "k", startedAtMs: 1, countIn: counter.countIn, approval: null };
  journal.startCall(record, planned, start);
  const used = { ...at, amounts: [{ dimension: "documents_analyzed", amount }] };
  const event = { type: "y", sequence_number: 1 };
  journal.endCall(record, planned, { state: "done", result: "", event, usage: used });
}

describe("createFactCounter", () => {
  it("repairs at start what a crash left between journal and counter", () => {
    const first = startProcess("a");
    complete(first);
    first.counter.count();
    complete(first);
    first.end();
    const second = startProcess("a");
    expect(second.counters.total("workflow_completed")).toBe(2n);
    expect(second.counter.count()).toBe(0);
    second.end();
  });

  it("counts facts of another boot nowhere: they may have been published", () => {
    const first = startProcess("a");
    complete(first);
    first.counter.count();
    complete(first);
    first.end();
    const second = startProcess("a", "boot-2");
    expect(second.counters.total("workflow_completed")).toBe(0n);
    complete(second);
    second.counter.count();
    expect(second.counters.total("workflow_completed")).toBe(1n);
    second.end();
  });

  it("begins anew in another pod with the same volume", () => {
    const first = startProcess("a");
    complete(first);
    first.counter.count();
    first.end();
    rmSync(join(directory, "a.counters"));
    const second = startProcess("a");
    expect(second.counters.total("workflow_completed")).toBe(0n);
    second.end();
  });

  it("has room for an agent's own dimensions up to a bound, and always for those that it counts", () => {
    const world = startProcess("a");
    for (let index = 0; index < 28; index += 1) {
      expect(world.counter.hasRoom(`pages_${index}`)).toBe(true);
      world.counters.count({ [`pages_${index}`]: 1n });
    }
    expect([world.counter.hasRoom("pages_28"), world.counter.hasRoom("pages_27")]).toEqual([false, true]);
    world.end();
  });

  it("says that metering is unavailable when the file cannot be written, and catches up later", () => {
    const world = startProcess("a");
    complete(world);
    const broken = { ...world.counters, journalSequence: 0, count: () => closeSync(openSync("/nonexistent/x", "r")) };
    const counter = createFactCounter(broken, world.journal, log);
    expect(() => counter.count()).toThrow("Cannot answer as usage cannot be counted");
    expect(counter.problem()).toBe("Cannot write the counter file");
    expect(world.counter.count()).toBe(1);
    world.end();
  });

  it("counts each fact once, whatever crashes between and however old the counter file is", () => {
    const step = fc.constantFrom("complete", "call", "count", "crash", "lose the last write");
    let name = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        name += 1;
        const file = join(directory, `p${name}.counters`);
        let world = startProcess(`p${name}`);
        let completed = 0n;
        let used = 0n;
        let older = readFileSync(file);
        for (const next of steps) {
          if (next === "complete") {
            complete(world);
            completed += 1n;
          }
          if (next === "call") {
            const amount = 1 + (serial % 7);
            call(world, amount);
            used += BigInt(amount);
          }
          if (next === "count") {
            older = readFileSync(file);
            world.counter.count();
          }
          if (next === "crash" || next === "lose the last write") {
            world.end();
            if (next === "lose the last write") writeFileSync(file, older);
            world = startProcess(`p${name}`);
            older = readFileSync(file);
          }
        }
        world.counter.count();
        expect(world.counters.total("workflow_completed")).toBe(completed);
        expect(world.counters.total("documents_analyzed")).toBe(used);
        world.end();
      }),
      { numRuns: 25 },
    );
  });
});
