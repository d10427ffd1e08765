/**
 * A tool call that waits for a person. What is asked is bound to a digest of exactly that; the state follows from facts
 * alone, so that whoever looks again sees the same. Everything that is not plainly approved is no approval.
 */

/** Rises when the meaning of a rule or of the digest changes: what was asked under the older one is asked again. */
const RULES = 1;

/** How long after the last instant of its decision an approval may be used: what was right then need not be right now. */
export const APPROVAL_USE_MS = 24 * 3600 * 1000;

/** Characters of the canonical arguments that an Approval holds. */
export const APPROVAL_ARGUMENTS_MAX = 16_384;

/** Exactly what a person is asked. */
export interface ApprovalQuestion {
  readonly namespace: string;
  readonly agentDeployment: string;
  /** Generation of the AgentDeployment whose rules asked, as a decimal string. */
  readonly agentGeneration: string;
  readonly runId: string;
  readonly callId: string;
  readonly server: string;
  readonly tool: string;
  /** Canonical JSON (RFC 8785). */
  readonly arguments: string;
  /** Of toRuleVersion(). */
  readonly ruleVersion: string;
}

/** The version of the rules that asked, joined with a digest of the tool as configured. */
export function toRuleVersion(toolDigest: string): string {
  return `${RULES}.${toolDigest.slice(0, 32)}`;
}

/** What the digest is made over: these fields and no others, whatever else an object carries. */
export function toDigestSubject(question: ApprovalQuestion): ApprovalQuestion {
  const { namespace, agentDeployment, agentGeneration, runId, callId, server, tool, ruleVersion } = question;
  return {
    namespace,
    agentDeployment,
    agentGeneration,
    runId,
    callId,
    server,
    tool,
    arguments: question.arguments,
    ruleVersion,
  };
}

/** The object's name, in which its digest can be recognised: names are read by people and stay short. */
export function approvalName(agent: string, digest: string): string {
  return `${agent}-${digest.slice(0, 20)}`;
}

/** The id of the output item that asks a client for patience; the same digits as in the object's name. */
export function approvalItemId(digest: string): string {
  return `mcpr_${digest.slice(0, 20)}`;
}

/** What a person wrote. */
export interface ApprovalDecision {
  readonly verdict: "Approve" | "Deny";
  readonly decidedBy: string;
  /** RFC 3339. */
  readonly decidedAt: string;
  readonly reason?: string | undefined;
  readonly digest: string;
}

/** The object as it is now. */
export interface ApprovalView {
  readonly uid: string;
  /** Of its request. */
  readonly digest: string;
  readonly expiresAtMs: number;
  readonly decision?: ApprovalDecision | undefined;
}

export interface ApprovalFacts {
  /** What was asked, as the journal has it. */
  readonly asked: { readonly uid: string; readonly digest: string; readonly expiresAtMs: number };
  /** The digest of the same call under the rules of now. */
  readonly currentDigest: string;
  /** Nothing when somebody has deleted the object. */
  readonly view: ApprovalView | undefined;
  readonly nowMs: number;
}

/** Where an approval stands. Stale: ask again, what was asked is not what would be done. */
export type ApprovalState =
  | { readonly state: "Waiting" }
  | { readonly state: "Approved"; readonly decidedBy: string }
  | { readonly state: "Rejected"; readonly decidedBy: string; readonly reason: string }
  | { readonly state: "TimedOut" }
  | { readonly state: "Stale" };

/** A "no" holds whatever has changed since; a "yes" holds for exactly what was asked, in time. */
export function decideApproval({ asked, currentDigest, view, nowMs }: ApprovalFacts): ApprovalState {
  if (view?.uid !== asked.uid)
    return { state: "Rejected", decidedBy: "", reason: "The request for approval was withdrawn" };
  const { decision } = view;
  if (decision?.verdict === "Deny")
    return { state: "Rejected", decidedBy: decision.decidedBy, reason: decision.reason ?? "" };
  if (currentDigest !== asked.digest || view.digest !== asked.digest) return { state: "Stale" };
  if (decision) return stateOfApproval(decision, { asked, nowMs });
  return nowMs < asked.expiresAtMs ? { state: "Waiting" } : { state: "TimedOut" };
}

function stateOfApproval(
  decision: ApprovalDecision,
  { asked, nowMs }: Pick<ApprovalFacts, "asked" | "nowMs">,
): ApprovalState {
  if (decision.digest !== asked.digest) return { state: "Stale" };
  const decidedAtMs = Date.parse(decision.decidedAt);
  // Written so that an unreadable time is out of time.
  if (!(decidedAtMs <= asked.expiresAtMs)) return { state: "TimedOut" };
  if (nowMs >= asked.expiresAtMs + APPROVAL_USE_MS) return { state: "TimedOut" };
  return { state: "Approved", decidedBy: decision.decidedBy };
}
