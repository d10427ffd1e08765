import type { Control, OrchestratorConfig } from "#core/api/pod-config.ts";
import { type AuditOutcome, type AuditSubject, auditUsage, toAuditRecord } from "#core/audit.ts";
import { NO_TOOL_USAGE, readToolUsage, type ToolUsage } from "#core/tool-usage.ts";
import { allowsTool } from "#core/grant.ts";
import { decideAction, type PolicyDecision } from "#core/policy.ts";
import type { HoldResult } from "#runtime/holds.ts";
import type { ActiveRun, RunWorld } from "./active-run.ts";
import { digestOf } from "./canonical.ts";
import { isEntitled } from "./entitle.ts";
import { type ToolOutcome, toExecutionError } from "./mcp-result.ts";
import type { McpCallItem } from "./responses/items.ts";
import { beginMcpCall, endMcpCall } from "./responses/stream.ts";
import { spanTool } from "./spans.ts";
import type { CallEnd, CallRecord } from "./store/journal.ts";
import { type AgentTool, isAgentTool, readArguments, type Toolbox } from "./tools.ts";

const HOUR_MS = 3600 * 1000;
/** What the model reads when a crash or a broken connection hid the outcome of a call that must not be repeated. */
const UNVERIFIED = "effect unverified, verify before retrying";

/** How one call ended for the run as a whole. */
export type CallVerdict = "Continue" | "BudgetExhausted";

interface CallContext {
  readonly config: OrchestratorConfig;
  readonly control: Control | undefined;
  readonly toolbox: Toolbox;
}

interface CallSurroundings {
  readonly context: CallContext;
  readonly world: RunWorld;
}

/**
 * Carries one call of the agent's own tools to its end: decide, write `started`, call, write the result. A call that is
 * found `started` was orphaned by a crash: it runs again only where the tool is safe to retry, with the same key.
 */
export async function performCall(
  run: ActiveRun,
  call: CallRecord,
  surroundings: CallSurroundings,
): Promise<CallVerdict> {
  const tool = findAgentTool(surroundings.context.toolbox, call.name);
  const hold = surroundings.world.live.holds.hold(worstCaseOf(call, tool));
  try {
    return await decideAndCall(run, call, { ...surroundings, tool, hold });
  } finally {
    if (hold.ok) hold.release();
  }
}

/** What the call may count at most: itself, unless that was counted before a crash, and all that its result may report. */
function worstCaseOf(call: CallRecord, tool: AgentTool | undefined): Record<string, bigint> {
  const reported = (tool?.usage ?? []).map(({ dimension, maxPerCall }) => [dimension, BigInt(maxPerCall)] as const);
  return { tool_action: call.state === "started" ? 0n : 1n, ...Object.fromEntries(reported) };
}

interface HeldCall extends CallSurroundings {
  readonly tool: AgentTool | undefined;
  readonly hold: HoldResult;
}

async function decideAndCall(run: ActiveRun, call: CallRecord, held: HeldCall): Promise<CallVerdict> {
  const { context, world, tool, hold } = held;
  const args = readArguments(call.arguments, tool?.inputSchema);
  const spent = hold.ok ? undefined : hold.dimension;
  const decision = decideCall(run, call, { tool, problem: args.problem, spent, context, world });
  const report = auditor(run, call, { context, world, decision, args: args.value });
  const end = beginItem(run, call, world);

  if (decision.effect === "Call" && tool && !mustNotRepeat(call, tool)) {
    await carryOut(run, call, { tool, value: args.value, world, report, end });
    return "Continue";
  }
  if (decision.effect === "Refuse" && call.state !== "started") {
    report("Refused");
    const isBudget = decision.code === "budget_exhausted";
    end(toRefusedItem(decision, isBudget ? "incomplete" : "failed"), "failed");
    return isBudget ? "BudgetExhausted" : "Continue";
  }
  report("Unknown");
  end(toUnknownItem("The outcome of this call was lost"), "unknown");
  return "Continue";
}

interface CarryOptions extends CallOptions {
  readonly report: Report;
  readonly end: EndItem;
}

/** Journal, send, journal, count: what has left is brought to its end. */
async function carryOut(run: ActiveRun, call: CallRecord, options: CarryOptions): Promise<void> {
  const { tool, world, report, end } = options;
  if (call.state !== "started") start(run, call, world);
  report("Started");
  const outcome = await callTool(run, call, options);
  const usage = judgeUsage(run, call, { outcome, tool, world });
  const [item, state] = toItemOutcome(outcome);
  end(item, state, usage);
  report(AUDIT_OUTCOMES[state], usage);
  world.counter.count();
}

function findAgentTool(toolbox: Toolbox, name: string): AgentTool | undefined {
  const found = toolbox.find(name);
  return found && isAgentTool(found) ? found : undefined;
}

const AUDIT_OUTCOMES = { done: "Done", failed: "Failed", unknown: "Unknown" } as const;

/** An orphaned call, whose effect may have happened, of a tool that is not safe to retry. */
function mustNotRepeat(call: CallRecord, tool: AgentTool): boolean {
  return call.state === "started" && !tool.safeToRetry;
}

type EndItem = (outcome: ItemOutcome, state: CallEnd["state"], usage?: ToolUsage) => void;

/** Shows the call in the stream; the returned function writes its end into the journal, then shows that. */
function beginItem(run: ActiveRun, call: CallRecord, world: RunWorld): EndItem {
  const place = { stream: run.stream, outputIndex: run.output.length };
  const item: McpCallItem = {
    id: call.itemId,
    type: "mcp_call",
    server_label: call.server === "" ? "unknown" : call.server,
    name: call.tool === "" ? call.name : call.tool,
    arguments: call.arguments,
    output: null,
    error: null,
    status: "in_progress",
    approval_request_id: null,
  };
  beginMcpCall(place, item);
  return ({ text: result, ...outcome }, state, usage = NO_TOOL_USAGE) => {
    const done = { ...item, ...outcome };
    const event = endMcpCall(place, done);
    const at = { countIn: world.counter.countIn, atMs: world.clock.now() };
    world.journal.endCall(run.record, call, { state, result, event, usage: { ...at, amounts: usage.amounts } });
    run.output.push(done);
    run.stream.send(event);
  };
}

interface DecideOptions {
  readonly tool: AgentTool | undefined;
  readonly problem: string | undefined;
  readonly spent: string | undefined;
  readonly context: CallContext;
  readonly world: RunWorld;
}

function decideCall(
  run: ActiveRun,
  call: CallRecord,
  { tool, problem, spent, context, world }: DecideOptions,
): PolicyDecision {
  const nowMs = world.clock.now();
  // An orphaned call stands in the journal already: it must not use up its own limit.
  const itself = call.state === "started" ? 1 : 0;
  const place = { server: call.server, tool: call.tool };
  const budgets = [context.config.budgets.toolCalls, run.record.request.max_tool_calls].filter(
    (max) => max !== undefined && max !== null,
  );
  return decideAction({
    tool: tool?.rule,
    definition: tool?.definition ?? "Missing",
    argumentsProblem: problem,
    callsInRun: world.journal.callsInRun(run.record.id, place) - itself,
    callsInHour: world.journal.callsSince(nowMs - HOUR_MS, place) - itself,
    mode: context.control?.mode ?? "Running",
    toolCallsUsed: world.journal.callsStarted(run.record.id) - itself,
    toolCallsMax: budgets.length > 0 ? Math.min(...budgets) : undefined,
    entitled: isEntitled(context.control, nowMs),
    inPlan: allowsTool(context.control?.entitlement.features, { server: call.server, name: call.tool }),
    spent,
  });
}

/** Writes `started` and its key, and counts, before the first byte leaves. */
function start(run: ActiveRun, call: CallRecord, world: RunWorld): void {
  const fact = world.journal.startCall(run.record, call, {
    key: idempotencyKey(run, call),
    startedAtMs: world.clock.now(),
    countIn: world.counter.countIn,
  });
  try {
    world.counter.count();
  } catch (error) {
    // The call never leaves: its fact must not be counted once the file can be written again.
    world.journal.undoStart(run.record, call, fact);
    throw error;
  }
}

/** What of a result's report is counted. What is refused is said aloud, and the answer still reaches the model. */
function judgeUsage(
  run: ActiveRun,
  call: CallRecord,
  { outcome, tool, world }: { readonly outcome: ToolOutcome; readonly tool: AgentTool; readonly world: RunWorld },
): ToolUsage {
  const report = "usage" in outcome ? outcome.usage : undefined;
  const usage = readToolUsage(report, { declared: tool.usage, hasRoom: world.counter.hasRoom });
  for (const { code, message } of usage.refusals) {
    world.metrics.usageRefused(code);
    const place = { run: run.record.id, call: call.callId, tool: `${call.server}/${call.tool}` };
    world.log.warn({ ...place, code, reason: message }, "Refused usage that a tool reported");
  }
  return usage;
}

/** The run's id first, since models do not promise unique call ids. */
function idempotencyKey(run: ActiveRun, call: CallRecord): string {
  return `${run.record.id}:${call.callId}`;
}

interface CallOptions {
  readonly tool: AgentTool;
  readonly value: Readonly<Record<string, unknown>>;
  readonly world: RunWorld;
}

/** Not bound to the run's signal: a call that has left is waited for, whoever has gone meanwhile. */
async function callTool(run: ActiveRun, call: CallRecord, { tool, value, world }: CallOptions): Promise<ToolOutcome> {
  const once = (traceHeaders: Readonly<Record<string, string>>): Promise<ToolOutcome> =>
    world.servers.call(tool.server, {
      tool: tool.rule.name,
      arguments: value,
      idempotencyKey: idempotencyKey(run, call),
      principal: run.record.principal,
      timeoutMs: world.toolTimeoutMs,
      traceHeaders,
    });
  return spanTool(run.span, call, async (headers) => {
    const first = await once(headers);
    return first.kind === "Unknown" && tool.safeToRetry ? once(headers) : first;
  });
}

type ItemOutcome = Pick<McpCallItem, "output" | "error" | "status"> & { readonly text: string };

function toItemOutcome(outcome: ToolOutcome): [ItemOutcome, CallEnd["state"]] {
  if (outcome.kind === "Done")
    return [{ output: outcome.text, error: null, status: "completed", text: outcome.text }, "done"];
  if (outcome.kind === "Unknown") return [toUnknownItem(outcome.text), "unknown"];
  return [{ output: null, error: outcome.error, status: "failed", text: `Error: ${outcome.text}` }, "failed"];
}

function toUnknownItem(why: string): ItemOutcome {
  const text = `Error: ${why}: ${UNVERIFIED}`;
  return { output: null, error: toExecutionError(text), status: "failed", text };
}

function toRefusedItem(
  decision: Extract<PolicyDecision, { effect: "Refuse" }>,
  status: "failed" | "incomplete",
): ItemOutcome {
  const text = `Refused (${decision.code}): ${decision.reason}`;
  return { output: null, error: toExecutionError(text), status, text };
}

interface AuditorOptions {
  readonly context: CallContext;
  readonly world: RunWorld;
  readonly decision: PolicyDecision;
  readonly args: Readonly<Record<string, unknown>>;
}

type Report = (outcome: AuditOutcome, usage?: ToolUsage) => void;

/** Writes the audit line of each step of a call, and counts it for dashboards. */
function auditor(run: ActiveRun, call: CallRecord, options: AuditorOptions): Report {
  const { context, world, decision, args } = options;
  const { namespace, name } = context.config.agent;
  const subject: AuditSubject = {
    who: run.record.caller,
    actingFor: run.record.principal,
    agent: `${namespace}/${name}`,
    generation: context.config.generation,
    run: run.record.id,
    call: call.callId,
    tool: call.server === "" ? call.name : `${call.server}/${call.tool}`,
    argumentsDigest: digestOf(args),
    planId: context.control?.entitlement.planId ?? "",
  };
  return (outcome, usage = NO_TOOL_USAGE) => {
    const record = { ...toAuditRecord(subject, decision, outcome), ...auditUsage(usage) };
    world.log.info(record, "Decided tool call");
    if (decision.effect === "Refuse" && outcome === "Refused") world.metrics.toolRefused(decision.code);
    else if (outcome !== "Started") world.metrics.toolCallEnded(outcome);
  };
}
