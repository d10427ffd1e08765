/**
 * Token buckets in whole numbers: a bucket holds one minute's amount and refills without pause. Time is monotonic, in whole
 * milliseconds. What one unit costs is divided so finely that a millisecond's refill is whole for every share of a pod, so
 * nothing is ever rounded away.
 */
const MINUTE_MS = 60_000;

/** The largest `perMinute` of a rate, and the largest `pods`: below them all sums stay exact (2^53). */
export const PER_MINUTE_MAX = 1_000_000_000;
export const PODS_MAX = 100;
/** More units at once are taken as so many. */
const UNITS_MAX = 1_000_000_000;
/** A bucket's debt ends here, in minutes of its refill; what is beyond is forgiven. */
const DEBT_MINUTES_MAX = 60;

/** How fast a bucket of one pod refills and how much it holds, in parts. */
export interface Rate {
  /** Of all pods together. */
  readonly perMinute: number;
  readonly pods: number;
  readonly partsPerUnit: number;
  readonly partsPerMs: number;
  /** One minute's share of this pod; one unit where the share is less. */
  readonly capacity: number;
}

/** What is left of a rate for one who uses it. Below 0 it is a debt: more was used than was asked for. */
export interface Bucket {
  level: number;
  atMs: number;
}

/** The share of one of `pods` pods in `perMinute` units a minute. Both are whole and at least 1. */
export function createRate(perMinute: number, pods: number): Rate {
  const partsPerUnit = MINUTE_MS * pods;
  return {
    perMinute,
    pods,
    partsPerUnit,
    partsPerMs: perMinute,
    capacity: Math.max(perMinute * MINUTE_MS, partsPerUnit),
  };
}

/** Brings a bucket up to now. */
export function refill(bucket: Bucket, rate: Rate, nowMs: number): void {
  const passedMs = nowMs - bucket.atMs;
  if (passedMs <= 0) return;
  bucket.level = Math.min(rate.capacity, bucket.level + passedMs * rate.partsPerMs);
  bucket.atMs = nowMs;
}

/**
 * How long until `units` are there, if nobody takes any meanwhile: 0 when they are, Infinity when the bucket never holds so
 * many. Of a bucket that was brought up to now. Exact: a millisecond less would not do. None at all fit unless it is in debt.
 */
export function waitMsFor(units: number, bucket: Bucket, rate: Rate): number {
  if (units > unitsOf(rate.capacity, rate)) return Number.POSITIVE_INFINITY;
  const missing = units * rate.partsPerUnit - bucket.level;
  return missing <= 0 ? 0 : Math.ceil(missing / rate.partsPerMs);
}

/** How long until the bucket is full. */
export function fullInMs(bucket: Bucket, rate: Rate): number {
  return Math.ceil((rate.capacity - bucket.level) / rate.partsPerMs);
}

/** Takes units, whether or not they are there. */
export function take(units: number, bucket: Bucket, rate: Rate): void {
  const level = bucket.level - Math.min(units, UNITS_MAX) * rate.partsPerUnit;
  bucket.level = Math.max(level, -DEBT_MINUTES_MAX * rate.capacity);
}

/** Gives back units that were taken and not used. A bucket never holds more than its capacity. */
export function giveBack(units: number, bucket: Bucket, rate: Rate): void {
  bucket.level = Math.min(rate.capacity, bucket.level + Math.min(units, UNITS_MAX) * rate.partsPerUnit);
}

/** Whole units of an amount of parts. */
export function unitsOf(parts: number, rate: Rate): number {
  return Math.floor(parts / rate.partsPerUnit);
}
