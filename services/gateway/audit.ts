import { hash } from "node:crypto";
import { errorEntry, type Refusal } from "#core/errors.ts";
import type { Gateway } from "./gateway.ts";
import type { Turn } from "./turn.ts";

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
  const { refusal, status } = verdict;
  const facts = {
    ...whoAndWhat(turn),
    ...turn.outcome,
    ...ofBody(turn.body),
    status,
    durationMs: ageMs(gateway, turn),
  };
  if (refusal)
    gateway.audit.add({ ...facts, decision: "refuse", rule: refusal.code, reason: refusal.message }, "Refused request");
  else gateway.audit.add({ ...facts, decision: "allow", rule: "entitled" }, "Answered request");
}

function ageMs(gateway: Gateway, turn: Turn): number {
  return Math.round(gateway.clock.monotonic() - turn.startMs);
}

function whoAndWhat(turn: Turn): Record<string, string | undefined> {
  const agent = turn.snapshot?.config.agent;
  return {
    requestId: turn.requestId,
    traceId: turn.traceparent.slice(3, 35),
    agent: agent && `${agent.namespace}/${agent.name}`,
    route: turn.route?.name ?? "unknown",
    callerKind: turn.caller?.kind,
    principal: turn.caller?.principal,
    actor: turn.caller?.actor,
    planId: turn.planId,
    model: turn.model,
  };
}

function ofBody(body: Buffer | undefined): { readonly bodyBytes?: number; readonly bodySha256?: string } {
  if (body === undefined) return {};
  return { bodyBytes: body.length, bodySha256: hash("sha256", body) };
}

export interface Verdict {
  readonly status: number;
  readonly refusal?: Refusal;
}

/** The verdict of a refusal. */
export function refused(refusal: Refusal): Verdict {
  return { status: errorEntry(refusal.code).status, refusal };
}
