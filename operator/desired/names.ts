import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import { apiVersionOf } from "#runtime/kube/resources.ts";

export const COMPONENTS = ["gateway", "orchestrator"] as const;
export type Component = (typeof COMPONENTS)[number];

/** The label by which everything of an agent is found. */
export const AGENT_LABEL = "supercargo.dev/agent";
const MANAGED_BY = { "app.kubernetes.io/managed-by": "supercargo" } as const;
/** SHA-256 of what was applied last: equal hash and equal fields mean nothing to do. */
export const APPLIED_HASH = "supercargo.dev/applied-hash";
/** "Reconcile now", as Flux has it. */
export const RECONCILE_REQUESTED_AT = "supercargo.dev/reconcile-requested-at";

/** An agent as its objects need it. */
export interface AgentIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface DesiredObject {
  readonly ref: ResourceRef;
  readonly object: KubeObject;
}

/** Names of children: the agent's name and a fixed suffix, at most 63 characters. */
export function childName(
  agent: { readonly name: string },
  suffix: Component | "config" | "journal" | "sidecar",
): string {
  return `${agent.name}-${suffix}`;
}

/** Labels that never change, for selectors. */
export function selectorLabels(agent: { readonly name: string }, component: Component): Record<string, string> {
  return { [AGENT_LABEL]: agent.name, "app.kubernetes.io/component": component, ...MANAGED_BY };
}

export function commonLabels(agent: { readonly name: string }, component?: Component): Record<string, string> {
  return {
    "app.kubernetes.io/name": "supercargo-agent",
    "app.kubernetes.io/instance": agent.name,
    "app.kubernetes.io/part-of": "supercargo",
    ...MANAGED_BY,
    [AGENT_LABEL]: agent.name,
    ...(component === undefined ? {} : { "app.kubernetes.io/component": component }),
  };
}

/** A PodUsage as an owner reference needs it. */
export interface PodUsageOwner {
  readonly name: string;
  readonly uid: string;
}

/**
 * A child owned by its agent: the garbage collector takes it when the agent goes. What a pod needs to its last second
 * is owned by the agent's PodUsages as well, and so goes when the last one is settled.
 */
export function child(
  agent: AgentIdentity,
  options: {
    readonly ref: ResourceRef;
    readonly name: string;
    readonly component?: Component | undefined;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly keptBy?: readonly PodUsageOwner[];
    readonly body: Readonly<Record<string, unknown>>;
  },
): DesiredObject {
  return {
    ref: options.ref,
    object: {
      apiVersion: apiVersionOf(options.ref),
      kind: options.ref.kind,
      metadata: {
        name: options.name,
        namespace: agent.namespace,
        labels: commonLabels(agent, options.component),
        ...(options.annotations ? { annotations: options.annotations } : {}),
        ownerReferences: [
          {
            apiVersion: "supercargo.dev/v1alpha1",
            kind: "AgentDeployment",
            name: agent.name,
            uid: agent.uid,
            controller: true,
            blockOwnerDeletion: true,
          },
          ...(options.keptBy ?? []).map(({ name, uid }) => ({
            apiVersion: "supercargo.dev/v1alpha1",
            kind: "PodUsage",
            name,
            uid,
          })),
        ],
      },
      ...options.body,
    },
  };
}
