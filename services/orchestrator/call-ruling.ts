import type { OrchestratorConfig } from "#core/api/pod-config.ts";
import type { PolicyDecision } from "#core/policy.ts";
import type { ActiveRun, RunWorld } from "./active-run.ts";
import { type Answer, consult, currentDigest } from "./approvals/consult.ts";
import type { AskedApproval, CallRecord } from "./store/journal.ts";
import type { AgentTool } from "./tools.ts";

/** What is to become of a call, once policy and people have spoken. */
export type Ruling =
  | {
      readonly kind: "Decided";
      readonly decision: Exclude<PolicyDecision, { effect: "Ask" }>;
      readonly asked?: AskedApproval;
      readonly decidedBy?: string;
    }
  | Extract<Answer, { kind: "Wait" | "Used" }>;

interface RulingOptions {
  readonly config: OrchestratorConfig;
  readonly tool: AgentTool | undefined;
  readonly args: Readonly<Record<string, unknown>>;
  readonly world: RunWorld;
  /** The policy's decision on the facts of now. */
  readonly decide: () => PolicyDecision;
}

/**
 * Policy first and last: people are asked only about what nothing forbids, and while they were asked it may have come to
 * be forbidden. Between the last decision and what follows from it nothing is waited for.
 */
export async function ruleOn(run: ActiveRun, call: CallRecord, options: RulingOptions): Promise<Ruling> {
  const { tool, decide } = options;
  const decision = decide();
  if (decision.effect === "Refuse" || tool === undefined) return { kind: "Decided", decision: refuseUnknown(decision) };
  if (decision.effect === "Call" && call.approval === null) return { kind: "Decided", decision };
  if (call.state === "started") return ruleOnOrphan(call, { ...options, tool, decision });
  const answer = await consult(run, call, { ...options, tool, decision });
  if (answer.kind === "Wait" || answer.kind === "Used") return answer;
  const last = decide();
  const { kind, ...told } = answer;
  if (last.effect === "Refuse") return { ...told, kind: "Decided", decision: last };
  if (answer.kind === "Refused") {
    const { code, reason } = answer;
    return { ...told, kind: "Decided", decision: { ...last, effect: "Refuse", code, reason } };
  }
  const reason = `Approved by ${answer.decidedBy}`;
  return { ...told, kind: "Decided", decision: { ...last, effect: "Call", reason } };
}

/** Policy allows nothing that the agent does not have; without its tool a call cannot be made. */
function refuseUnknown(decision: PolicyDecision): Exclude<PolicyDecision, { effect: "Ask" }> {
  if (decision.effect === "Refuse") return decision;
  return { ...decision, effect: "Refuse", code: "unknown_tool", reason: "The agent has no such tool" };
}

/** A call that had left by a yes, which is spent on it: the yes holds for the same call alone, under the same rules. */
function ruleOnOrphan(
  call: CallRecord,
  options: RulingOptions & {
    readonly tool: AgentTool;
    readonly decision: Exclude<PolicyDecision, { effect: "Refuse" }>;
  },
): Ruling {
  const { decision, world } = options;
  const asked = call.approval === null ? undefined : world.journal.approval(call.approval);
  if (asked && asked.digest === currentDigest(asked, options))
    return { kind: "Decided", asked, decision: { ...decision, effect: "Call" } };
  const refusal = { effect: "Refuse", code: "approval_unavailable" } as const;
  return { kind: "Decided", decision: { ...decision, ...refusal } };
}
