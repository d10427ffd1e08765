import type { AgentDeploymentSpec } from "#core/api/agent-deployment.ts";
import type { OrchestratorConfig } from "#core/api/pod-config.ts";

/**
 * Whether a call of this agent may have to wait for a person: any function that may be called at all, since mode
 * Constrained turns each of them to lane Approval, within seconds and without a restart. An agent without such a
 * function can never ask: its pod gets no token for it.
 */
export function mayAsk(spec: Pick<AgentDeploymentSpec, "tools">): boolean {
  return (spec.tools ?? []).some((tool) => tool.functions.some(({ lane }) => lane !== "Never"));
}

/** How people are asked; left out where they never are, so that the digest of such an agent stays what it was. */
export function approvalsConfig(spec: AgentDeploymentSpec): Pick<OrchestratorConfig, "approvals"> {
  if (!mayAsk(spec)) return {};
  const { timeoutSeconds, reasonRequired } = spec.approvals;
  return { approvals: { timeoutSeconds, reasonRequired } };
}
