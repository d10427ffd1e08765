import type { PodUsage, PodUsageStatus } from "#core/api/pod-usage.ts";
import { checkpointSecondsOf } from "#core/counted.ts";
import type { CounterRecord } from "#core/counter-record.ts";
import {
  applyReading,
  applyTime,
  chooseState,
  EMPTY_STATE,
  fromPodUsage,
  isAhead,
  isWorthLogging,
  type Reading,
  type SidecarState,
  toPodUsageStatus,
} from "#core/sidecar-fold.ts";
import { hourKey, toIso } from "#core/time.ts";
import type { Clock } from "#runtime/clock.ts";
import type { ServerTime } from "#runtime/server-time.ts";
import type { ControlFile } from "./control-file.ts";
import { countersOf, foldLastRecord, readCounterFile } from "./counter-file.ts";
import { toEcho } from "./echo.ts";
import type { SidecarLog } from "./log.ts";
import type { SidecarMetrics } from "./metrics.ts";
import type { OwnPodUsage, OwnPodUsageOptions } from "./pod-usage.ts";
import type { Scraper } from "./prometheus.ts";
import { isPublishDue, publishPlan, type PublishPlan, rememberFailure, rememberPublished } from "./publish-plan.ts";
import type { StateLog } from "./state-log.ts";

export interface SidecarOptions {
  readonly uid: string;
  readonly scrapeSeconds: number;
  readonly counterFile: string;
  readonly scraper: Scraper;
  readonly stateLog: StateLog;
  readonly controlFile: ControlFile;
  readonly time: ServerTime;
  readonly clock: Clock;
  readonly metrics: SidecarMetrics;
  readonly log: SidecarLog;
  /** Makes the door to the own PodUsage; it calls back into the sidecar. */
  readonly follow: (hooks: Pick<OwnPodUsageOptions, "onDate" | "onChange" | "wasPresent">) => OwnPodUsage;
}

export interface Sidecar {
  start(): void;
  /** The last words: reads the counter file once more and publishes, with final "Yes" when all is in it. At most `deadlineMs`. */
  stop(deadlineMs: number): Promise<void>;
  /** Why the pod cannot serve yet; nothing when it can. */
  notReady(): string | undefined;
  /** Why this process is stuck; nothing when its loop turns. */
  notLive(): string | undefined;
}

const PUBLISH_TIMEOUT_MS = 10_000;
const FINAL_RETRY_MS = 500;
/** A loop that did not turn for this long is stuck. */
const STUCK_MS = 60_000;

interface Work {
  readonly options: SidecarOptions;
  readonly usage: OwnPodUsage;
  readonly startedMs: number;
  readonly plan: PublishPlan;
  readonly stopping: AbortController;
  state: SidecarState;
  /** The log was complete, or PodUsage has answered: `state` is all that is known. */
  restored: boolean;
  turnedMs: number;
  wake: AbortController;
  /** Why scrapes are rejected now. */
  rejected: string | undefined;
}

/** One pod's meter: scrape → fold → log → publish, and the pod's orders into control.json. */
export function createSidecar(options: SidecarOptions): Sidecar {
  const usage = options.follow({
    // Only what stood in a PodUsage, or was about to, has a sequence.
    wasPresent: (options.stateLog.restored ?? EMPTY_STATE).sequence !== "0",
    onDate: (dateMs) => options.time.observe(dateMs),
    onChange: () => takeOrders(work),
  });
  const work: Work = {
    options,
    usage,
    startedMs: options.clock.monotonic(),
    plan: publishPlan(options.uid),
    stopping: new AbortController(),
    state: options.stateLog.restored ?? EMPTY_STATE,
    restored: options.stateLog.isComplete,
    turnedMs: options.clock.monotonic(),
    wake: new AbortController(),
    rejected: undefined,
  };
  let running: Promise<void> | undefined;
  return {
    start() {
      usage.start();
      running ??= run(work);
    },
    async stop(deadlineMs) {
      const endMs = options.clock.monotonic() + deadlineMs;
      work.stopping.abort(new Error("Stopped"));
      work.wake.abort(new Error("Stopped"));
      await running;
      await publishFinal(work, endMs);
      await usage.stop();
      options.scraper.close();
      options.stateLog.close();
    },
    notReady: () => (options.controlFile.isWritten() ? undefined : "no grant has arrived yet"),
    notLive: () => (options.clock.monotonic() - work.turnedMs > STUCK_MS ? "the scrape loop does not turn" : undefined),
  };
}

async function run(work: Work): Promise<void> {
  const { clock, scrapeSeconds } = work.options;
  while (!work.stopping.signal.aborted) {
    work.turnedMs = clock.monotonic();
    // Before the turn: who wakes us in the middle of it wants another one at once.
    work.wake = new AbortController();
    await turn(work).catch((err: unknown) => work.options.log.error({ err }, "Failed to turn"));
    if (work.stopping.signal.aborted) return;
    await clock.sleep(scrapeSeconds * 1000, work.wake.signal).catch(() => undefined);
  }
}

/** One turn: what the service counted, what time did, and the checkpoint when it is due. */
async function turn(work: Work): Promise<void> {
  restore(work);
  if (!work.restored) return;
  const record = readCounterFile(work.options.counterFile);
  const reading = await takeReading(work, record);
  // PodUsage may have arrived meanwhile.
  restore(work);
  if (reading) fold(work, reading);
  // Ceilings are for the epoch that is known now.
  writeControl(work);
  passTime(work);
  const status = toStatus(work, { record, final: false });
  if (isPublishDue(work.plan, { ...publishFacts(work), status })) await checkpoint(work, record);
}

/** The scrape; when it gave nothing, the counter file, which holds the same numbers. */
async function takeReading(work: Work, record: CounterRecord | undefined): Promise<Reading | undefined> {
  const scrape = await work.options.scraper.scrape();
  if (scrape.ok) return { epoch: scrape.epoch, counters: scrape.counters, source: "Scrape" };
  if (scrape.kind === "Malformed") reject(work, scrape.problem);
  else work.options.metrics.scraped("refused");
  return record ? { epoch: record.epoch, counters: countersOf(record), source: "File" } : undefined;
}

function fold(work: Work, reading: Reading): void {
  const result = applyReading(work.state, reading);
  if (!result.ok) {
    if (reading.source === "Scrape") reject(work, result.problem);
    return;
  }
  if (reading.source === "Scrape") accept(work);
  for (const dimension of result.quarantined)
    work.options.log.error({ dimension, epoch: reading.epoch }, "Quarantined dimension");
  work.options.metrics.quarantined(result.state.quarantined.length);
  setState(work, result.state);
}

/** Nothing of such a scrape is billed. Said once until it changes: a broken service would say it 17,000 times a day. */
function reject(work: Work, problem: string): void {
  work.options.metrics.scraped("rejected");
  if (work.rejected !== problem) work.options.log.error({ err: problem }, "Rejected a scrape");
  work.rejected = problem;
}

function accept(work: Work): void {
  work.options.metrics.scraped("ok");
  if (work.rejected !== undefined) work.options.log.info("Accepted scrapes again");
  work.rejected = undefined;
}

/** Hours are told apart only when the clock and its offset are known: before, totals rise without boundaries. */
function passTime(work: Work): void {
  const { time, clock } = work.options;
  const known = time.isKnown() && (work.state.hour !== "" || work.usage.current()?.spec.grants !== undefined);
  if (!known) return;
  const nowMs = time.now();
  const upMs = clock.monotonic() - work.startedMs;
  setState(work, applyTime(work.state, { nowMs: nowMs - time.offsetSeconds() * 1000, hour: hourKey(nowMs), upMs }));
}

function setState(work: Work, next: SidecarState): void {
  const before = work.state;
  work.state = next;
  if (isWorthLogging(before, next)) work.options.stateLog.store(next);
}

/**
 * The state to go on from: a complete log at once, else whatever log and PodUsage know together. A PodUsage that is ahead
 * of us (the log could not be written for a while) is the better copy at any time.
 */
function restore(work: Work): void {
  const published = work.usage.current()?.status;
  if (work.restored && published && isAhead(published, work.state)) {
    work.options.log.warn({ sequence: published.sequence, own: work.state.sequence }, "Took totals of PodUsage");
    const taken = fromPodUsage(published);
    const sequence = [taken, work.state].map((state) => BigInt(state.sequence)).reduce((a, b) => (a > b ? a : b));
    return setState(work, { ...taken, sequence: sequence.toString() });
  }
  if (work.restored || work.usage.phase() === "Unknown") return;
  work.state = chooseState(work.options.stateLog.restored, published ? fromPodUsage(published) : undefined);
  work.restored = true;
  work.options.stateLog.store(work.state);
  work.options.log.info({ sequence: work.state.sequence, epoch: work.state.epoch }, "Restored totals");
}

async function checkpoint(work: Work, record: CounterRecord | undefined): Promise<void> {
  const next = { ...work.state, sequence: (BigInt(work.state.sequence) + 1n).toString() };
  work.state = next;
  work.options.stateLog.store(next);
  const status = toStatus(work, { record, final: false });
  const result = await work.usage.publish(status, {
    timeoutMs: PUBLISH_TIMEOUT_MS,
    signal: work.stopping.signal,
  });
  const monotonicMs = work.options.clock.monotonic();
  work.options.metrics.published(result.ok ? "ok" : "failed");
  if (result.ok) return rememberPublished(work.plan, { status, monotonicMs });
  const spec = work.usage.current()?.spec;
  const checkpointMs = spec ? checkpointSecondsOf(spec) * 1000 : 0;
  rememberFailure(work.plan, { monotonicMs, checkpointMs, retryAfterMs: result.retryAfterMs });
  work.options.log.warn({ err: result.problem, phase: result.phase }, "Failed to publish PodUsage");
}

/** The service has ended: its counter file is final. Tries until the deadline; what is not published is ≤ K + S. */
async function publishFinal(work: Work, endMs: number): Promise<void> {
  const { clock, counterFile, log } = work.options;
  // A sidecar that has just been restarted has not read its PodUsage yet.
  while (work.usage.phase() === "Unknown" && clock.monotonic() < endMs) await clock.sleep(FINAL_RETRY_MS / 5);
  restore(work);
  const last = foldLastRecord(counterFile, work.state);
  if (!last.isWhole) log.error({}, "Failed to read the counter file: these totals are not final");
  setState(work, last.state);
  passTime(work);
  setState(work, { ...work.state, sequence: (BigInt(work.state.sequence) + 1n).toString() });
  const status = toStatus(work, { record: last.record, final: last.isWhole });
  for (;;) {
    const leftMs = endMs - clock.monotonic();
    if (leftMs <= 0) return log.error({}, "Failed to publish the final totals in time");
    const result = await work.usage.publish(status, { timeoutMs: Math.min(leftMs, PUBLISH_TIMEOUT_MS / 3) });
    if (result.ok) return log.info({ sequence: status.sequence }, "Published the final totals");
    if (result.phase !== "Present") return log.warn({ phase: result.phase }, "Found no PodUsage for the final totals");
    await clock.sleep(Math.min(FINAL_RETRY_MS, Math.max(1, endMs - clock.monotonic())));
  }
}

/** The spec changed: orders for the service, then the clock's offset; a jump of the clock is looked at at once. */
function takeOrders(work: Work): void {
  const spec = work.usage.current()?.spec;
  if (!spec) return;
  writeControl(work);
  // The service serves from now on: its first seconds belong to the hour in which they began.
  if (!work.restored) work.wake.abort(new Error("PodUsage is known"));
  if (work.options.time.setOffset(spec.grants?.clockOffsetSeconds ?? 0)) {
    work.plan.isUrgent = true;
    work.wake.abort(new Error("The clock jumped"));
  }
}

function writeControl(work: Work): void {
  const { controlFile, log } = work.options;
  const spec = work.usage.current()?.spec;
  if (!spec) return;
  try {
    if (!controlFile.write(spec, work.state)) return;
    log.info({ mode: spec.control?.mode, state: spec.grants?.entitlement.state }, "Wrote control");
  } catch (err) {
    log.error({ err }, "Failed to write control");
  }
}

function toStatus(
  work: Work,
  part: { readonly record: CounterRecord | undefined; readonly final: boolean },
): PodUsageStatus {
  return toPodUsageStatus(work.state, {
    final: part.final,
    reportedAt: work.options.time.isKnown() ? toIso(work.options.time.now()) : undefined,
    ...toEcho(part.record, { state: work.state, published: work.usage.current()?.status }),
  });
}

function publishFacts(work: Work): { usage: PodUsage | undefined; monotonicMs: number } {
  const present = work.usage.phase() === "Present";
  return { usage: present ? work.usage.current() : undefined, monotonicMs: work.options.clock.monotonic() };
}
