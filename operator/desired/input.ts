import type { AgentDeploymentSpec } from "#core/api/agent-deployment.ts";
import type { Settings } from "../config.ts";
import type { AgentIdentity, Component, PodUsageOwner } from "./names.ts";

/** What all agents share and the API server tells. */
export interface ClusterFacts {
  readonly issuer: string;
  readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] };
  /** Addresses and ports of the API server itself, after any Service is translated. */
  readonly apiServers: readonly { readonly cidr: string; readonly port: number }[];
}

/** A rule of NetworkPolicy egress. */
export interface EgressRule {
  readonly to: readonly Readonly<Record<string, unknown>>[];
  readonly ports: readonly { readonly port: number | string; readonly protocol: "TCP" | "UDP" }[];
}

/** Everything that the desired objects follow from. */
export interface DesiredInput {
  readonly agent: AgentIdentity & { readonly generation: number };
  readonly spec: AgentDeploymentSpec;
  readonly settings: Settings;
  readonly cluster: ClusterFacts;
  /** From spec.instructions or the ConfigMap it names. */
  readonly instructions: string;
  /** Where the models and tools are, as the network sees them. */
  readonly peers: Readonly<Record<Component, readonly EgressRule[]>>;
  /** PodUsages of pods that have not ended, by name: they keep what those pods need after the agent is deleted. */
  readonly usages: readonly PodUsageOwner[];
}

/** Pods that should run now, or that others decide. Revoked leaves one gateway to answer 403, whatever the load. */
export function replicasOf(spec: AgentDeploymentSpec, component: Component): number | "Autoscaled" {
  if (spec.mode === "Revoked") return component === "gateway" ? 1 : 0;
  const { replicas, autoscaling } = spec[component];
  if (autoscaling !== undefined) return "Autoscaled";
  return replicas ?? (component === "gateway" ? 2 : 1);
}

/** The fewest and the most pods that there should be: the same where nobody else decides. */
export function replicaRange(
  spec: AgentDeploymentSpec,
  component: Component,
): { readonly min: number; readonly max: number } {
  const replicas = replicasOf(spec, component);
  if (replicas !== "Autoscaled") return { min: replicas, max: replicas };
  const { minReplicas = 1, maxReplicas = 1 } = spec[component].autoscaling ?? {};
  return { min: minReplicas, max: maxReplicas };
}

/** The account whose token a component's pods carry. */
export function serviceAccountOf(input: Pick<DesiredInput, "agent" | "spec">, component: Component): string {
  const given = component === "gateway" ? input.spec.identity?.serviceAccountName : undefined;
  return given ?? `${input.agent.name}-${component}`;
}

export function serviceHost(input: Pick<DesiredInput, "agent" | "settings">, component: Component): string {
  return `${input.agent.name}-${component}.${input.agent.namespace}.svc.${input.settings.clusterDomain}`;
}
