import type { Clock } from "#runtime/clock.ts";

/** Lower is first: edits and decisions of people, then children, then resyncs. */
const LANES = ["people", "children", "resync"] as const;
export type Lane = (typeof LANES)[number];

/** Numbers of client-go's default rate limiter. */
const KEY_DELAY_MS = { min: 5, max: 1_000_000 };
const BUCKET = { perSecond: 10, burst: 100 };

export interface QueueObserver {
  added(): void;
  retried(): void;
  /** Seconds that a key waited. */
  taken(waitedSeconds: number): void;
  depth(value: number): void;
}

export interface WorkQueue {
  /** Adds a key; one that waits already is not added twice, one being worked on is worked on again afterwards. */
  add(key: string, lane: Lane): void;
  /** Adds it later; a nearer time for the same key wins. */
  addAfter(key: string, delayMs: number): void;
  /** Adds it after its backoff: doubling per key, and never more than 10 per second over all keys. */
  addRateLimited(key: string): void;
  /** Its next failure starts at the smallest delay again. */
  forget(key: string): void;
  /** The next key, or nothing when the queue is closed. */
  take(): Promise<string | undefined>;
  /** Must follow each take. */
  done(key: string): void;
  /** No more keys are given out. */
  close(): void;
  size(): number;
}

/** Keys to work on, each once and by one worker at a time. Bounded by the number of keys. */
export function createQueue(clock: Clock, observer?: QueueObserver): WorkQueue {
  const queue = new KeyQueue(clock, observer);
  return queue;
}

class KeyQueue implements WorkQueue {
  readonly #clock: Clock;
  readonly #observer: QueueObserver | undefined;
  /** Waiting keys by lane, with the instant they were added. */
  readonly #lanes = new Map<Lane, Map<string, number>>(LANES.map((lane) => [lane, new Map<string, number>()]));
  readonly #processing = new Set<string>();
  /** Keys added while being worked on. */
  readonly #again = new Map<string, Lane>();
  readonly #timers = new Map<string, { readonly atMs: number; readonly cancel: () => void }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  readonly #bucket: TokenBucket;
  #closed = false;

  constructor(clock: Clock, observer: QueueObserver | undefined) {
    this.#clock = clock;
    this.#observer = observer;
    this.#bucket = new TokenBucket(clock);
  }

  add(key: string, lane: Lane): void {
    if (this.#closed) return;
    if (this.#processing.has(key)) {
      this.#again.set(key, firstLane(lane, this.#again.get(key)));
      return;
    }
    const waiting = this.#laneOf(key);
    const target = firstLane(lane, waiting);
    if (target === waiting) return;
    if (waiting === undefined) this.#observer?.added();
    this.#move(key, waiting, target);
    this.#observer?.depth(this.size());
    this.#serve();
  }

  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    const atMs = this.#clock.monotonic() + delayMs;
    const timer = this.#timers.get(key);
    if (timer && timer.atMs <= atMs) return;
    timer?.cancel();
    const cancel = this.#clock.after(delayMs, () => {
      this.#timers.delete(key);
      this.add(key, "resync");
    });
    this.#timers.set(key, { atMs, cancel });
  }

  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#observer?.retried();
    const delayMs = Math.min(KEY_DELAY_MS.max, KEY_DELAY_MS.min * 2 ** Math.min(failures, 30));
    this.addAfter(key, Math.max(delayMs, this.#bucket.reserveMs()));
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  take(): Promise<string | undefined> {
    return new Promise((resolve) => {
      if (this.#closed) resolve(undefined);
      else {
        this.#takers.push(resolve);
        this.#serve();
      }
    });
  }

  done(key: string): void {
    this.#processing.delete(key);
    const lane = this.#again.get(key);
    this.#again.delete(key);
    if (lane !== undefined) this.add(key, lane);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  size(): number {
    return [...this.#lanes.values()].reduce((sum, lane) => sum + lane.size, 0);
  }

  #laneOf(key: string): Lane | undefined {
    return LANES.find((name) => this.#lanes.get(name)?.has(key));
  }

  /** A key that changes lanes keeps the instant since which it waits. */
  #move(key: string, from: Lane | undefined, to: Lane): void {
    const source = from === undefined ? undefined : this.#lanes.get(from);
    this.#lanes.get(to)?.set(key, source?.get(key) ?? this.#clock.monotonic());
    source?.delete(key);
  }

  #serve(): void {
    while (this.#takers.length > 0) {
      const lane = LANES.map((name) => this.#lanes.get(name)).find((keys) => keys !== undefined && keys.size > 0);
      const next = lane?.entries().next().value;
      if (!lane || !next) return;
      const [key, sinceMs] = next;
      lane.delete(key);
      this.#processing.add(key);
      this.#observer?.taken((this.#clock.monotonic() - sinceMs) / 1000);
      this.#observer?.depth(this.size());
      this.#takers.shift()?.(key);
    }
  }
}

/** Spreads retries of all keys: when many fail at once, they do not come back at once. */
class TokenBucket {
  readonly #clock: Clock;
  #tokens = BUCKET.burst;
  #atMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atMs = clock.monotonic();
  }

  /** Takes a token, one of the future if need be, and tells how long until it is there. */
  reserveMs(): number {
    const nowMs = this.#clock.monotonic();
    this.#tokens = Math.min(BUCKET.burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * BUCKET.perSecond);
    this.#atMs = nowMs;
    this.#tokens -= 1;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / BUCKET.perSecond) * 1000;
  }
}

function firstLane(a: Lane, b: Lane | undefined): Lane {
  return b === undefined || LANES.indexOf(a) < LANES.indexOf(b) ? a : b;
}
