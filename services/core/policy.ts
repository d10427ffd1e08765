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
  | {
      readonly effect: "Refuse";
      readonly lane: Lane;
      readonly rule: PolicyRule;
      readonly code: RefusalCode;
      readonly reason: string;
    };

type Refusal = Omit<Extract<PolicyDecision, { effect: "Refuse" }>, "effect" | "lane">;
type Check = (facts: ActionFacts, tool: ToolRule) => Refusal | undefined;

/** In order: the first check that objects decides. */
const CHECKS: readonly Check[] = [
  checkDefinition,
  checkArguments,
  checkLane,
  checkCallsPerRun,
  checkCallsPerHour,
  checkMode,
  checkBudget,
  checkEntitlement,
  checkPlan,
  checkHardLimit,
];

/** Decides one call. Only a listed function in lane Automatic that passes every check is called. */
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
  switch (tool.lane) {
    case "Automatic":
      return undefined;
    case "Approval":
      return needsApproval("lane_approval", "The tool needs a person's approval");
    case "Never":
      return { rule: "lane_never", code: "tool_forbidden", reason: "The agent may never call this tool" };
  }
}

function checkCallsPerRun(facts: ActionFacts, tool: ToolRule): Refusal | undefined {
  if (tool.callsPerRun === undefined || facts.callsInRun < tool.callsPerRun) return undefined;
  return overLimit(tool, "calls_per_run", `The tool may be called at most ${tool.callsPerRun} times in a run`);
}

function checkCallsPerHour(facts: ActionFacts, tool: ToolRule): Refusal | undefined {
  if (tool.callsPerHour === undefined || facts.callsInHour < tool.callsPerHour) return undefined;
  return overLimit(tool, "calls_per_hour", `The tool may be called at most ${tool.callsPerHour} times in an hour`);
}

function checkMode(facts: ActionFacts): Refusal | undefined {
  if (facts.mode !== "Constrained") return undefined;
  return needsApproval("mode_constrained", "The agent is constrained: every tool call needs a person's approval");
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

function overLimit(tool: ToolRule, rule: PolicyRule, reason: string): Refusal {
  return tool.overLimit === "Approval" ? needsApproval(rule, reason) : { rule, code: "over_limit", reason };
}

/** Approvals come with a later version; until then whatever needs one is refused and says so. */
function needsApproval(rule: PolicyRule, reason: string): Refusal {
  return { rule, code: "approval_unavailable", reason: `${reason}, and approvals are not available in this version` };
}
