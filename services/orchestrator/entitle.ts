import type { Control } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";

/**
 * Whether the agent may act at all. Throws Refusal: no grant yet is 503, everything else 403. `validUntil` was written by
 * the reporter's clock, which runs ahead by `clockOffsetSeconds` in a demo; so the same offset is added here.
 */
function checkEntitlement(control: Control | undefined, nowMs: number): void {
  if (control === undefined) throw new Refusal("not_ready", "Cannot serve before a grant has arrived");
  const { entitlement, mode } = control;
  if (mode === "Revoked") throw new Refusal("not_entitled", "Cannot serve as the agent was revoked");
  if (entitlement.state === "Revoked")
    throw new Refusal("not_entitled", "Cannot serve as the subscription was revoked");
  if (entitlement.state === "Suspended")
    throw new Refusal("subscription_suspended", "Cannot serve as the subscription is suspended");
  if (!(nowMs + control.clockOffsetSeconds * 1000 < Date.parse(entitlement.validUntil)))
    throw new Refusal("not_entitled", `Cannot serve as the grant ended at ${entitlement.validUntil}`);
}

/** Whether a new run may begin: Paused lets runs in flight end and nothing begin. */
export function checkNewRun(control: Control | undefined, nowMs: number): void {
  checkEntitlement(control, nowMs);
  if (control?.mode === "Paused") throw new Refusal("agent_paused", "Cannot begin a run as the agent is paused");
}

/** Whether the agent may act, as a fact for the policy. */
export function isEntitled(control: Control | undefined, nowMs: number): boolean {
  try {
    checkEntitlement(control, nowMs);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}
