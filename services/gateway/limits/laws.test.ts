import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCounters } from "#runtime/counters.ts";
import { createHolds } from "#runtime/holds.ts";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { createAuditLog } from "../telemetry/audit-log.ts";
import { createBooks } from "./books.ts";
import { withinLimits } from "./limit.ts";
import { createRateLimiter, type RateSubjects } from "../rates/limiter.ts";

const UP_TO = 100n;
const PER_MINUTE = 1_000_000;
const ANN: RateSubjects = { Key: undefined, Caller: "ann", Tenant: undefined, Agent: "agent" };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "laws-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Call {
  readonly cap: number;
  /** Tokens that come with each part of the answer; no more than the cap in all. */
  readonly parts: readonly number[];
  /** The await at which the client leaves; beyond the last: it stays. */
  readonly leavesAt: number;
}

/** One life of the process over the counter file, with all that is only in memory. */
function openLife(file: string) {
  const counters = openCounters({ file, dimensions: ["output_tokens"], bootId: "boot" });
  let isDead = false;
  const meter = {
    stage: counters.stage,
    commit(): void {
      if (isDead) throw new Error("Cannot write as the process is dead");
      counters.commit();
    },
  };
  const holds = createHolds({
    total: counters.total,
    epoch: counters.epoch,
    control: () => ({ leases: [{ dimension: "output_tokens", upTo: `${UP_TO}` }] }),
    monotonicMs: () => 0,
  });
  const limiter = createRateLimiter();
  limiter.setRates([{ limit: "t", unit: "tokens", per: "Caller", perMinute: PER_MINUTE, pods: 1, isShadow: false }]);
  const audit = createAuditLog({ write: () => {} }, { now: () => 0 });
  const books = createBooks({ meter, audit, clock: createFakeClock(), inFlight: () => 0 });
  return { counters, holds, limiter, books, die: () => void (isDead = true) };
}
type Life = ReturnType<typeof openLife>;

interface Tally {
  /** What the model sent to calls that were let in. */
  sent: number;
  /** What was answered after it was counted. */
  answered: number;
  /** Ends of requests by call. */
  readonly ends: number[];
}

/** A call on its way: every await is one of the scheduler's, so it may be overtaken, left or killed there. */
async function play(life: Life, scheduler: fc.Scheduler, run: { call: Call; id: number; tally: Tally }): Promise<void> {
  const { call, id, tally } = run;
  const rate = life.limiter.admit(ANN, { requests: 1, tokens: call.cap }, 0);
  let came = 0;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      const answer = (refusal: unknown): void => {
        tally.ends[id] = (tally.ends[id] ?? 0) + 1;
        if (refusal === undefined) tally.answered += came;
        resolve();
      };
      life.books.close({ usage: { output_tokens: BigInt(came) }, record() {}, answer });
    });
  try {
    await withinLimits({ live: life }, { output_tokens: BigInt(call.cap) }, async () => {
      for (const [at, tokens] of call.parts.entries()) {
        await scheduler.schedule(Promise.resolve(), `call ${id} await ${at}`);
        if (at === call.leavesAt) break;
        came += tokens;
        tally.sent += tokens;
      }
      await close();
      if (call.leavesAt < call.parts.length) throw new Error("The client has left");
    });
  } finally {
    rate?.settle(came);
  }
}

/** Steps until all have ended, or so many steps, then the process is gone. */
async function step(life: Life, scheduler: fc.Scheduler, run: { steps: number; isOver: () => boolean }): Promise<void> {
  for (let left = run.steps; left > 0 && !run.isOver(); left -= 1) {
    if (scheduler.count() > 0) await scheduler.waitOne();
    if (left % 3 === 0 || scheduler.count() === 0) await nextTurn();
    const { held = "0" } = life.holds.echo()["output_tokens"] ?? {};
    const counted = life.counters.total("output_tokens");
    expect(counted <= UP_TO).toBe(true);
    expect(BigInt(held) >= 0n).toBe(true);
  }
}

const callArbitrary = fc
  .record({
    parts: fc.array(fc.integer({ min: 0, max: 15 }), { minLength: 1, maxLength: 4 }),
    slack: fc.integer({ min: 0, max: 20 }),
    leavesAt: fc.integer({ min: 0, max: 8 }),
  })
  .map(({ parts, slack, leavesAt }) => ({ parts, leavesAt, cap: parts.reduce((a, b) => a + b, slack) }));
const waves = fc.array(callArbitrary, { minLength: 1, maxLength: 10 });

/** Begins all calls at once. */
function begin(life: Life, scheduler: fc.Scheduler, run: { calls: readonly Call[]; tally: Tally }): () => boolean {
  let open = run.calls.length;
  const end = (): void => void (open -= 1);
  for (const [id, call] of run.calls.entries())
    void play(life, scheduler, { call, id, tally: run.tally }).then(end, end);
  return () => open === 0;
}

describe("laws of limits, with a client that leaves and a process that dies at any await", () => {
  it("counted + held <= upTo, no hold outlives its request, one end each, counted = sent, rates take what was used", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), waves, async (scheduler, calls) => {
        const life = openLife(join(mkdtempSync(join(folder, "run-")), "counters"));
        const tally: Tally = { sent: 0, answered: 0, ends: [] };
        const isOver = begin(life, scheduler, { calls, tally });
        const wanted = calls.reduce((sum, { cap }) => sum + cap, 0);
        const held = BigInt(life.holds.echo()["output_tokens"]?.held ?? "0");
        if (wanted <= Number(UP_TO)) expect(held).toBe(BigInt(wanted));
        await step(life, scheduler, { steps: 500, isOver });
        expect(isOver()).toBe(true);
        const all = Number(UP_TO);
        expect(tally.ends.every((ends) => ends === 1)).toBe(true);
        expect(Number(life.counters.total("output_tokens"))).toBe(tally.sent);
        expect(tally.answered).toBe(tally.sent);
        // All that is left can be held again: nothing of the ended calls is.
        expect(life.holds.hold({ output_tokens: BigInt(all - tally.sent) }).ok).toBe(true);
        const left = life.limiter.admit(ANN, { requests: 1, tokens: 1 }, 0)?.headers["x-ratelimit-remaining-tokens"];
        expect(left).toBe(String(PER_MINUTE - tally.sent - 1));
        life.counters.close();
      }),
      { numRuns: 150 },
    );
  });

  it("the same over a crash: no ceiling is passed by the next life, and what was answered is counted", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.scheduler(), fc.tuple(waves, waves, fc.nat(30)), async (s1, s2, script) => {
        const [before, after, crashAt] = script;
        const file = join(mkdtempSync(join(folder, "run-")), "counters");
        const first = openLife(file);
        const tally: Tally = { sent: 0, answered: 0, ends: [] };
        await step(first, s1, { steps: crashAt, isOver: begin(first, s1, { calls: before, tally }) });
        first.die();
        const answered = tally.answered;
        const sent = tally.sent;
        const second = openLife(file);
        const stored = Number(second.counters.total("output_tokens"));
        expect(stored).toBeGreaterThanOrEqual(answered);
        expect(stored).toBeLessThanOrEqual(sent);
        const next: Tally = { sent: 0, answered: 0, ends: [] };
        const isOver = begin(second, s2, { calls: after, tally: next });
        await step(second, s2, { steps: 500, isOver });
        expect(isOver()).toBe(true);
        expect(Number(second.counters.total("output_tokens"))).toBe(stored + next.sent);
        expect(stored + next.sent).toBeLessThanOrEqual(Number(UP_TO));
        expect(second.holds.hold({ output_tokens: UP_TO - BigInt(stored + next.sent) }).ok).toBe(true);
        first.counters.close();
        second.counters.close();
      }),
      { numRuns: 150 },
    );
  });
});
