import { ROLE_BINDINGS, SERVICE_ACCOUNTS } from "#runtime/kube/resources.ts";
import { type DesiredInput, serviceAccountOf } from "./input.ts";
import { mayAsk } from "./approvals.ts";
import { child, childName, COMPONENTS, type DesiredObject } from "./names.ts";

/**
 * One account per component, so that a token tells which one calls; none is mounted by itself. Without its account and
 * its role a sidecar could not publish the last totals of a pod whose agent is deleted: both stay until they are settled.
 */
export function serviceAccounts(input: DesiredInput): DesiredObject[] {
  const { agent, spec } = input;
  const clientId = spec.identity?.clientId;
  return COMPONENTS.filter((component) => serviceAccountOf(input, component) === `${agent.name}-${component}`).map(
    (component) =>
      child(agent, {
        ref: SERVICE_ACCOUNTS,
        name: childName(agent, component),
        component,
        keptBy: input.usages,
        ...(component === "gateway" && clientId !== undefined
          ? { annotations: { "azure.workload.identity/client-id": clientId } }
          : {}),
        body: { automountServiceAccountToken: false },
      }),
  );
}

/** The chart's fixed role for sidecars, bound in the agent's namespace to its two accounts. */
export function roleBinding(input: DesiredInput): DesiredObject {
  const { agent, settings } = input;
  return child(agent, {
    ref: ROLE_BINDINGS,
    name: childName(agent, "sidecar"),
    keptBy: input.usages,
    body: {
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: settings.sidecarClusterRole },
      subjects: COMPONENTS.map((component) => ({
        kind: "ServiceAccount",
        name: serviceAccountOf(input, component),
        namespace: agent.namespace,
      })),
    },
  });
}

/** The chart's fixed role for asking people, bound to the orchestrator of an agent that may have to. */
export function askingRoleBinding(input: DesiredInput): DesiredObject[] {
  const { agent, settings } = input;
  if (!mayAsk(input.spec)) return [];
  return [
    child(agent, {
      ref: ROLE_BINDINGS,
      name: childName(agent, "orchestrator"),
      component: "orchestrator",
      body: {
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: settings.orchestratorClusterRole },
        subjects: [
          { kind: "ServiceAccount", name: serviceAccountOf(input, "orchestrator"), namespace: agent.namespace },
        ],
      },
    }),
  ];
}
