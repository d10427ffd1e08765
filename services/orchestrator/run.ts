import { Refusal } from "#core/errors.ts";
import { type ActiveRun, RunStop, type RunWorld } from "./active-run.ts";
import { adopt, park, waitingCalls, type WaitingCall } from "./approvals/waiting.ts";
import { collectConversation } from "./conversation.ts";
import { ModelError } from "./model-stream.ts";
import type { ConversationItem } from "./responses/messages.ts";
import { type IncompleteReason, toResponse } from "./responses/response.ts";
import { writeFunctionCall } from "./responses/stream.ts";
import type { CallRecord, FactSequence, RunEnd, RunRecord, Turn } from "./store/journal.ts";
import { endRunSpan } from "./spans.ts";
import { performCall } from "./tool-call.ts";
import { openToolbox } from "./tools.ts";
import { takeTurn, turnsOfModel } from "./turn.ts";

/** How a run ends. */
type Outcome =
  /** Parked: calls wait for a person, and the next response goes on with them. */
  | { readonly status: "completed"; readonly isParked?: true }
  | { readonly status: "cancelled" }
  | { readonly status: "incomplete"; readonly reason: IncompleteReason }
  | { readonly status: "failed"; readonly code: string; readonly message: string };

/** How long an ended run that is not stored answers a repeated Idempotency-Key. */
const UNSTORED_LIFE_MS = 3600 * 1000;
const DAY_MS = 24 * 3600 * 1000;

/**
 * Carries a run to its end, from wherever the journal says it stands, and returns the final response object. The end is
 * journaled and counted before anybody hears of it. Throws Refusal metering_unavailable when it cannot be counted.
 */
export async function executeRun(
  run: ActiveRun,
  options: { readonly world: RunWorld; readonly retentionDays: number; readonly isRecovered: boolean },
): Promise<Record<string, unknown>> {
  const { world } = options;
  if (!options.isRecovered) run.stream.emit("response.in_progress", { response: snapshot(run, world) });
  const outcome = await runToOutcome(run, world);
  try {
    return endRun(run, outcome, options);
  } catch (error) {
    const code = error instanceof Refusal ? error.code : "internal_error";
    run.stream.emit("error", { code, message: "The end of the run could not be written down", param: null });
    throw error;
  }
}

/** The response object of a run in progress. */
export function snapshot(run: ActiveRun, world: RunWorld): Record<string, unknown> {
  const record = world.journal.run(run.record.id) ?? run.record;
  return toResponse({ ...record, output: run.output, usage: null });
}

async function runToOutcome(run: ActiveRun, world: RunWorld): Promise<Outcome> {
  try {
    const conversation = collectConversation(world.journal, run.record.principal, run.record.request);
    for (;;) {
      const outcome = await advance(run, conversation, world);
      if (outcome) return outcome;
    }
  } catch (error) {
    return toOutcome(error, run, world);
  }
}

/** One step: settle the calls of the last turn, then ask for the next. Returns the run's end when it has come. */
async function advance(
  run: ActiveRun,
  conversation: readonly ConversationItem[],
  world: RunWorld,
): Promise<Outcome | undefined> {
  const last = world.journal.turns(run.record.id).at(-1);
  const waiting = last ? [] : waitingCalls(run, world);
  if (waiting.length > 0) {
    adopt(run, waiting, { world, toolbox: (await openContext(run, world)).toolbox });
    return undefined;
  }
  const settled = last ? await settleTurn(run, last, world) : undefined;
  if (settled) return settled;
  run.signal.throwIfAborted();
  const { config, toolbox } = await openContext(run, world);
  const turns = world.journal.turns(run.record.id);
  if (turnsOfModel(turns) >= config.budgets.turns) return { status: "incomplete", reason: "max_turns" };
  await takeTurn(run, { config, toolbox, conversation, turns }, world);
  return undefined;
}

async function openContext(
  run: ActiveRun,
  world: RunWorld,
): Promise<Pick<Parameters<typeof takeTurn>[1], "config" | "toolbox">> {
  const config = world.live.config();
  if (!config) throw new Refusal("not_ready", "Cannot go on as the pod has no config");
  const features = world.live.control()?.entitlement.features;
  return { config, toolbox: await openToolbox(config, run.record.request, { ...world, features }) };
}

/** Brings each call of a turn to its end, in order; nothing when the model is to be asked again. */
async function settleTurn(run: ActiveRun, turn: Turn, world: RunWorld): Promise<Outcome | undefined> {
  if (turn.finish === "length") return { status: "incomplete", reason: "max_output_tokens" };
  if (turn.finish === "content_filter") return { status: "incomplete", reason: "content_filter" };
  if (turn.calls.length === 0) return { status: "completed" };
  const waiting: WaitingCall[] = [];
  let isExhausted: boolean;
  const clientCalls = turn.calls.filter((call) => call.kind === "Client");
  try {
    isExhausted = await settleCalls(run, { turn, waiting }, world);
    if (!isExhausted) for (const call of clientCalls.filter(isOpen)) handOver(run, call, world);
  } finally {
    // Last, as clients look for it there; and kept even if the client has gone, since people have been asked.
    for (const call of waiting) park(run, call, world);
  }
  if (isExhausted) return { status: "incomplete", reason: "max_tool_calls" };
  if (waiting.length > 0) return { status: "completed", isParked: true };
  return clientCalls.length > 0 ? { status: "completed" } : undefined;
}

/** The agent's own calls, each decided alone. Returns whether the budget of calls is used up. */
async function settleCalls(
  run: ActiveRun,
  { turn, waiting }: { readonly turn: Turn; readonly waiting: WaitingCall[] },
  world: RunWorld,
): Promise<boolean> {
  for (const call of turn.calls.filter((open) => open.kind === "Tool" && isOpen(open))) {
    // A call that a crash orphaned is settled first: its outcome must be known whoever has gone.
    if (call.state !== "started") run.signal.throwIfAborted();
    const context = { ...(await openContext(run, world)), control: world.live.control() };
    const verdict = await performCall(run, call, { context, world });
    if (verdict.kind === "BudgetExhausted") return true;
    if (verdict.kind === "Waiting") waiting.push({ call, asked: verdict.asked });
  }
  return false;
}

function isOpen(call: CallRecord): boolean {
  return call.state === "planned" || call.state === "waiting" || call.state === "started";
}

/** Gives a call to the client, which answers it in its next request. */
function handOver(run: ActiveRun, call: CallRecord, world: RunWorld): void {
  const item = {
    id: call.itemId,
    type: "function_call",
    call_id: call.callId,
    name: call.name,
    arguments: call.arguments,
    status: "completed",
  } as const;
  const event = writeFunctionCall({ stream: run.stream, outputIndex: run.output.length }, item);
  world.journal.endCall(run.record, call, { state: "done", result: "", event });
  run.output.push(item);
  run.stream.send(event);
}

function toOutcome(error: unknown, run: ActiveRun, world: RunWorld): Outcome {
  if (error instanceof RunStop)
    return error.why === "cancelled"
      ? { status: "cancelled" }
      : { status: "failed", code: "draining", message: "The pod is being replaced; the run was not finished" };
  if (error instanceof ModelError || error instanceof Refusal)
    return { status: "failed", code: error.code, message: error.message };
  world.log.error({ err: error, run: run.record.id }, "Failed to carry on a run");
  return { status: "failed", code: "internal_error", message: "The run failed by a defect of Supercargo" };
}

/** Journal, count, then tell. */
function endRun(
  run: ActiveRun,
  outcome: Outcome,
  { world, retentionDays }: { readonly world: RunWorld; readonly retentionDays: number },
): Record<string, unknown> {
  const { record, stream } = run;
  const nowMs = world.clock.now();
  const lifeMs = record.request.store ? retentionDays * DAY_MS : UNSTORED_LIFE_MS;
  const end = toEnd(outcome, { nowMs, lifeMs, countIn: run.hold.ok ? world.counter.countIn : null });
  const { usage } = world.journal.run(record.id) ?? record;
  const response = toResponse({ ...record, ...end, usage, output: run.output });
  if (outcome.status === "failed") stream.emit("error", { code: outcome.code, message: outcome.message, param: null });
  endRunSpan(run.span, { ...end, usage });
  const event = stream.prepare(`response.${outcome.status}`, { response });
  const fact = world.journal.endRun(record, end, event);
  world.metrics.runEnded(outcome.status);
  const isParked = outcome.status === "completed" && outcome.isParked;
  world.log.info({ run: record.id, status: outcome.status, code: end.error?.code, isParked }, "Ended run");
  countEnd(record, fact, world);
  // No event type exists for cancelled: the stream ends, and GET tells.
  if (outcome.status !== "cancelled") stream.send(event);
  return response;
}

/** Counts the completion. Nobody can ask again for an answer that is not kept: if it cannot be given now, it is not counted later. */
function countEnd(record: RunRecord, fact: FactSequence | undefined, { counter, journal }: RunWorld): void {
  const isKept = record.request.store || record.idempotencyKey !== null;
  try {
    counter.count();
  } catch (error) {
    if (!isKept && fact !== undefined) journal.retract(fact);
    throw error;
  } finally {
    if (!isKept) journal.removeRun(record.id);
  }
}

function toEnd(outcome: Outcome, at: { nowMs: number; lifeMs: number; countIn: string | null }): RunEnd {
  return {
    status: outcome.status,
    incompleteReason: outcome.status === "incomplete" ? outcome.reason : null,
    error: outcome.status === "failed" ? { code: outcome.code, message: outcome.message } : null,
    completedAtMs: at.nowMs,
    expiresAtMs: at.nowMs + at.lifeMs,
    // A run that waits is no work done: the response that goes on with it counts, once.
    countIn: outcome.status === "completed" && !outcome.isParked ? at.countIn : null,
  };
}
