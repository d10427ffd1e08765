import type { Clock } from "#runtime/clock.ts";
import type { KubeClient } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import type { ServerTime } from "#runtime/server-time.ts";
import { graceMsOf } from "./close.ts";
import { runCycle } from "./cycle.ts";
import { createMemory, type Books, type Desk, type Marketplace, type Terms } from "./desk.ts";
import type { ReporterMetrics } from "./metrics.ts";

export interface ReporterOptions {
  readonly books: Books;
  readonly marketplace: Marketplace;
  readonly terms: Terms;
  readonly time: ServerTime;
  readonly clock: Clock;
  readonly client: Pick<KubeClient, "read">;
  readonly random: () => number;
  readonly log: Logger;
  readonly metrics: ReporterMetrics;
  /** Asked before each cycle: a process that was paused for minutes must not begin one with its old memory. */
  readonly isLeader: () => boolean;
  /** The demo's clock; absent in production. */
  readonly readOffset: (() => Promise<number>) | undefined;
}

export interface Reporter {
  /** Works as leader until the signal aborts. Never rejects. */
  lead(signal: AbortSignal): Promise<void>;
  /** Why this process is stuck; nothing when it works or stands by. */
  notLive(): string | undefined;
}

/** Between two cycles; with a moved clock a person is waiting. */
const CYCLE_MS = 15_000;
const CYCLE_MOVED_MS = 2_000;
/** Each pod adds to the wait, so that reading all of them stays a small part of the API server's day. */
const CYCLE_PER_POD_MS = 6;
const FAILED_MS = 2_000;
/** A leader whose cycle does not end for this long is stuck. */
const STUCK_MS = 600_000;

/** One leader at a time; what it remembers between cycles dies with its leadership. */
export function createReporter(options: ReporterOptions): Reporter {
  let turnedMs: number | undefined;
  return {
    async lead(signal) {
      const desk = createDesk(options);
      while (!signal.aborted) {
        turnedMs = options.clock.monotonic();
        const waitMs = await turn(options, desk, signal);
        await options.clock.sleep(waitMs, signal).catch(() => undefined);
      }
      turnedMs = undefined;
    },
    notLive: () =>
      turnedMs !== undefined && options.clock.monotonic() - turnedMs > STUCK_MS
        ? "the reporter's cycle does not end"
        : undefined,
  };
}

function createDesk(options: ReporterOptions): Desk {
  return {
    books: options.books,
    marketplace: options.marketplace,
    terms: options.terms,
    memory: createMemory(),
    now: () => options.time.now(),
    random: options.random,
    log: options.log,
    onPost: (answer) => options.metrics.posted(answer, options.time.now()),
    onList: (answer) => options.metrics.listed(answer),
    onAccepted: (slot, units) => options.metrics.accepted(slot, units),
  };
}

/** One cycle and how long to wait after it. An error ends the cycle, never the loop. */
async function turn(options: ReporterOptions, desk: Desk, signal: AbortSignal): Promise<number> {
  const { time, log, metrics } = options;
  try {
    await refreshTime(options, desk);
    if (signal.aborted || !options.isLeader()) return FAILED_MS;
    const skewMs = time.skewMs();
    metrics.skewMs(skewMs);
    const report = await runCycle(desk, { offsetSeconds: time.offsetSeconds(), skewMs });
    metrics.cycle({ ...report, memory: desk.memory, nowMs: desk.now(), graceMs: graceMsOf(desk, report.pods) });
    const baseMs = time.offsetSeconds() > 0 || options.readOffset ? CYCLE_MOVED_MS : CYCLE_MS;
    return Math.max(baseMs, report.pods.length * CYCLE_PER_POD_MS);
  } catch (err) {
    const isConflict = err instanceof Error && err.name === "ConflictError";
    if (isConflict) log.info({ err: err.message }, "Lost a race for the UsageLedger");
    else log.error({ err }, "Failed a cycle");
    return FAILED_MS;
  }
}

/** The API server's clock, then the demo's offset: a jump starts a new grace, as pods have yet to hear of it. */
async function refreshTime(options: ReporterOptions, desk: Desk): Promise<void> {
  const { client, time, readOffset, log } = options;
  const version = await client.read("/version");
  if (version.ok) time.observe(version.dateMs);
  const offsetSeconds = readOffset ? await readOffset() : 0;
  if (time.setOffset(offsetSeconds)) {
    desk.memory.timeKnownSinceMs = time.now();
    log.warn({ offsetSeconds }, "Moved the clock");
  }
}
