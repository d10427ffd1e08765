import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRateLimiter, type RateHold, RateRefusal, type RateSubjects } from "./limiter.ts";
import type { RateSpec } from "./meter.ts";

const AGENT: RateSpec = { limit: "all", unit: "requests", per: "Agent", perMinute: 60, pods: 1, isShadow: false };
const CALLER: RateSpec = { limit: "each", unit: "tokens", per: "Caller", perMinute: 600, pods: 1, isShadow: false };

function by(caller: string, key?: string): RateSubjects {
  return { Key: key, Caller: caller, Tenant: undefined, Agent: "agent" };
}

type Limiter = ReturnType<typeof createRateLimiter>;
const one = { requests: 1, tokens: 0 };

/** The hold, or the wait that the refusal names. */
function ask(limiter: Limiter, call: Parameters<Limiter["admit"]>): RateHold | number | undefined {
  try {
    return limiter.admit(...call);
  } catch (error) {
    if (error instanceof RateRefusal) return error.retryAfterMs ?? -1;
    throw error;
  }
}

function limiterOf(...specs: readonly RateSpec[]): Limiter {
  const limiter = createRateLimiter();
  limiter.setRates(specs);
  return limiter;
}

/** How many single requests are let in at once. */
function burst(limiter: Limiter, subjects: RateSubjects, nowMs = 0): number {
  let admitted = 0;
  while (admitted < 1000 && typeof ask(limiter, [subjects, one, nowMs]) === "object") admitted += 1;
  return admitted;
}

describe("a rate limiter", () => {
  it("lets in what the rate allows, tells what is left, and how long to wait", () => {
    const limiter = limiterOf(AGENT);
    const hold = limiter.admit(by("ann"), one, 0);
    expect(hold?.headers).toEqual({
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "59",
      "x-ratelimit-reset-requests": "1s",
    });
    expect(burst(limiter, by("bob"))).toBe(59);
    expect(ask(limiter, [by("ann"), one, 400])).toBe(600);
    expect(burst(limiter, by("ann"), 2000)).toBe(2);
  });

  it("counts each subject apart, and nobody who is none", () => {
    const limiter = limiterOf({ ...AGENT, per: "Key", perMinute: 2 });
    expect(burst(limiter, by("ann", "one"))).toBe(2);
    expect(burst(limiter, by("ann", "two"))).toBe(2);
    expect(limiter.admit(by("ann"), one, 0)).toBeUndefined();
  });

  it("takes from all limits or from none", () => {
    const limiter = limiterOf(AGENT, { ...AGENT, limit: "key", per: "Key", perMinute: 1 });
    expect(burst(limiter, by("ann", "one"))).toBe(1);
    for (let call = 0; call < 100; call += 1) expect(ask(limiter, [by("ann", "one"), one, 0])).toBe(60_000);
    expect(burst(limiter, by("ann"))).toBe(59);
  });

  it("gives back what was not used, and takes what was used beyond", () => {
    const limiter = limiterOf(CALLER);
    const call = { requests: 1, tokens: 500 };
    const hold = limiter.admit(by("ann"), call, 0);
    expect(ask(limiter, [by("ann"), call, 0])).toBe(40_000);
    hold?.settle(100);
    hold?.settle(0);
    expect(limiter.admit(by("ann"), call, 0)?.headers["x-ratelimit-remaining-tokens"]).toBe("0");
    const long = limiter.admit(by("bob"), call, 0);
    long?.settle(700);
    expect(ask(limiter, [by("bob"), { requests: 1, tokens: 1 }, 0])).toBe(10_100);
  });

  it("lets what is larger than a whole minute in when the bucket is full, and has it pay afterwards", () => {
    const limiter = limiterOf(CALLER);
    const large = { requests: 1, tokens: 900 };
    expect(ask(limiter, [by("ann"), large, 0])).toMatchObject({ shadowed: [] });
    expect(ask(limiter, [by("ann"), { requests: 1, tokens: 1 }, 0])).toBe(30_100);
    expect(ask(limiter, [by("ann"), large, 89_999])).toBe(1);
    expect(ask(limiter, [by("ann"), large, 90_000])).toMatchObject({ shadowed: [] });
  });

  it("only notes in shadow mode, and takes no more than it would if it were enforced", () => {
    const shadow = { ...AGENT, perMinute: 2, isShadow: true };
    const limiter = limiterOf(shadow);
    const noted = Array.from({ length: 5 }, () => limiter.admit(by("ann"), one, 0)?.shadowed.length);
    expect(noted).toEqual([0, 0, 1, 1, 1]);
    expect(limiter.admit(by("ann"), one, 30_000)).toMatchObject({ shadowed: [], headers: {} });
  });

  it("says when a limit is used to 80 %", () => {
    const limiter = limiterOf({ ...AGENT, perMinute: 10 });
    const near = Array.from({ length: 10 }, () => limiter.admit(by("ann"), one, 0)?.near.length);
    expect(near).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
  });

  it("starts nobody afresh when a rate changes, its pods or its mode", () => {
    const limiter = limiterOf(AGENT);
    expect(burst(limiter, by("ann"))).toBe(60);
    for (const change of [{ perMinute: 600 }, { pods: 2 }, { isShadow: true }, {}]) {
      limiter.setRates([{ ...AGENT, ...change }]);
      if (!("isShadow" in change)) expect(burst(limiter, by("ann"))).toBe(0);
    }
    limiter.setRates([{ ...AGENT, perMinute: 600 }]);
    expect(burst(limiter, by("ann"), 1000)).toBe(10);
  });
});

const calls = fc.array(
  fc.record({
    caller: fc.constantFrom("ann", "bob", "eve"),
    tokens: fc.integer({ min: 0, max: 400 }),
    used: fc.integer({ min: 0, max: 800 }),
    waitMs: fc.constantFrom(0, 0, 0, 20, 1000, 30_000),
    settles: fc.constantFrom("Now", "Later", "Twice"),
  }),
  { maxLength: 60 },
);

describe("laws of a rate limiter, whatever is asked and however it ends", () => {
  it("never lets in more requests than burst and time allow", () => {
    fc.assert(
      fc.property(calls, (asked) => {
        const limiter = limiterOf({ ...AGENT, perMinute: 6 }, CALLER);
        const admitted: number[] = [];
        let nowMs = 0;
        for (const { caller, tokens, used, waitMs } of asked) {
          nowMs += waitMs;
          const answer = ask(limiter, [by(caller), { requests: 1, tokens }, nowMs]);
          if (typeof answer !== "object") continue;
          admitted.push(nowMs);
          answer.settle(used);
        }
        for (const [first, from] of admitted.entries())
          for (const [more, at] of admitted.slice(first).entries())
            expect(more + 1).toBeLessThanOrEqual(6 + (at - from) / 10_000);
      }),
    );
  });

  it("has taken exactly what was used, once all have ended", () => {
    fc.assert(
      fc.property(calls, (asked) => {
        const limiter = limiterOf({ ...CALLER, perMinute: 1_000_000 });
        const open: (() => void)[] = [];
        const spent = new Map<string, number>();
        for (const { caller, tokens, used, settles } of asked) {
          const hold = limiter.admit(by(caller), { requests: 0, tokens }, 0);
          if (hold === undefined) continue;
          spent.set(caller, (spent.get(caller) ?? 0) + used);
          const settle = (): void => hold.settle(used);
          if (settles === "Later") open.push(settle);
          else settle();
          if (settles === "Twice") settle();
        }
        for (const settle of open) settle();
        for (const [caller, used] of spent) {
          const left = limiter.admit(by(caller), { requests: 0, tokens: 1 }, 0)?.headers[
            "x-ratelimit-remaining-tokens"
          ];
          expect(left).toBe(String(1_000_000 - used - 1));
        }
      }),
    );
  });

  it("lets in after the wait that it named", () => {
    fc.assert(
      fc.property(calls, (asked) => {
        const limiter = limiterOf({ ...AGENT, perMinute: 6 }, CALLER);
        let nowMs = 0;
        for (const { caller, tokens, waitMs } of asked) {
          nowMs += waitMs;
          const need = { requests: 1, tokens };
          const wait = ask(limiter, [by(caller), need, nowMs]);
          if (typeof wait !== "number") continue;
          expect(ask(limiter, [by(caller), need, nowMs + wait - 1])).toBe(1);
          nowMs += wait;
          expect(typeof ask(limiter, [by(caller), need, nowMs])).toBe("object");
        }
      }),
    );
  });
});
