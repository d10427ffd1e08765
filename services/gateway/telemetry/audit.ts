import { hash } from "node:crypto";
import { errorEntry, type Refusal } from "#core/errors.ts";
import type { AuditFacts } from "./audit-log.ts";
import type { Gateway } from "../gateway.ts";
import type { UnreadRequest } from "../wire/client-error.ts";
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
  if (refusal) {
    turn.reason = refusal.code;
    gateway.metrics.refusals.inc({ reason: refusal.code });
  }
  gateway.audit.add(toFacts(gateway, turn, verdict), refusal ? "Refused request" : "Answered request");
  endSpans(gateway, turn);
}

/** The same of what has never become a request: it is answered, so it is written down. */
export function auditUnread(gateway: Gateway, { requestId, status, refusal }: UnreadRequest): void {
  const { live, metrics, audit } = gateway;
  const snapshot = live.snapshot();
  const { code } = refusal;
  metrics.refusals.inc({ reason: code });
  metrics.requests.inc({ route: "unknown", code: `${Math.floor(status / 100)}xx`, reason: code });
  const facts = { requestId, agent: snapshot?.agent, version: snapshot?.version, route: "unknown", status };
  audit.add({ ...facts, ...toRefused(refusal) }, "Refused request");
  audit.flush();
}

/** One literal with all fields: nothing is copied on the way of every request. */
function toFacts(gateway: Gateway, turn: Turn, { status, refusal }: Verdict): AuditFacts {
  const { snapshot, caller, outcome, body } = turn;
  return {
    requestId: turn.requestId,
    traceId: turn.traceparent.slice(3, 35),
    agent: snapshot?.agent,
    version: snapshot?.version,
    route: turn.route?.name ?? "unknown",
    callerKind: caller?.kind,
    principal: caller?.principal,
    actor: caller?.actor,
    actingFor: actingForOf(caller),
    planId: turn.planId,
    model: turn.model,
    deployment: outcome.deployment,
    attempts: outcome.attempts,
    reservedInputTokens: outcome.reservedInputTokens,
    reservedOutputTokens: outcome.reservedOutputTokens,
    inputTokens: outcome.inputTokens,
    cachedInputTokens: outcome.cachedInputTokens,
    outputTokens: outcome.outputTokens,
    estimated: outcome.estimated,
    finishReason: joined(outcome.finishReasons),
    contentFilter: outcome.contentFilter,
    guardrails: outcome.guardrails,
    rateLimits: outcome.rateLimits,
    cutBy: outcome.cutBy,
    bodyBytes: body?.length,
    bodySha256: body && hash("sha256", body),
    status: statusOf(turn, status),
    durationMs: Math.round(gateway.clock.monotonic() - turn.startMs),
    code: outcome.code,
    ...decisionOf(turn, refusal),
  };
}

/** What has gone out stays: a refusal behind it can only break the answer off. */
function statusOf({ response }: Turn, status: number): number {
  return response.headersSent ? response.statusCode : status;
}

/** Under the name that the orchestrator's lines have for it. */
function actingForOf(caller: Turn["caller"]): string | undefined {
  return caller?.kind === "orchestrator" ? caller.principal : undefined;
}

function decisionOf({ outcome }: Turn, refusal: Refusal | undefined): AuditFacts {
  if (refusal) return toRefused(refusal);
  return outcome.guardrails?.includes("=Mask") ? MASKED : ENTITLED;
}

const ENTITLED = { decision: "allow", rule: "entitled" } as const;
const MASKED = { decision: "mask", rule: "guardrail" } as const;

/** By our way of wording, all that a caller or an upstream has written stands behind these words: it is theirs, and stays out. */
const CURRENT_VALUE = ": current value is ";

function toRefused({ code, rule, message }: Refusal): Record<string, string> {
  const [reason = ""] = message.split(CURRENT_VALUE, 1);
  return { decision: "refuse", code, rule, reason };
}

/** One for each choice of an answer; most have one. */
function joined(reasons: readonly string[] | undefined): string | undefined {
  if (reasons === undefined || reasons.length < 2) return reasons?.[0];
  return [...new Set(reasons)].join(" ");
}

export interface Verdict {
  readonly status: number;
  readonly refusal?: Refusal;
}

/** nginx' number for a client that closed the request. */
export const CLIENT_GONE = 499;

/** The verdict of a refusal. */
export function refused(refusal: Refusal): Verdict {
  return { status: errorEntry(refusal.code).status, refusal };
}
