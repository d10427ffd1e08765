import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Bucket,
  createRate,
  fullInMs,
  giveBack,
  PER_MINUTE_MAX,
  PODS_MAX,
  refill,
  take,
  unitsOf,
  waitMsFor,
} from "./token-bucket.ts";

const perMinute = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: PER_MINUTE_MAX }));
const pods = fc.integer({ min: 1, max: PODS_MAX });
const step = fc.record({
  kind: fc.constantFrom("take", "take", "take", "wait", "giveBack"),
  /** Of the capacity, in thousandths; one unit more. */
  share: fc.integer({ min: 0, max: 1200 }),
  waitMs: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 200_000 })),
});

function full(rate: ReturnType<typeof createRate>): Bucket {
  return { level: rate.capacity, atMs: 0 };
}

describe("a token bucket", () => {
  it.each([
    { perMinute: 60, pods: 1, burst: 60, afterMs: 1000 },
    { perMinute: 60, pods: 2, burst: 30, afterMs: 2000 },
    { perMinute: 7, pods: 2, burst: 3, afterMs: 17_143 },
    { perMinute: 1, pods: 3, burst: 1, afterMs: 180_000 },
    { perMinute: 1_000_000_000, pods: 100, burst: 10_000_000, afterMs: 1 },
  ])("of $perMinute a minute over $pods pods holds $burst, and has the next one after $afterMs ms", (row) => {
    const rate = createRate(row.perMinute, row.pods);
    const bucket = full(rate);
    expect(unitsOf(rate.capacity, rate)).toBe(row.burst);
    take(row.burst, bucket, rate);
    const rest = bucket.level;
    bucket.level = 0;
    expect(waitMsFor(1, bucket, rate)).toBe(row.afterMs);
    bucket.level = rest;
    expect(waitMsFor(1, bucket, rate)).toBeLessThanOrEqual(row.afterMs);
  });

  it("never has more than it holds, and says that there is no use in waiting for more", () => {
    const rate = createRate(10, 1);
    const bucket = full(rate);
    refill(bucket, rate, 3_600_000);
    expect(waitMsFor(10, bucket, rate)).toBe(0);
    expect(waitMsFor(11, bucket, rate)).toBe(Number.POSITIVE_INFINITY);
    expect(waitMsFor(Number.MAX_VALUE, bucket, rate)).toBe(Number.POSITIVE_INFINITY);
  });

  it("in debt lets not even nothing begin, and owes an hour at most", () => {
    const rate = createRate(60, 1);
    const bucket = full(rate);
    take(61, bucket, rate);
    expect(waitMsFor(0, bucket, rate)).toBe(1000);
    take(1_000_000, bucket, rate);
    expect(waitMsFor(0, bucket, rate)).toBe(3_600_000);
    expect(fullInMs(bucket, rate)).toBe(3_660_000);
  });

  it("takes a clock that stands still or goes back for no time", () => {
    const rate = createRate(60, 1);
    const bucket = { level: 0, atMs: 5000 };
    refill(bucket, rate, 4000);
    refill(bucket, rate, 5000);
    expect(bucket).toEqual({ level: 0, atMs: 5000 });
  });

  it("law: admits at most its burst and what the time brings, over every stretch of time", () => {
    fc.assert(
      fc.property(perMinute, pods, fc.array(step, { maxLength: 60 }), (per, count, steps) => {
        const rate = createRate(per, count);
        const bucket = full(rate);
        const admitted: { atMs: number; units: number }[] = [];
        let nowMs = 0;
        for (const { kind, share, waitMs } of steps) {
          if (kind === "wait") nowMs += waitMs;
          const units = 1 + Math.floor((unitsOf(rate.capacity, rate) * share) / 1000);
          refill(bucket, rate, nowMs);
          if (kind !== "take" || waitMsFor(units, bucket, rate) > 0) continue;
          take(units, bucket, rate);
          admitted.push({ atMs: nowMs, units });
        }
        for (const [first, from] of admitted.entries()) {
          let sum = 0n;
          for (const { atMs, units } of admitted.slice(first)) {
            sum += BigInt(units);
            // In parts: burst + rate × time, in whole numbers of any size.
            const most = BigInt(rate.capacity) + BigInt(atMs - from.atMs) * BigInt(per);
            expect(sum * 60_000n * BigInt(count) <= most).toBe(true);
          }
        }
      }),
    );
  });

  it("law: the wait that it names is enough, and a millisecond less is not", () => {
    fc.assert(
      fc.property(perMinute, pods, fc.array(step, { maxLength: 40 }), (per, count, steps) => {
        const rate = createRate(per, count);
        const bucket = full(rate);
        let nowMs = 0;
        for (const { kind, share, waitMs } of steps) {
          if (kind === "wait") nowMs += waitMs;
          refill(bucket, rate, nowMs);
          const units = Math.min(1 + Math.floor((unitsOf(rate.capacity, rate) * share) / 1000), 2_000_000);
          if (kind === "giveBack") giveBack(units, bucket, rate);
          const waits = waitMsFor(units, bucket, rate);
          if (waits === 0) take(units, bucket, rate);
          if (waits === 0 || !Number.isFinite(waits)) continue;
          const early = { ...bucket };
          refill(early, rate, nowMs + waits - 1);
          expect(waitMsFor(units, early, rate)).toBe(1);
          const inTime = { ...bucket };
          refill(inTime, rate, nowMs + waits);
          expect(waitMsFor(units, inTime, rate)).toBe(0);
        }
      }),
    );
  });

  it("law: every level is a whole number that stands exactly in a double, whatever is taken", () => {
    const units = fc.oneof(fc.integer({ min: 0, max: 2_000_000_000 }), fc.constant(Number.MAX_SAFE_INTEGER));
    fc.assert(
      fc.property(perMinute, pods, fc.array(fc.tuple(units, fc.boolean()), { maxLength: 30 }), (per, count, calls) => {
        const rate = createRate(per, count);
        const bucket = full(rate);
        for (const [amount, isBack] of calls) {
          if (isBack) giveBack(amount, bucket, rate);
          else take(amount, bucket, rate);
          refill(bucket, rate, bucket.atMs + (amount % 5000));
          expect(Number.isSafeInteger(bucket.level)).toBe(true);
          expect(bucket.level).toBeLessThanOrEqual(rate.capacity);
        }
      }),
    );
  });
});
