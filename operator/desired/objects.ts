import { autoscalers } from "./autoscaler.ts";
import { renderConfig } from "./config-map.ts";
import { deployments } from "./deployment.ts";
import { askingRoleBinding, roleBinding, serviceAccounts } from "./identity.ts";
import type { DesiredInput } from "./input.ts";
import type { Component, DesiredObject } from "./names.ts";
import { networkPolicies } from "./network-policy.ts";
import { journalClaim, podDisruptionBudgets, services } from "./service.ts";

/** All children of an agent, in the order in which they are applied: no pod starts before its policy stands. */
export function desiredObjects(input: DesiredInput): {
  readonly objects: readonly DesiredObject[];
  readonly digests: Readonly<Record<Component, string>>;
} {
  const config = renderConfig(input);
  return {
    digests: config.digests,
    objects: [
      ...networkPolicies(input),
      ...serviceAccounts(input),
      roleBinding(input),
      ...askingRoleBinding(input),
      config.object,
      ...journalClaim(input),
      ...services(input),
      ...deployments(input),
      ...autoscalers(input),
      ...podDisruptionBudgets(input),
    ],
  };
}
