import type { RATE_SUBJECTS } from "#core/api/rate-limits.ts";
import { type BucketStore, createBucketStore } from "#core/bucket-store.ts";
import {
  type Bucket,
  createRate,
  fullInMs,
  giveBack,
  type Rate,
  take,
  unitsOf,
  waitMsFor,
} from "#core/token-bucket.ts";

export type RateUnit = "requests" | "tokens";
export type RateSubject = (typeof RATE_SUBJECTS)[number];

/** One rate of one limit: how much of a unit in a minute, for each of its subjects. */
export interface RateSpec {
  readonly limit: string;
  readonly unit: RateUnit;
  readonly per: RateSubject;
  readonly perMinute: number;
  readonly pods: number;
  readonly isShadow: boolean;
}

/** Who is counted apart at the same time: 10,000 subjects of one rate take some 2 MB. */
const BUCKETS_MAX = 10_000;
/** Used so far of what a bucket holds, in percent. */
const SOFT_PERCENT = 80;

/** A rate with its buckets. */
export interface RateMeter {
  readonly spec: RateSpec;
  readonly rate: Rate;
  readonly store: BucketStore;
}

/** What a bucket says about a request before anything is taken. */
export interface Look {
  readonly meter: RateMeter;
  readonly bucket: Bucket;
  readonly units: number;
  /** Milliseconds until it would fit; 0: it fits. */
  readonly waitMs: number;
}

/** The meter of a rate; what was used of the one before is used of this one. */
export function openMeter(spec: RateSpec, before: RateMeter | undefined): RateMeter {
  if (before !== undefined && before.spec.perMinute === spec.perMinute && before.spec.pods === spec.pods)
    return { ...before, spec };
  const rate = createRate(spec.perMinute, spec.pods);
  before?.store.setRate(rate);
  return { spec, rate, store: before?.store ?? createBucketStore(rate, BUCKETS_MAX) };
}

/** More than a whole bucket waits for a full one and leaves a debt: whoever may send it at all must get through. */
export function look(
  meter: RateMeter,
  ask: { readonly subject: string; readonly units: number; readonly nowMs: number },
): Look {
  const { units } = ask;
  const bucket = meter.store.of(ask.subject, ask.nowMs);
  const asked = Math.min(units, unitsOf(meter.rate.capacity, meter.rate));
  return { meter, bucket, units, waitMs: waitMsFor(asked, bucket, meter.rate) };
}

export function takeAll({ meter, bucket, units }: Look): void {
  take(units, bucket, meter.rate);
}

/** Once the truth is known: gives back what was not used, or takes what was used beyond. */
export function correct({ meter, bucket, units }: Look, used: number): void {
  if (used < units) giveBack(units - used, bucket, meter.rate);
  else take(used - units, bucket, meter.rate);
}

/** Whether a bucket is used up to the soft limit. */
export function isNear({ meter, bucket }: Look): boolean {
  return bucket.level * 100 <= meter.rate.capacity * (100 - SOFT_PERCENT);
}

/** What OpenAI's headers tell of one unit. */
export function headersOf({ meter, bucket }: Look, headers: Record<string, string>): void {
  const { rate, spec } = meter;
  headers[`x-ratelimit-limit-${spec.unit}`] = String(unitsOf(rate.capacity, rate));
  headers[`x-ratelimit-remaining-${spec.unit}`] = String(Math.max(0, unitsOf(bucket.level, rate)));
  headers[`x-ratelimit-reset-${spec.unit}`] = toDuration(fullInMs(bucket, rate));
}

/** As OpenAI writes it: 250ms, 1.5s. */
function toDuration(ms: number): string {
  return ms < 1000 ? `${ms}ms` : `${ms / 1000}s`;
}
