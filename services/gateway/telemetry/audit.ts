import { hash } from "node:crypto";
import { errorEntry, type Refusal } from "#core/errors.ts";
import type { AuditFacts } from "./audit-log.ts";
import type { Gateway } from "../gateway.ts";
import { endSpans } from "./spans.ts";
import type { Turn } from "../turn.ts";

/**
 * One line per decision, never sampled, written before the answer ends: who, acting for whom, under which plan, what was decided
 * and why. The body's hash and size stand for its content: no prompt, answer, token or key is ever written.
 */
export function auditTurn(gateway: Gateway, turn: Turn, verdict: Verdict): void {
  addAuditLine(gateway, turn, verdict);
  gateway.audit.flush();
}

/** The same for a caller that flushes several lines at once. */
export function addAuditLine(gateway: Gateway, turn: Turn, verdict: Verdict): void {
  if (turn.isAudited) return;
  turn.isAudited = true;
  const { refusal } = verdict;
  gateway.audit.add(toFacts(gateway, turn, verdict), refusal ? "Refused request" : "Answered request");
  endSpans(gateway, turn);
}

/** One literal with all fields: nothing is copied on the way of every request. */
function toFacts(gateway: Gateway, turn: Turn, { status, refusal }: Verdict): AuditFacts {
  const { snapshot, caller, outcome, body } = turn;
  return {
    requestId: turn.requestId,
    traceId: turn.traceparent.slice(3, 35),
    agent: snapshot?.agent,
    route: turn.route?.name ?? "unknown",
    callerKind: caller?.kind,
    principal: caller?.principal,
    actor: caller?.actor,
    planId: turn.planId,
    model: turn.model,
    deployment: outcome.deployment,
    attempts: outcome.attempts,
    inputTokens: outcome.inputTokens,
    cachedInputTokens: outcome.cachedInputTokens,
    outputTokens: outcome.outputTokens,
    estimated: outcome.estimated,
    finishReason: outcome.finishReason,
    contentFilter: outcome.contentFilter,
    guardrails: outcome.guardrails,
    rateLimits: outcome.rateLimits,
    cutBy: outcome.cutBy,
    bodyBytes: body?.length,
    bodySha256: body && hash("sha256", body),
    status,
    durationMs: Math.round(gateway.clock.monotonic() - turn.startMs),
    ...(refusal ? { decision: "refuse", rule: refusal.rule, reason: refusal.message } : ENTITLED),
  };
}

const ENTITLED = { decision: "allow", rule: "entitled" } as const;

export interface Verdict {
  readonly status: number;
  readonly refusal?: Refusal;
}

/** The verdict of a refusal. */
export function refused(refusal: Refusal): Verdict {
  return { status: errorEntry(refusal.code).status, refusal };
}
