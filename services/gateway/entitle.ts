import type { Control } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";
import { checkGrant } from "#core/grant.ts";

/** What the entitlement has to judge. */
export interface EntitlementRequest {
  /** A new run of the agent, a model call of a client, a model call of the agent's own run, or anything else. */
  readonly kind: "agent_run" | "client_model_call" | "run_model_call" | "other";
  /** System time in milliseconds. */
  readonly nowMs: number;
}

/** Whether the pod may serve: the control that says so, or a Refusal. */
export function checkEntitlement(control: Control | undefined, request: EntitlementRequest): Control {
  checkGrant(control, request.nowMs);
  checkMode(control.mode, request.kind);
  return control;
}

/** Paused: nothing new begins, but runs in flight may end, so their model calls go on. */
function checkMode(mode: Control["mode"], kind: EntitlementRequest["kind"]): void {
  if (mode === "Paused" && (kind === "agent_run" || kind === "client_model_call"))
    throw new Refusal("agent_paused", "Cannot begin anything new as the agent is paused");
}
