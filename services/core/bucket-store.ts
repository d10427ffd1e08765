import { type Bucket, type Rate, refill, unitsOf } from "./token-bucket.ts";

/** Buckets of one rate by who uses it, in bounded memory. */
export interface BucketStore {
  /** The bucket of this user, brought up to now. */
  of(key: string, nowMs: number): Bucket;
  /** Another rate from now on: the units that are left stay, as far as they fit. A new limit is no fresh start. */
  setRate(next: Rate): void;
  /** Buckets that are kept now. */
  readonly size: number;
}

/** Old buckets that are looked at for each new one: more than come in, so the store shrinks to those in use. */
const LOOKS = 2;
/** The same when the store is full. */
const LOOKS_WHEN_FULL = 64;

/**
 * At most `max` buckets. A full bucket says no more than a new one, so it is forgotten for free. When all `max` are in use,
 * whoever comes new shares one more bucket with all others who come new, until one is free: nobody is locked out, nobody
 * gets more than the rate, and no number of names buys more than `max` + 1 shares. Who leaves the shared bucket takes its
 * level along, as it may have emptied it.
 */
export function createBucketStore(first: Rate, max: number): BucketStore {
  let rate = first;
  const buckets = new Map<string, Bucket>();
  const shared: Bucket = { level: rate.capacity, atMs: 0 };

  const forget = (nowMs: number, looks: number): void => {
    let left = looks;
    for (const [key, bucket] of buckets) {
      if (left-- === 0) return;
      refill(bucket, rate, nowMs);
      buckets.delete(key);
      // Not full: to the end of the line, so that the next look finds another one.
      if (bucket.level < rate.capacity) buckets.set(key, bucket);
    }
  };

  return {
    of(key, nowMs) {
      const known = buckets.get(key);
      if (known !== undefined) {
        refill(known, rate, nowMs);
        return known;
      }
      forget(nowMs, buckets.size < max ? LOOKS : LOOKS_WHEN_FULL);
      refill(shared, rate, nowMs);
      if (buckets.size >= max) return shared;
      const made = { level: shared.level, atMs: nowMs };
      buckets.set(key, made);
      return made;
    },
    setRate(next) {
      for (const bucket of [shared, ...buckets.values()])
        bucket.level = Math.min(next.capacity, unitsOf(bucket.level, rate) * next.partsPerUnit);
      rate = next;
    },
    get size() {
      return buckets.size;
    },
  };
}
