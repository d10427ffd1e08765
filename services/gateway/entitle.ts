import type { Control } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";

/** What the entitlement has to judge. */
export interface EntitlementRequest {
  /** A new run of the agent, a model call of a client, a model call of the agent's own run, or anything else. */
  readonly kind: "agent_run" | "client_model_call" | "run_model_call" | "other";
  /** System time in milliseconds. */
  readonly nowMs: number;
}

/**
 * Whether the pod may serve. Throws Refusal: no grant yet is 503, everything else 403. A grant's `validUntil` was written by
 * the reporter's clock, which runs ahead by `clockOffsetSeconds` in a demo; so the same offset is added here. Unknown
 * counts as entitled until its grant ends: an outage of ours stops no customer.
 */
export function checkEntitlement(control: Control | undefined, request: EntitlementRequest): void {
  if (control === undefined) throw new Refusal("not_ready", "Cannot serve before a grant has arrived");
  const { entitlement, mode } = control;
  if (mode === "Revoked") throw new Refusal("not_entitled", "Cannot serve as the agent was revoked");
  if (entitlement.state === "Revoked")
    throw new Refusal("not_entitled", "Cannot serve as the subscription was revoked");
  if (entitlement.state === "Suspended")
    throw new Refusal("subscription_suspended", "Cannot serve as the subscription is suspended");
  if (!(request.nowMs + control.clockOffsetSeconds * 1000 < validUntilMsOf(entitlement)))
    throw new Refusal("not_entitled", `Cannot serve as the grant ended at ${entitlement.validUntil}`);
  checkMode(mode, request.kind);
}

/** Dates as numbers: every request asks twice, and a parse costs more than all other checks here. */
const parsed = new WeakMap<Control["entitlement"], number>();

function validUntilMsOf(entitlement: Control["entitlement"]): number {
  const known = parsed.get(entitlement);
  if (known !== undefined) return known;
  const validUntilMs = Date.parse(entitlement.validUntil);
  parsed.set(entitlement, validUntilMs);
  return validUntilMs;
}

/** Paused: nothing new begins, but runs in flight may end, so their model calls go on. */
function checkMode(mode: Control["mode"], kind: EntitlementRequest["kind"]): void {
  if (mode === "Paused" && (kind === "agent_run" || kind === "client_model_call"))
    throw new Refusal("agent_paused", "Cannot begin anything new as the agent is paused");
}
