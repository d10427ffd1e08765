import { describe, expect, it } from "vitest";
import {
  applyAdmission,
  applyVerdict,
  FAULTS_MAX,
  gradeOf,
  type Health,
  HEALTHY,
  isAvailable,
  OPEN_MAX_MS,
  type Verdict,
  waitOf,
} from "./breaker.ts";

const FAULT: Verdict = { kind: "fault" };
const WHOLE: Verdict = { kind: "whole" };
const BEGUN: Verdict = { kind: "begun" };
const pause = (waitMs: number): Verdict => ({ kind: "pause", waitMs, isRateLimit: true });

/** Verdicts of requests that were each admitted just before. */
function after(verdicts: readonly Verdict[], health: Health = HEALTHY, nowMs = 0): Health {
  return verdicts.reduce((now, verdict) => applyVerdict(now, { verdict, epoch: now.epoch, nowMs }), health);
}

function faults(count: number): Verdict[] {
  return Array.from({ length: count }, () => FAULT);
}

describe("a closed breaker", () => {
  it("opens for ten seconds at the fifth fault in a row", () => {
    expect(isAvailable(after(faults(FAULTS_MAX - 1)), 0)).toBe(true);
    const open = after(faults(FAULTS_MAX));
    expect([isAvailable(open, 9_999), isAvailable(open, 10_000)]).toEqual([false, true]);
    expect([waitOf(open, 0), gradeOf(open, 0), gradeOf(open, 10_000)]).toEqual([10_000, 2, 1]);
  });

  it("counts faults in a row alone: an answer that was whole begins anew, one that has only begun does not", () => {
    expect(after([...faults(4), WHOLE, ...faults(4)]).openUntilMs).toBe(0);
    expect(after([...faults(4), BEGUN, FAULT]).openUntilMs).toBe(10_000);
  });

  it("does not take being told to wait for a fault, and needs no probe after it", () => {
    const paused = after([...faults(4), pause(2_000), pause(2_000)]);
    expect([
      isAvailable(paused, 1_999),
      isAvailable(paused, 2_000),
      gradeOf(paused, 0),
      gradeOf(paused, 2_000),
    ]).toEqual([false, true, 1, 0]);
    expect(applyAdmission(paused)).toBe(paused);
  });

  it("keeps the longer of two waits, five minutes at most", () => {
    expect(after([pause(2_000), pause(500)]).pausedUntilMs).toBe(2_000);
    expect(after([pause(86_400_000)]).pausedUntilMs).toBe(OPEN_MAX_MS);
  });

  it("is the same object after an answer that says nothing new", () => {
    expect(after([BEGUN, WHOLE, { kind: "none" }])).toBe(HEALTHY);
  });
});

describe("a half-open breaker", () => {
  const open = after(faults(FAULTS_MAX));
  const probing = applyAdmission(open);

  it("lets one request through, and no second one before its verdict", () => {
    expect(isAvailable(probing, 10_000)).toBe(false);
    expect(isAvailable(after([{ kind: "none" }], probing), 10_000)).toBe(true);
  });

  it("closes when the probe's answer begins, and opens at the first fault after it, for longer", () => {
    const closed = after([BEGUN], probing, 10_000);
    expect([isAvailable(closed, 10_000), gradeOf(closed, 10_000)]).toEqual([true, 0]);
    expect(after([FAULT], closed, 10_000).openUntilMs).toBe(30_000);
    expect(after([WHOLE, FAULT], closed, 10_000).openUntilMs).toBe(0);
  });

  it.each([["whole"], ["begun"]] as const)("closes when the answer is %s", (kind) => {
    expect(isAvailable(after([{ kind }], probing, 10_000), 10_000)).toBe(true);
  });

  it("closes when it is only told to wait", () => {
    const paused = after([pause(1_000)], probing, 10_000);
    expect([paused.openUntilMs, isAvailable(paused, 10_999), isAvailable(paused, 11_000)]).toEqual([0, false, true]);
  });

  it("doubles its time at each probe that fails, to five minutes", () => {
    let health = open;
    const times: number[] = [];
    for (let probe = 0; probe < 7; probe += 1) {
      const nowMs = health.openUntilMs;
      health = after([FAULT], applyAdmission(health), nowMs);
      times.push(health.openUntilMs - nowMs);
    }
    expect(times).toEqual([20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
  });

  it("hears no verdict of a request that was sent before it opened", () => {
    for (const verdict of [FAULT, WHOLE, BEGUN, { kind: "none" } as const])
      expect(applyVerdict(probing, { verdict, epoch: 0, nowMs: 10_000 })).toBe(probing);
    // A wait is a wait, whoever was told.
    expect(applyVerdict(probing, { verdict: pause(700), epoch: 0, nowMs: 10_000 })).toMatchObject({
      pausedUntilMs: 10_700,
      isProbing: true,
    });
  });
});
