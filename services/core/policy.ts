/**
 * Whether a tool call that the model asked for may happen: decided here, outside the model, from facts alone.
 * The order is fixed: a call that is unknown, changed or malformed is refused before its lane is looked at.
 */
export type Lane = "Automatic" | "Approval" | "Never";

/** The rule that decided, for the audit record; a closed list. */
export type PolicyRule =
  | "tool_known"
  | "definition_pinned"
  | "arguments_valid"
  | "lane_never"
  | "lane_approval"
  | "calls_per_run"
  | "calls_per_hour"
  | "mode_constrained"
  | "budget_tool_calls"
  | "entitlement"
  | "plan_tools"
  | "hard_limit"
  | "lane_automatic";

/** Why a call was refused, as the model and the caller see it; a closed list. */
export type RefusalCode =
  | "unknown_tool"
  | "definition_changed"
  | "invalid_arguments"
  | "tool_forbidden"
  | "approval_unavailable"
  | "approval_denied"
  | "approval_timed_out"
  | "approval_used"
  | "over_limit"
  | "budget_exhausted"
  | "not_entitled"
  | "hard_limit_reached";

/** One function as the AgentDeployment lists it. */
export interface ToolRule {
  readonly server: string;
  readonly name: string;
  readonly lane: Lane;
  readonly callsPerRun?: number | undefined;
  readonly callsPerHour?: number | undefined;
  /** The lane of a call over its limit. */
  readonly overLimit: "Approval" | "Never";
}

/** What is known about one call when it is decided. */
export interface ActionFacts {
  /** Nothing when the AgentDeployment lists no such function: then the lane is Never. */
  readonly tool: ToolRule | undefined;
  /** Whether the server's definition is the one that was pinned. */
  readonly definition: "Pinned" | "Changed" | "Missing";
  /** What is wrong with the arguments. */
  readonly argumentsProblem: string | undefined;
  /** Calls of this function that were started before this one. */
  readonly callsInRun: number;
  readonly callsInHour: number;
  readonly mode: "Running" | "Constrained" | "Paused" | "Revoked";
  /** Tool calls that this run has started, and how many it may start. */
  readonly toolCallsUsed: number;
  readonly toolCallsMax: number | undefined;
  /** Whether the agent's grant is in force. */
  readonly entitled: boolean;
  /** Whether the plan allows this function. */
  readonly inPlan: boolean;
  /** The dimension of a hard limit of the plan that the call could exceed. */
  readonly spent: string | undefined;
}

export type PolicyDecision =
  | { readonly effect: "Call"; readonly lane: Lane; readonly rule: PolicyRule; readonly reason: string }
  /** Nothing forbids the call, and a person has to allow it. */
  | { readonly effect: "Ask"; readonly lane: Lane; readonly rule: PolicyRule; readonly reason: string }
  | {
      readonly effect: "Refuse";
      readonly lane: Lane;
      readonly rule: PolicyRule;
      readonly code: RefusalCode;
      readonly reason: string;
    };

/** A call that policy refuses, as the model is told. */
export type PolicyRefusal = Extract<PolicyDecision, { effect: "Refuse" }>;

type Refusal = Omit<PolicyRefusal, "effect" | "lane">;
type Question = Omit<Extract<PolicyDecision, { effect: "Ask" }>, "effect" | "lane">;
type Check<T> = (facts: ActionFacts, tool: ToolRule) => T | undefined;

/** In order: the first check that objects decides. No person is asked for what is forbidden anyway. */
const CHECKS: readonly Check<Refusal>[] = [
  checkDefinition,
  checkArguments,
  checkLane,
  checkLimits,
  checkBudget,
  checkEntitlement,
  checkPlan,
  checkHardLimit,
];

/** In order: the first that wants a person decides what the person is told. */
const QUESTIONS: readonly Check<Question>[] = [askByLane, askByLimits, askByMode];

/** Decides one call. Only a listed function in lane Automatic that passes every check is called; what passes in lane Approval is asked. */
export function decideAction(facts: ActionFacts): PolicyDecision {
  const { tool } = facts;
  if (tool === undefined) {
    const reason = "The agent has no such tool";
    return { effect: "Refuse", lane: "Never", rule: "tool_known", code: "unknown_tool", reason };
  }
  for (const check of CHECKS) {
    const refusal = check(facts, tool);
    if (refusal) return { effect: "Refuse", lane: tool.lane, ...refusal };
  }
  for (const ask of QUESTIONS) {
    const question = ask(facts, tool);
    if (question) return { effect: "Ask", lane: tool.lane, ...question };
  }
  return { effect: "Call", lane: tool.lane, rule: "lane_automatic", reason: "Automatic within its limits" };
}

function checkDefinition(facts: ActionFacts): Refusal | undefined {
  if (facts.definition === "Pinned") return undefined;
  const reason =
    facts.definition === "Changed"
      ? "The tool server changed the definition of this tool; it is not callable until the agent's spec changes"
      : "The tool server offers no such tool";
  const code = facts.definition === "Changed" ? "definition_changed" : "unknown_tool";
  return { rule: "definition_pinned", code, reason };
}

function checkArguments(facts: ActionFacts): Refusal | undefined {
  if (facts.argumentsProblem === undefined) return undefined;
  return { rule: "arguments_valid", code: "invalid_arguments", reason: facts.argumentsProblem };
}

function checkLane(_facts: ActionFacts, tool: ToolRule): Refusal | undefined {
  if (tool.lane !== "Never") return undefined;
  return { rule: "lane_never", code: "tool_forbidden", reason: "The agent may never call this tool" };
}

function askByLane(_facts: ActionFacts, tool: ToolRule): Question | undefined {
  if (tool.lane === "Automatic") return undefined;
  return { rule: "lane_approval", reason: "The tool needs a person's approval" };
}

function checkLimits(facts: ActionFacts, tool: ToolRule): Refusal | undefined {
  const over = tool.overLimit === "Never" ? overLimit(facts, tool) : undefined;
  return over && { ...over, code: "over_limit" };
}

function askByLimits(facts: ActionFacts, tool: ToolRule): Question | undefined {
  return tool.overLimit === "Approval" ? overLimit(facts, tool) : undefined;
}

/** Which limit the call would exceed. */
function overLimit({ callsInRun, callsInHour }: ActionFacts, tool: ToolRule): Question | undefined {
  if (tool.callsPerRun !== undefined && callsInRun >= tool.callsPerRun)
    return { rule: "calls_per_run", reason: `The tool may be called at most ${tool.callsPerRun} times in a run` };
  if (tool.callsPerHour !== undefined && callsInHour >= tool.callsPerHour)
    return { rule: "calls_per_hour", reason: `The tool may be called at most ${tool.callsPerHour} times in an hour` };
  return undefined;
}

function askByMode({ mode }: ActionFacts): Question | undefined {
  if (mode !== "Constrained") return undefined;
  return { rule: "mode_constrained", reason: "The agent is constrained: every tool call needs a person's approval" };
}

function checkBudget(facts: ActionFacts): Refusal | undefined {
  if (facts.toolCallsMax === undefined || facts.toolCallsUsed < facts.toolCallsMax) return undefined;
  const reason = `The run may start at most ${facts.toolCallsMax} tool calls`;
  return { rule: "budget_tool_calls", code: "budget_exhausted", reason };
}

function checkEntitlement(facts: ActionFacts): Refusal | undefined {
  if (facts.entitled && facts.mode !== "Revoked") return undefined;
  return { rule: "entitlement", code: "not_entitled", reason: "The agent is not entitled to act" };
}

function checkPlan({ inPlan }: ActionFacts): Refusal | undefined {
  if (inPlan) return undefined;
  return { rule: "plan_tools", code: "not_entitled", reason: "The plan does not allow this tool" };
}

function checkHardLimit({ spent }: ActionFacts): Refusal | undefined {
  if (spent === undefined) return undefined;
  const reason = `The plan's limit of ${spent} is used up, or too little is left for this call`;
  return { rule: "hard_limit", code: "hard_limit_reached", reason };
}
