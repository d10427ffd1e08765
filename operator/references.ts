import type { AgentDeploymentSpec } from "#core/api/agent-deployment.ts";
import { CONFIG_MAPS, SERVICES } from "#runtime/kube/resources.ts";
import { isRecord } from "#runtime/kube/types.ts";
import type { Problem } from "./accept.ts";
import { sha256 } from "./canonical.ts";
import type { Settings } from "./config.ts";
import type { EgressRule } from "./desired/input.ts";
import type { Component } from "./desired/names.ts";
import { type Endpoint, endpointsOf, fromService, needOf, type PeerNeed } from "./desired/peers.ts";
import type { Cluster } from "./kube.ts";
import type { Agent } from "./observe.ts";

/** What a spec refers to and the cluster must have. */
export interface References {
  readonly instructions: string;
  readonly peers: Readonly<Record<Component, readonly EgressRule[]>>;
  readonly problems: readonly Problem[];
  readonly hashes: readonly { readonly kind: string; readonly name: string; readonly hash: string }[];
}

/** Reads the ConfigMap of the instructions and the Services of models, tools and issuers. */
export async function observeReferences(
  agent: Agent & { readonly spec: AgentDeploymentSpec },
  context: { readonly cluster: Cluster; readonly settings: Settings },
): Promise<References> {
  const instructions = await readInstructions(agent, context.cluster);
  const peers: Record<Component, EgressRule[]> = { gateway: [], orchestrator: [] };
  const problems: Problem[] = [...instructions.problems];
  for (const endpoint of endpointsOf(agent.spec)) {
    const need = needOf(endpoint, { namespace: agent.namespace, clusterDomain: context.settings.clusterDomain });
    const settled = need.kind === "Service" ? await lookUp(endpoint, need, context.cluster) : settle(need);
    if (settled.kind === "Rule") addRule(peers[endpoint.component], settled.rule);
    else problems.push({ ...settled.problem, blocking: "Yes" });
  }
  return { instructions: instructions.text, peers, problems, hashes: instructions.hashes };
}

type Settled =
  | Extract<PeerNeed, { kind: "Rule" }>
  | { readonly kind: "Problem"; readonly problem: Pick<Problem, "reason" | "message"> };

async function lookUp(
  endpoint: Endpoint,
  need: Extract<PeerNeed, { kind: "Service" }>,
  cluster: Cluster,
): Promise<Settled> {
  const service = await cluster.get(SERVICES, need);
  if (!service) {
    const message = `${endpoint.field} names the Service ${need.namespace}/${need.name}, which must exist in a watched namespace, or egress must name its peers`;
    return { kind: "Problem", problem: { reason: "ServiceNotFound", message } };
  }
  return settle(fromService(endpoint, need, service));
}

function settle(need: PeerNeed): Settled {
  if (need.kind === "Rule") return need;
  const message = need.kind === "Invalid" ? need.message : `${need.namespace}/${need.name} cannot be resolved`;
  return { kind: "Problem", problem: { reason: "InvalidSpec", message } };
}

function addRule(rules: EgressRule[], rule: EgressRule): void {
  const text = JSON.stringify(rule);
  if (!rules.some((other) => JSON.stringify(other) === text)) rules.push(rule);
}

async function readInstructions(
  agent: Agent & { readonly spec: AgentDeploymentSpec },
  cluster: Cluster,
): Promise<{ text: string; problems: Problem[]; hashes: References["hashes"] }> {
  const ref = agent.spec.instructionsFrom?.configMapKeyRef;
  if (!ref) return { text: agent.spec.instructions ?? "", problems: [], hashes: [] };
  const map = await cluster.get(CONFIG_MAPS, { namespace: agent.namespace, name: ref.name });
  const text = isRecord(map?.["data"]) ? map["data"][ref.key] : undefined;
  if (typeof text === "string")
    return { text, problems: [], hashes: [{ kind: "ConfigMap", name: ref.name, hash: sha256(text) }] };
  const what = map ? `must hold the key ${ref.key}` : "must exist in this namespace";
  const message = `spec.instructionsFrom: ConfigMap ${ref.name} ${what}`;
  return { text: "", problems: [{ reason: "ConfigMapNotFound", message, blocking: "Yes" }], hashes: [] };
}
