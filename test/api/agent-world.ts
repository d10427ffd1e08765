import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import {
  AGENT_DEPLOYMENTS,
  CONFIG_MAPS,
  CORE_EVENTS,
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  NETWORK_POLICIES,
  PERSISTENT_VOLUME_CLAIMS,
  POD_DISRUPTION_BUDGETS,
  POD_USAGES,
  PODS,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../services/runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "../../services/runtime/kube/types.ts";
import { type ApiHarness, at, must, startApi, waitFor } from "./harness.ts";
import { prepareOperator, startTestOperator, type TestOperator } from "./operator.ts";
import { startPuppetNode } from "./puppet-node.ts";
import { sampleAgent } from "./sample.ts";

let api: ApiHarness;
let operator: TestOperator;
let namespace: string;
let node: ReturnType<typeof startPuppetNode>;
export const NAME = "order-desk";

/** What the tests of one file share; filled by useAgentWorld(). */
export const world = {
  get api(): ApiHarness {
    return api;
  },
  get operator(): TestOperator {
    return operator;
  },
  /** Of this test alone. */
  get namespace(): string {
    return namespace;
  },
  get node(): ReturnType<typeof startPuppetNode> {
    return node;
  },
};

/** An API server and an operator per file, a namespace and a puppet node per test. */
export function useAgentWorld(): void {
  beforeAll(async () => {
    api = await startApi();
    const { token } = await prepareOperator(api);
    operator = await startTestOperator(api, { token });
  });
  afterAll(async () => {
    await operator?.stop();
    await api?.stop();
  });
  beforeEach(async () => {
    namespace = await api.newNamespace();
    node = startPuppetNode(api.client, namespace);
  });
  afterEach(async () => {
    await node.stop();
    await api.client.delete(AGENT_DEPLOYMENTS, { namespace, name: NAME });
    // A new pod anywhere gets the entitlement that the newest of these holds.
    for (const usage of must(await api.client.list(POD_USAGES, { namespace })).items)
      await api.client.delete(POD_USAGES, usage.metadata);
  });
}

export const LABEL = "supercargo.dev/agent=order-desk";
export const CHILDREN: readonly ResourceRef[] = [
  NETWORK_POLICIES,
  SERVICE_ACCOUNTS,
  ROLE_BINDINGS,
  CONFIG_MAPS,
  PERSISTENT_VOLUME_CLAIMS,
  SERVICES,
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  POD_DISRUPTION_BUDGETS,
];

/** The elected process renews its Lease with PUT; nothing else of the operator's is a PUT. */
export function isLease(write: string): boolean {
  return write.startsWith("PUT ");
}

/** Waits until a second passes without a write. */
export async function quiet(): Promise<void> {
  await waitFor("no writes for a second", async () => {
    const seen = operator.writes.filter((write) => !isLease(write)).length;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return operator.writes.filter((write) => !isLease(write)).length === seen ? true : undefined;
  });
}

/** Name and namespace alone, for a patch. */
export function bare(object: KubeObject): KubeObject {
  const { name, namespace: place } = object.metadata;
  return { apiVersion: object.apiVersion, kind: object.kind, metadata: { name, namespace: place } };
}

/** What people wrote, without versions and status. */
export function contentOf(object: KubeObject): unknown {
  const { metadata, status: _, ...content } = object;
  return { ...content, labels: metadata.labels };
}

export function metadataOf(edit: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { metadata } = edit;
  return typeof metadata === "object" && metadata !== null ? Object.fromEntries(Object.entries(metadata)) : {};
}

export async function patchAgent(spec: Readonly<Record<string, unknown>>): Promise<void> {
  must(await api.client.patchMerge(AGENT_DEPLOYMENTS, { ...bare(await getAgent()), spec }));
}

export async function requestReconcile(): Promise<void> {
  const annotations = { "supercargo.dev/reconcile-requested-at": String(performance.now()) };
  must(
    await api.client.patchMerge(AGENT_DEPLOYMENTS, {
      ...bare(await getAgent()),
      metadata: { namespace, name: NAME, annotations },
    }),
  );
}

export async function podNames(): Promise<string[]> {
  return must(await api.client.list(PODS, { namespace }))
    .items.map((pod) => pod.metadata.name)
    .sort();
}

export async function revokedKeys(): Promise<string[]> {
  const usages = must(await api.client.list(POD_USAGES, { namespace })).items;
  return usages.flatMap((usage) => {
    const keys = at(usage, "spec.control.revokedKeys");
    return Array.isArray(keys) ? keys.map(String) : [];
  });
}

/** As the kubelet shows a pod whose volumes are not mounted yet. */
export async function scheduleWaiting(pod: KubeObject): Promise<void> {
  const now = "2026-01-01T00:00:00Z";
  const conditions = [{ type: "PodScheduled", status: "True", lastTransitionTime: now }];
  const waiting = {
    name: "gateway",
    ready: false,
    restartCount: 0,
    image: "",
    imageID: "",
    state: { waiting: { reason: "PodInitializing" } },
  };
  must(
    await api.client.updateStatus(PODS, {
      ...pod,
      status: { phase: "Pending", conditions, containerStatuses: [waiting] },
    }),
  );
}

export async function reportFailedMount(pod: KubeObject, message: string): Promise<void> {
  const { name, uid } = pod.metadata;
  must(
    await api.client.create(CORE_EVENTS, {
      apiVersion: "v1",
      kind: "Event",
      metadata: { namespace, name: `${name}.1` },
      involvedObject: { apiVersion: "v1", kind: "Pod", namespace, name, uid },
      reason: "FailedMount",
      message,
      type: "Warning",
      lastTimestamp: new Date().toISOString().replace(/\.\d+Z/, "Z"),
    }),
  );
}

export async function createAgent(spec: Readonly<Record<string, unknown>> = {}): Promise<KubeObject> {
  return must(await api.client.create(AGENT_DEPLOYMENTS, sampleAgent({ namespace, name: NAME }, spec)));
}

export async function getAgent(): Promise<KubeObject> {
  return must(await api.client.get(AGENT_DEPLOYMENTS, { namespace, name: NAME }));
}

export function conditionsOf(agent: KubeObject): Record<string, string> {
  const conditions = at(agent, "status.conditions");
  if (!Array.isArray(conditions)) return {};
  return Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status}/${reason}`]));
}

/** Waits for a condition of the current generation, as kubectl wait does. */
export async function condition(type: string, wanted: { status: string; reason?: string }): Promise<string> {
  return waitFor(`${type}=${wanted.status} ${wanted.reason ?? ""}`, async () => {
    const agent = await getAgent();
    const conditions = at(agent, "status.conditions");
    const found = Array.isArray(conditions) ? conditions.find((entry) => entry.type === type) : undefined;
    const matches =
      found?.observedGeneration === agent.metadata.generation &&
      found?.status === wanted.status &&
      (wanted.reason === undefined || found?.reason === wanted.reason);
    if (!matches) throw new Error(`${JSON.stringify(conditions)}\n${operator.log.slice(-5).join("")}`);
    return String(found.message);
  });
}

export function podUsageOwnersOf(object: KubeObject): string[] {
  const owners = object.metadata["ownerReferences"];
  if (!Array.isArray(owners)) return [];
  return owners.filter((owner) => owner.kind === "PodUsage").map((owner) => String(owner.uid));
}
