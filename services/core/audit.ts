import type { ToolUsage, UsageRefusalCode } from "./tool-usage.ts";
import type { Lane, PolicyDecision, PolicyRule, RefusalCode } from "./policy.ts";

/** What became of a call: refused before it left, put to a person, how it ended; Shared: another call of the same approval was made, this one was not. */
export type AuditOutcome = "Refused" | "Waiting" | "Started" | "Done" | "Failed" | "Unknown" | "Shared";

/** Who did what under which rule. Holds no prompt, no argument and no result: digests alone. */
export interface AuditRecord {
  readonly audit: true;
  /** Verified subject of the caller: the agent's gateway. */
  readonly who: string;
  /** Verified principal that the call is made for. */
  readonly actingFor: string;
  /** NAMESPACE/NAME of the AgentDeployment. */
  readonly agent: string;
  /** Generation of the AgentDeployment whose rules decided. */
  readonly generation: number;
  readonly run: string;
  readonly call: string;
  /** SERVER/FUNCTION as configured, else what the model asked for. */
  readonly tool: string;
  /** SHA-256 of the canonical arguments (RFC 8785), in hex. */
  readonly argumentsDigest: string;
  /** The plan bought; empty in plain mode. */
  readonly planId: string;
  readonly lane: Lane;
  readonly rule: PolicyRule;
  readonly code: RefusalCode | "";
  readonly outcome: AuditOutcome;
  /** The Approval that a person was asked with, and who decided, once somebody has; the evidence itself is the object. */
  readonly approval?: {
    readonly name: string;
    readonly uid: string;
    readonly digest: string;
    readonly decidedBy: string;
  };
  /** What the call's result reported as used, where it reported something: what was counted of it, and what was refused why. */
  readonly usage?: {
    readonly counted: Readonly<Record<string, number>>;
    readonly refused: readonly UsageRefusalCode[];
  };
}

/** The circumstances of a call, without the decision. */
export type AuditSubject = Pick<
  AuditRecord,
  "who" | "actingFor" | "agent" | "generation" | "run" | "call" | "tool" | "argumentsDigest" | "planId" | "approval"
>;

/** Joins circumstances, decision and outcome to one record. A refused call has no other outcome than Refused. */
export function toAuditRecord(subject: AuditSubject, decision: PolicyDecision, outcome: AuditOutcome): AuditRecord {
  const refused = decision.effect === "Refuse";
  return {
    audit: true,
    ...subject,
    lane: decision.lane,
    rule: decision.rule,
    code: refused ? decision.code : "",
    outcome: refused ? "Refused" : outcome,
  };
}

/** The part of an audit line that tells of reported usage; nothing where nothing was reported. */
export function auditUsage({ amounts, refusals }: ToolUsage): Pick<AuditRecord, "usage"> {
  if (amounts.length === 0 && refusals.length === 0) return {};
  return {
    usage: {
      counted: Object.fromEntries(amounts.map(({ dimension, amount }) => [dimension, amount])),
      refused: refusals.map(({ code }) => code),
    },
  };
}
