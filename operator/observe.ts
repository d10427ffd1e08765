import { z } from "zod";
import { type AgentDeploymentSpec, agentDeploymentSpecSchema } from "#core/api/agent-deployment.ts";
import { CONFIG_MAPS, DEPLOYMENTS, POD_USAGES } from "#runtime/kube/resources.ts";
import { isRecord, type KubeObject, type ResourceRef } from "#runtime/kube/types.ts";
import { BY_OWNER, type Cache } from "./cache.ts";
import { childName, type Component } from "./desired/names.ts";
import { parsePodUsageSpec } from "./desired/pod-usage.ts";
import type { ObservedChild } from "./diff.ts";
import { CHILD_REFS } from "./watch.ts";

/** An agent as it stands in the cluster, its spec parsed. */
export interface Agent {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly object: KubeObject;
  readonly spec: AgentDeploymentSpec | undefined;
  /** Why the spec cannot be read; it is of another version of the CRD then. */
  readonly specProblem: string | undefined;
  /** Readable even where the rest is not: revoking must always work. */
  readonly mode: AgentDeploymentSpec["mode"];
}

const modeSchema = z.object({ mode: z.enum(["Running", "Constrained", "Paused", "Revoked"]) });

export function parseAgent(object: KubeObject): Agent {
  const { namespace = "", name, uid = "", generation = 0 } = object.metadata;
  const parsed = agentDeploymentSpecSchema.safeParse(object["spec"]);
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    uid,
    generation,
    object,
    spec: parsed.data,
    specProblem: parsed.success ? undefined : parsed.error.issues.map((issue) => issueText(issue)).join("; "),
    mode: parsed.data?.mode ?? modeSchema.safeParse(object["spec"]).data?.mode ?? "Running",
  };
}

function issueText(issue: z.core.$ZodIssue): string {
  return `${["spec", ...issue.path.map(String)].join(".")}: ${issue.message}`;
}

/** The children that carry our labels and have this agent as owner. */
export function observeChildren(agent: Agent, caches: (ref: ResourceRef) => Cache): ObservedChild[] {
  return CHILD_REFS.flatMap((ref) =>
    caches(ref)
      .byIndex(BY_OWNER, agent.uid)
      .map((object) => ({ ref, object })),
  );
}

export function observeDeployment(
  agent: Agent,
  component: Component,
  caches: (ref: ResourceRef) => Cache,
): KubeObject | undefined {
  return caches(DEPLOYMENTS).get({ namespace: agent.namespace, name: childName(agent, component) });
}

/** Hashes of the API keys in the ConfigMap that pods have mounted now or will within its refresh. */
export function mountedKeys(agent: Agent, caches: (ref: ResourceRef) => Cache): string[] {
  const map = caches(CONFIG_MAPS).get({ namespace: agent.namespace, name: childName(agent, "config") });
  const data = isRecord(map?.["data"]) ? map["data"]["gateway.json"] : undefined;
  if (typeof data !== "string") return [];
  try {
    return mountedKeysSchema.parse(JSON.parse(data)).apiKeys.map((key) => key.sha256);
  } catch {
    return [];
  }
}

const mountedKeysSchema = z.object({ apiKeys: z.array(z.object({ sha256: z.string() })) });

/** Specs of all PodUsages, for the entitlement given last. */
export function knownGrants(caches: (ref: ResourceRef) => Cache): ReturnType<typeof parsePodUsageSpec>[] {
  return caches(POD_USAGES).list().map(parsePodUsageSpec);
}
