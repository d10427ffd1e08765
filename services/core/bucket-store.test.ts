import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBucketStore } from "./bucket-store.ts";
import { createRate, take, waitMsFor } from "./token-bucket.ts";

const RATE = createRate(60, 1);

/** Whether a unit is admitted. */
function ask(store: ReturnType<typeof createBucketStore>, key: string, nowMs: number): boolean {
  const bucket = store.of(key, nowMs);
  if (waitMsFor(1, bucket, RATE) > 0) return false;
  take(1, bucket, RATE);
  return true;
}

function askUntilRefused(store: ReturnType<typeof createBucketStore>, key: string, nowMs: number): number {
  let admitted = 0;
  while (ask(store, key, nowMs)) admitted += 1;
  return admitted;
}

describe("createBucketStore()", () => {
  it("keeps a bucket for each", () => {
    const store = createBucketStore(RATE, 10);
    expect(askUntilRefused(store, "a", 0)).toBe(60);
    expect(askUntilRefused(store, "b", 0)).toBe(60);
    expect(askUntilRefused(store, "a", 1000)).toBe(1);
    expect(store.size).toBe(2);
  });

  it("lets whoever comes new share one bucket while all are in use, and gives places free after a minute", () => {
    const store = createBucketStore(RATE, 3);
    for (const key of ["a", "b", "c"]) expect(ask(store, key, 0)).toBe(true);
    expect(askUntilRefused(store, "d", 0)).toBe(60);
    expect(askUntilRefused(store, "e", 0)).toBe(0);
    expect(askUntilRefused(store, "a", 0)).toBe(59);
    expect(store.size).toBe(3);
    // One second later b and c are full again: their places go to d and e, with the level of the shared bucket.
    expect(askUntilRefused(store, "d", 1000)).toBe(1);
    expect(askUntilRefused(store, "e", 1000)).toBe(1);
    expect(store.size).toBe(3);
    expect(askUntilRefused(store, "d", 61_000)).toBe(60);
  });

  it("forgets buckets that are full, as new ones come", () => {
    const store = createBucketStore(RATE, 1000);
    for (let user = 0; user < 500; user += 1) ask(store, `old ${user}`, 0);
    expect(store.size).toBe(500);
    for (let user = 0; user < 500; user += 1) ask(store, `new ${user}`, 60_000);
    expect(store.size).toBe(500);
    for (let user = 0; user < 250; user += 1) ask(store, `newer ${user}`, 120_000);
    expect(store.size).toBe(250);
  });

  it("law: never more than `max` are kept, and nobody gets more than burst + rate × time, however many come", () => {
    const step = fc.record({
      user: fc.integer({ min: 0, max: 7 }),
      waitMs: fc.constantFrom(0, 0, 0, 0, 100, 1000, 30_000, 60_000),
      units: fc.constantFrom(1, 1, 20, 59, 60),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4 }), fc.array(step, { maxLength: 80 }), (max, steps) => {
        const store = createBucketStore(RATE, max);
        const admitted: { user: number; atMs: number; units: number }[] = [];
        let nowMs = 0;
        for (const { user, waitMs, units } of steps) {
          nowMs += waitMs;
          const bucket = store.of(`${user}`, nowMs);
          expect(store.size).toBeLessThanOrEqual(max);
          if (waitMsFor(units, bucket, RATE) > 0) continue;
          take(units, bucket, RATE);
          admitted.push({ user, atMs: nowMs, units });
        }
        for (const [first, from] of admitted.entries()) {
          let sum = 0;
          for (const { user, atMs, units } of admitted.slice(first)) {
            if (user !== from.user) continue;
            sum += units;
            expect(sum).toBeLessThanOrEqual(60 + (atMs - from.atMs) / 1000);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
