import type { Control, OrchestratorConfig } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";
import { checkGrant, checkPlanModel } from "#core/grant.ts";

/** Whether a new run may begin: Paused lets runs in flight end and nothing begin; without its model the agent cannot think. */
export function checkNewRun(
  control: Control | undefined,
  { config, nowMs }: { readonly config: Pick<OrchestratorConfig, "model"> | undefined; readonly nowMs: number },
): void {
  checkGrant(control, nowMs);
  if (control.mode === "Paused") throw new Refusal("agent_paused", "Cannot begin a run as the agent is paused");
  if (config) checkPlanModel(control.entitlement, config.model);
}

/** Whether the agent may act, as a fact for the policy. */
export function isEntitled(control: Control | undefined, nowMs: number): boolean {
  try {
    checkGrant(control, nowMs);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}
