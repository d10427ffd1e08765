import { Refusal } from "#core/errors.ts";
import type { HoldResult } from "#runtime/holds.ts";
import type { ActiveRun, RunWorld } from "./active-run.ts";
import { RunStop } from "./active-run.ts";
import { executeRun, snapshot } from "./run.ts";
import { toResponse } from "./responses/response.ts";
import { createRunStream, type StreamEvent } from "./responses/stream.ts";
import { beginRunSpan } from "./spans.ts";
import type { NewRun, RunRecord } from "./store/journal.ts";
import { NO_TRACE, type TracePlace } from "./trace.ts";

/** A run in this process, as the HTTP side sees it. */
interface RunHandle {
  readonly id: string;
  /** The final response object. Rejects with Refusal metering_unavailable when the end could not be counted. */
  readonly done: Promise<Record<string, unknown>>;
  subscribe(listener: (event: StreamEvent) => void): () => void;
  /** Ends the run at its next safe point; a started tool call is waited for. */
  readonly cancel: () => void;
}

/** A run to begin, and where in its caller's trace. */
type StartedRun = Omit<NewRun, "owner"> & { readonly place: TracePlace };

/** All runs of this process. */
export interface Runs {
  readonly active: number;
  /** Journals a new run and begins it. Throws Refusal when there are too many, or while draining. */
  start(run: StartedRun, listener?: (event: StreamEvent) => void): RunHandle;
  /**
   * Takes over the runs that another process left unfinished and carries them to their end without a client, so that GET
   * and a repeated Idempotency-Key show what truly happened. Returns how many.
   */
  recover(): number;
  find(id: string): RunHandle | undefined;
  /** Takes no more runs, lets those in flight end for `deadlineMs`, then stops them at their next safe point. */
  drain(deadlineMs: number): Promise<void>;
}

export interface RunsOptions {
  readonly world: RunWorld;
  readonly runsMax: number;
  readonly retentionDays: number;
  /** This process, in the journal. */
  readonly owner: string;
}

/** After the deadline of a drain: time for started tool calls to be journaled. */
const SETTLE_MS = 3000;

interface Running extends RunHandle {
  stop(why: "cancelled" | "draining"): void;
}

export function createRuns({ world, runsMax, retentionDays, owner }: RunsOptions): Runs {
  const running = new Map<string, Running>();
  let isDraining = false;

  const begin = (run: ActiveRun, abort: AbortController, isRecovered: boolean): Running => {
    const { id } = run.record;
    const done = executeRun(run, { world, retentionDays, isRecovered }).finally(() => {
      running.delete(id);
      if (run.hold.ok) run.hold.release();
    });
    // Whoever waits for the answer gets the error; a run that nobody waits for must not end the process.
    done.catch((err: unknown) => world.log.error({ err, run: id }, "Failed to end run"));
    const handle = {
      id,
      done,
      subscribe: run.stream.subscribe,
      stop: (why: "cancelled" | "draining") => abort.abort(new RunStop(why)),
      cancel: () => abort.abort(new RunStop("cancelled")),
    };
    running.set(id, handle);
    return handle;
  };

  const adopt = (orphan: RunRecord): void => {
    const record = world.journal.claim(orphan.id, owner);
    const stream = createRunStream(world.journal.nextSequence(record.id));
    const abort = new AbortController();
    // Nobody can ever read the answer of a run that is not stored: its calls are settled, the model is not asked again.
    if (!record.request.store) abort.abort(new RunStop("draining"));
    const output = [...world.journal.output(record.id)];
    const active = { record, stream, output, hold: holdRun(world), span: NO_TRACE, signal: abort.signal };
    stream.emit("response.in_progress", { response: snapshot(active, world) });
    world.log.info({ run: record.id, epoch: record.epoch }, "Recovered run");
    begin(active, abort, true);
  };
  /** One run that cannot be taken over must not keep the others from it. */
  const adoptOrLog = (orphan: RunRecord): void => {
    try {
      adopt(orphan);
    } catch (err) {
      world.log.error({ err, run: orphan.id }, "Failed to recover run");
    }
  };

  return {
    get active() {
      return running.size;
    },
    start({ place, ...run }, listener) {
      if (isDraining) throw new Refusal("draining", "Cannot begin a run as the pod is being replaced");
      if (running.size >= runsMax)
        throw new Refusal("rate_limit_exceeded", `Cannot begin a run as at most ${runsMax} run at the same time`);
      const stream = createRunStream(0);
      if (listener) stream.subscribe(listener);
      const { event, ...opened } = openHeldRun({ ...run, owner }, stream, world);
      const abort = new AbortController();
      const span = beginRunSpan(place, run);
      const active: ActiveRun = { ...opened, stream, output: [], span, signal: abort.signal };
      stream.send(event);
      return begin(active, abort, false);
    },
    recover() {
      const orphans = world.journal.unfinished().filter((run) => !running.has(run.id));
      for (const orphan of orphans) adoptOrLog(orphan);
      return orphans.length;
    },
    find: (id) => running.get(id),
    async drain(deadlineMs) {
      isDraining = true;
      await settle(running, deadlineMs, world);
      for (const run of running.values()) run.stop("draining");
      await settle(running, SETTLE_MS, world);
    },
  };
}

/** What a run counts when it completes. */
function holdRun(world: RunWorld): HoldResult {
  return world.live.holds.hold({ workflow_completed: 1n });
}

/** A run that cannot be journaled holds nothing. Throws Refusal when a hard limit of the plan leaves no room for it. */
function openHeldRun(
  run: NewRun,
  stream: ReturnType<typeof createRunStream>,
  world: RunWorld,
): ReturnType<typeof openRun> & { readonly hold: HoldResult } {
  const hold = holdRun(world);
  if (!hold.ok)
    throw new Refusal("hard_limit_reached", `Cannot begin a run as the plan's limit of ${hold.dimension} is used up`);
  try {
    return { ...openRun(run, stream, world), hold };
  } catch (error) {
    hold.release();
    throw error;
  }
}

function openRun(
  run: NewRun,
  stream: ReturnType<typeof createRunStream>,
  world: RunWorld,
): { readonly record: RunRecord; readonly event: StreamEvent } {
  const nothing = { completedAtMs: null, incompleteReason: null, error: null, output: [], usage: null };
  const response = toResponse({ ...run, ...nothing, status: "in_progress" });
  const event = stream.prepare("response.created", { response });
  return { record: world.journal.openRun(run, event), event };
}

async function settle(running: ReadonlyMap<string, RunHandle>, deadlineMs: number, world: RunWorld): Promise<void> {
  if (running.size === 0) return;
  const abort = new AbortController();
  const all = Promise.allSettled([...running.values()].map((run) => run.done));
  await Promise.race([all, world.clock.sleep(deadlineMs, abort.signal).catch(() => undefined)]);
  abort.abort(new Error("Settled"));
}
