import type { Control, OrchestratorConfig } from "#core/api/pod-config.ts";
import { allowsTool } from "#core/grant.ts";
import { decideAction, type PolicyDecision } from "#core/policy.ts";
import { readToolUsage, type ToolUsage } from "#core/tool-usage.ts";
import type { HoldResult } from "#runtime/holds.ts";
import type { ActiveRun, RunWorld } from "./active-run.ts";
import { auditor, type Report } from "./call-audit.ts";
import { beginItem, toItemOutcome, toRefusedItem, toSharedItem, toUnknownItem } from "./call-item.ts";
import { ruleOn, type Ruling } from "./call-ruling.ts";
import { isEntitled } from "./entitle.ts";
import type { ToolOutcome } from "./mcp-result.ts";
import { spanTool } from "./spans.ts";
import { type AskedApproval, type CallRecord, ClaimedError } from "./store/journal.ts";
import { type AgentTool, isAgentTool, readArguments, type Toolbox } from "./tools.ts";

const HOUR_MS = 3600 * 1000;

/** How one call ended for the run as a whole. Waiting: it has not ended, a person must decide. */
export type CallVerdict =
  | { readonly kind: "Continue" | "BudgetExhausted" }
  | { readonly kind: "Waiting"; readonly asked: AskedApproval };

const CONTINUE = { kind: "Continue" } as const;

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
 * Carries one call of the agent's own tools to its end: decide, ask a person where one must be asked, write `started`,
 * call, write the result. A call that is found `started` was orphaned by a crash: it runs again only where the tool is
 * safe to retry, with the same key.
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
  const { config } = context;
  const args = readArguments(call.arguments, tool?.inputSchema);
  const spent = hold.ok ? undefined : hold.dimension;
  const decide = (): PolicyDecision => decideCall(run, call, { tool, problem: args.problem, spent, context, world });
  const ruling = await ruleOn(run, call, { config, tool, args: args.value, world, decide });
  const decision = ruling.kind === "Decided" ? ruling.decision : decide();
  const report = auditor(run, call, { context, world, decision, ruling, args: args.value });
  switch (ruling.kind) {
    case "Wait":
      // Said once: a later response that finds it still waiting says nothing new.
      if (call.approval !== ruling.asked.name) report("Waiting");
      return { kind: "Waiting", asked: ruling.asked };
    case "Used":
      return shareCall(run, call, { world, asked: ruling.asked, report });
    case "Decided":
      return carryRuling(run, call, { world, tool, value: args.value, ruling, report });
  }
}

interface RuledCall {
  readonly world: RunWorld;
  readonly tool: AgentTool | undefined;
  readonly value: Readonly<Record<string, unknown>>;
  readonly ruling: Extract<Ruling, { kind: "Decided" }>;
  readonly report: Report;
}

async function carryRuling(run: ActiveRun, call: CallRecord, options: RuledCall): Promise<CallVerdict> {
  const { tool, world, report } = options;
  const { decision, asked } = options.ruling;
  if (decision.effect === "Call" && tool && !mustNotRepeat(call, tool)) {
    if (asked && !startByApproval(run, call, { world, asked })) return shareCall(run, call, { world, asked, report });
    if (!asked && call.state !== "started") start(run, call, { world, approval: null });
    await carryOut(run, call, { ...options, tool, asked });
    return CONTINUE;
  }
  return endUncalled(run, call, options);
}

/** Ends a call that is not made: refused, or of an outcome that nobody can know. */
function endUncalled(run: ActiveRun, call: CallRecord, { world, report, ruling }: RuledCall): CallVerdict {
  const { decision, asked } = ruling;
  const end = beginItem(run, call, { world, asked });
  if (decision.effect === "Refuse" && call.state !== "started") {
    report("Refused");
    const isBudget = decision.code === "budget_exhausted";
    end(toRefusedItem(decision, isBudget ? "incomplete" : "failed"), "failed");
    return isBudget ? { kind: "BudgetExhausted" } : CONTINUE;
  }
  report("Unknown");
  end(toUnknownItem("The outcome of this call was lost"), "unknown");
  return CONTINUE;
}

interface SharedCall {
  readonly world: RunWorld;
  readonly asked: AskedApproval;
  readonly report: Report;
}

/** One yes, one call: whoever comes second gets what the first has brought, or is told who is at it. */
function shareCall(run: ActiveRun, call: CallRecord, { world, asked, report }: SharedCall): CallVerdict {
  const claim = world.journal.approval(asked.name)?.claim;
  const made = claim ? world.journal.call(claim) : undefined;
  const end = beginItem(run, call, { world, asked });
  report("Shared");
  if (made && made.result !== null && isEnded(made.state)) {
    end(toSharedItem({ state: made.state, result: made.result }), made.state);
    return CONTINUE;
  }
  const reason = `Response ${claim?.id ?? "unknown"} makes this call, it is not made twice`;
  end(toRefusedItem({ code: "approval_used", reason }, "failed"), "failed");
  return CONTINUE;
}

function isEnded(state: CallRecord["state"]): state is "done" | "failed" | "unknown" {
  return state === "done" || state === "failed" || state === "unknown";
}

interface CarryOptions extends CallOptions {
  readonly report: Report;
  readonly asked: AskedApproval | undefined;
}

/** Send, journal, count: what is written down as started is brought to its end. */
async function carryOut(run: ActiveRun, call: CallRecord, options: CarryOptions): Promise<void> {
  const { tool, world, report, asked } = options;
  const end = beginItem(run, call, { world, asked });
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
  // As it is now: a person may have been asked meanwhile.
  const control = world.live.control();
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
    mode: control?.mode ?? "Running",
    toolCallsUsed: world.journal.callsStarted(run.record.id) - itself,
    toolCallsMax: budgets.length > 0 ? Math.min(...budgets) : undefined,
    entitled: isEntitled(control, nowMs),
    inPlan: allowsTool(control?.entitlement.features, { server: call.server, name: call.tool }),
    spent,
  });
}

/** Writes `started` and its key, and counts, before the first byte leaves. */
function start(
  run: ActiveRun,
  call: CallRecord,
  { world, approval }: { readonly world: RunWorld; readonly approval: string | null },
): void {
  const fact = world.journal.startCall(run.record, call, {
    key: idempotencyKey(run, call),
    startedAtMs: world.clock.now(),
    countIn: world.counter.countIn,
    approval,
  });
  try {
    world.counter.count();
  } catch (error) {
    // The call never leaves: its fact must not be counted once the file can be written again.
    world.journal.undoStart(run.record, call, fact);
    throw error;
  }
}

/** Starts a call that people approved. False: another call has used the approval. */
function startByApproval(
  run: ActiveRun,
  call: CallRecord,
  { world, asked }: { readonly world: RunWorld; readonly asked: AskedApproval },
): boolean {
  // Orphaned: it has its claim.
  if (call.state === "started") return true;
  try {
    start(run, call, { world, approval: asked.name });
    return true;
  } catch (error) {
    if (error instanceof ClaimedError) return false;
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
