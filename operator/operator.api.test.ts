import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  AGENT_DEPLOYMENTS,
  CONFIG_MAPS,
  CORE_EVENTS,
  DEPLOYMENTS,
  EVENTS,
  NETWORK_POLICIES,
  PERSISTENT_VOLUME_CLAIMS,
  POD_DISRUPTION_BUDGETS,
  POD_USAGES,
  PODS,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import { type ApiHarness, at, must, startApi, waitFor } from "../test/api/harness.ts";
import { prepareOperator, startTestOperator, type TestOperator } from "../test/api/operator.ts";
import { startPuppetNode } from "../test/api/puppet-node.ts";
import { sampleAgent } from "../test/api/sample.ts";

let api: ApiHarness;
let operator: TestOperator;
let namespace: string;
let node: ReturnType<typeof startPuppetNode>;
const NAME = "order-desk";

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

describe("an AgentDeployment", () => {
  it("becomes its children, one PodUsage per pod, and Ready", async () => {
    await createAgent();
    await condition("Ready", { status: "True", reason: "AllReady" });
    const names = async (ref: ResourceRef): Promise<string[]> =>
      must(await api.client.list(ref, { namespace, labelSelector: "supercargo.dev/agent=order-desk" }))
        .items.map((item) => item.metadata.name)
        .sort();
    const both = [`${NAME}-gateway`, `${NAME}-orchestrator`];
    expect(await names(SERVICE_ACCOUNTS)).toEqual(both);
    expect(await names(ROLE_BINDINGS)).toEqual([`${NAME}-sidecar`]);
    expect(await names(CONFIG_MAPS)).toEqual([`${NAME}-config`]);
    expect(await names(DEPLOYMENTS)).toEqual(both);
    expect(await names(SERVICES)).toEqual(both);
    expect(await names(NETWORK_POLICIES)).toEqual(both);
    expect(await names(POD_DISRUPTION_BUDGETS)).toEqual([`${NAME}-gateway`]);
    expect(await names(PERSISTENT_VOLUME_CLAIMS)).toEqual([`${NAME}-journal`]);
    const pods = must(await api.client.list(PODS, { namespace })).items;
    expect(pods).toHaveLength(3);
    expect(new Set(await names(POD_USAGES))).toEqual(new Set(pods.map((pod) => pod.metadata.uid)));
    const agent = await getAgent();
    expect(conditionsOf(agent)).toMatchObject({
      Accepted: "True/Accepted",
      Progressing: "False/Complete",
      Suspended: "False/Running",
      MeteringHealthy: "True/NotMetered",
    });
    expect(at(agent, "status.endpoint")).toBe(`http://order-desk-gateway.${namespace}.svc.cluster.local:8080`);
    expect(operator.refusals).toEqual([]);
  });

  it("takes its children along by owner references, and leaves PodUsage", async () => {
    const agent = await createAgent();
    await condition("Ready", { status: "True" });
    for (const ref of CHILDREN)
      for (const child of must(await api.client.list(ref, { namespace, labelSelector: LABEL })).items)
        expect(at(child, "metadata.ownerReferences.0"), `${ref.kind} ${child.metadata.name}`).toMatchObject({
          kind: "AgentDeployment",
          uid: agent.metadata.uid,
          controller: true,
          blockOwnerDeletion: true,
        });
    for (const usage of must(await api.client.list(POD_USAGES, { namespace })).items)
      expect(usage.metadata["ownerReferences"]).toBeUndefined();
  });

  it("keeps account, role and network policy of a deleted agent until its usage is settled", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const usages = must(await api.client.list(POD_USAGES, { namespace })).items.map((usage) => usage.metadata.uid);
    expect(usages.length).toBeGreaterThan(0);
    for (const ref of [SERVICE_ACCOUNTS, ROLE_BINDINGS, NETWORK_POLICIES])
      await waitFor(`every ${ref.kind} to be kept`, async () => {
        const children = must(await api.client.list(ref, { namespace, labelSelector: LABEL })).items;
        expect(children.length).toBeGreaterThan(0);
        for (const child of children) expect(new Set(podUsageOwnersOf(child))).toEqual(new Set(usages));
        return true;
      });
  });

  it("gives a pod its first grant, and later ones what the reporter gave", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const [usage] = must(await api.client.list(POD_USAGES, { namespace })).items;
    expect(at(usage, "spec.grants.entitlement")).toMatchObject({ state: "Active", planId: "" });
    const entitlement = { state: "Suspended", planId: "", validUntil: "2030-01-01T00:00:00Z" };
    for (const item of must(await api.client.list(POD_USAGES, { namespace })).items)
      must(
        await api.client.apply(
          POD_USAGES,
          { ...bare(item), spec: { grants: { term: 3, entitlement, clockOffsetSeconds: 0 } } },
          { fieldManager: "supercargo-reporter", force: true },
        ),
      );
    expect(await condition("Ready", { status: "False", reason: "NotEntitled" })).toBe(
      "The Marketplace plan is Suspended",
    );
    await patchAgent({ gateway: { replicas: 3 } });
    const usages = await waitFor("a fourth PodUsage", async () => {
      const items = must(await api.client.list(POD_USAGES, { namespace })).items;
      return items.length === 4 ? items : undefined;
    });
    for (const item of usages) expect(at(item, "spec.grants")).toMatchObject({ term: 3, entitlement });
  });
});

describe("drift", () => {
  const edits: readonly (readonly [string, ResourceRef, string, Readonly<Record<string, unknown>>])[] = [
    ["the number of pods", DEPLOYMENTS, "gateway", { spec: { replicas: 7 } }],
    ["whom a Service selects", SERVICES, "orchestrator", { spec: { selector: { other: "label" } } }],
    [
      "whom a policy selects",
      NETWORK_POLICIES,
      "gateway",
      { spec: { podSelector: { matchLabels: { other: "label" } } } },
    ],
    ["who may come in", NETWORK_POLICIES, "gateway", { spec: { ingress: [{}] } }],
    ["where pods may go", NETWORK_POLICIES, "orchestrator", { spec: { egress: [{}] } }],
    ["the config", CONFIG_MAPS, "config", { data: { "gateway.json": "{}" } }],
    ["the mounting of tokens", SERVICE_ACCOUNTS, "gateway", { automountServiceAccountToken: true }],
    ["the subjects", ROLE_BINDINGS, "sidecar", { subjects: [] }],
    ["the budget", POD_DISRUPTION_BUDGETS, "gateway", { spec: { maxUnavailable: 2 } }],
    ["the owner", SERVICES, "gateway", { metadata: { labels: { "app.kubernetes.io/component": "other" } } }],
  ];

  it("is undone, whatever is edited", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    for (const [what, ref, suffix, edit] of edits) {
      const key = { namespace, name: `${NAME}-${suffix}` };
      const before = must(await api.client.get(ref, key));
      const patch = { ...bare(before), ...edit, metadata: { ...key, ...metadataOf(edit) } };
      const edited = must(await api.client.patchMerge(ref, patch));
      expect(contentOf(edited), what).not.toEqual(contentOf(before));
      await waitFor(`${what} to be repaired`, async () => {
        const now = must(await api.client.get(ref, key));
        expect(contentOf(now)).toEqual(contentOf(before));
        return true;
      });
    }
  });

  it("brings back every child that is deleted by hand", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    for (const ref of CHILDREN.filter((kind) => kind !== PERSISTENT_VOLUME_CLAIMS))
      for (const child of must(await api.client.list(ref, { namespace, labelSelector: LABEL })).items) {
        must(await api.client.delete(ref, child.metadata));
        await waitFor(`${ref.kind} ${child.metadata.name} to come back`, async () => {
          const found = await api.client.get(ref, child.metadata);
          return found.ok && found.value.metadata.uid !== child.metadata.uid ? true : undefined;
        });
      }
    await condition("Ready", { status: "True" });
  });

  it("removes an environment variable that another manager added to a container", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const key = { namespace, name: `${NAME}-gateway` };
    const env = [{ name: "SUPERCARGO_CONFIG_FILE", value: "/tmp/mine" }];
    const template = { spec: { containers: [{ name: "gateway", env }] } };
    const body = { ...bare(must(await api.client.get(DEPLOYMENTS, key))), spec: { template } };
    must(await api.client.apply(DEPLOYMENTS, body, { fieldManager: "somebody", force: true }));
    await waitFor("the variable to go", async () => {
      const text = JSON.stringify(must(await api.client.get(DEPLOYMENTS, key))["spec"]);
      return text.includes("SUPERCARGO_CONFIG_FILE") ? undefined : true;
    });
  });
});

describe("a change", () => {
  it("of the config alone restarts no pod, and is Ready only when every pod runs with it", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const before = await podNames();
    node.switches.echo = false;
    await patchAgent({ instructions: "You answer in one sentence." });
    expect(await condition("Ready", { status: "False", reason: "Progressing" })).toContain("pods do not run with");
    node.switches.echo = true;
    await condition("Ready", { status: "True" });
    expect(await podNames()).toEqual(before);
  });

  it("of resources rolls the pods", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const before = await podNames();
    await patchAgent({ gateway: { resources: { requests: { cpu: "1000m", memory: "0.5Gi" } } } });
    await condition("Ready", { status: "True" });
    const after = await podNames();
    expect(after.filter((name) => before.includes(name) && name.includes("gateway"))).toEqual([]);
    const deployment = must(await api.client.get(DEPLOYMENTS, { namespace, name: `${NAME}-gateway` }));
    expect(at(deployment, "spec.template.spec.containers.0.resources.requests")).toEqual({ cpu: "1", memory: "512Mi" });
  });

  it("that removes a key revokes it in the pods' control until they run without it", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    node.switches.echo = false;
    await patchAgent({ exposure: { auth: { apiKeys: [] } } });
    await waitFor("the key to be revoked", async () =>
      (await revokedKeys()).includes("a".repeat(64)) ? true : undefined,
    );
    node.switches.echo = true;
    await waitFor("the revocation to be dropped", async () => ((await revokedKeys()).length === 0 ? true : undefined));
    await condition("Ready", { status: "True" });
  });
});

describe("mode", () => {
  it("Paused is Suspended only when every pod says so, keeps the pods, and ends", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const before = await podNames();
    node.switches.echo = false;
    await patchAgent({ mode: "Paused" });
    expect(await condition("Suspended", { status: "False", reason: "Paused" })).toBe(
      "3 of 3 pods do not confirm mode Paused yet",
    );
    await condition("Ready", { status: "False", reason: "Paused" });
    node.switches.echo = true;
    await condition("Suspended", { status: "True", reason: "Paused" });
    expect(await podNames()).toEqual(before);
    await patchAgent({ mode: "Running" });
    await condition("Ready", { status: "True" });
    await condition("Suspended", { status: "False", reason: "Running" });
  });

  it("Revoked leaves one gateway and no orchestrator, and its budget goes", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    await patchAgent({ mode: "Revoked" });
    await condition("Suspended", { status: "True", reason: "Revoked" });
    await condition("Ready", { status: "False", reason: "Revoked" });
    expect((await podNames()).map((name) => name.includes("gateway"))).toEqual([true]);
    await waitFor("the budget to go", async () => {
      const found = await api.client.get(POD_DISRUPTION_BUDGETS, { namespace, name: `${NAME}-gateway` });
      return found.ok ? undefined : true;
    });
    await patchAgent({ mode: "Running" });
    await condition("Ready", { status: "True" });
  });

  it("reaches the pods even when the rest of the spec is not accepted", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    await patchAgent({ mode: "Revoked", guardrails: [{ name: "shields", type: "PromptShields", phase: "Input" }] });
    await condition("Accepted", { status: "False", reason: "NotSupported" });
    for (const usage of must(await api.client.list(POD_USAGES, { namespace })).items)
      expect(at(usage, "spec.control.mode")).toBe("Revoked");
  });
});

describe("a spec that is not accepted", () => {
  it("says which field and what to do, and the generation before keeps serving", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const before = must(await api.client.get(CONFIG_MAPS, { namespace, name: `${NAME}-config` }));
    await patchAgent({ instructions: "New.", exposure: { type: "LoadBalancer" } });
    const message = await condition("Accepted", { status: "False", reason: "NotSupported" });
    expect(message).toBe(
      "spec.exposure.type LoadBalancer is not supported by this version: use ClusterIP and a route of yours to the Service",
    );
    await condition("Ready", { status: "False", reason: "NotAccepted" });
    const after = must(await api.client.get(CONFIG_MAPS, { namespace, name: `${NAME}-config` }));
    expect(after.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
    await patchAgent({ exposure: { type: "ClusterIP" } });
    await condition("Ready", { status: "True" });
  });

  it("waits for a Service that a tool names", async () => {
    const functions = [{ name: "get_order", lane: "Automatic" }];
    await createAgent({ tools: [{ name: "orders", mcp: { url: "http://orders:3000/mcp" }, functions }] });
    expect(await condition("Accepted", { status: "False", reason: "ServiceNotFound" })).toBe(
      `spec.tools[0].mcp names the Service ${namespace}/orders, which must exist in a watched namespace, or egress must name its peers`,
    );
    must(
      await api.client.create(SERVICES, {
        apiVersion: "v1",
        kind: "Service",
        metadata: { namespace, name: "orders" },
        spec: { selector: { app: "orders" }, ports: [{ port: 3000, targetPort: 3001 }] },
      }),
    );
    await requestReconcile();
    await condition("Accepted", { status: "True" });
    const policy = must(await api.client.get(NETWORK_POLICIES, { namespace, name: `${NAME}-orchestrator` }));
    expect(at(policy, "spec.egress.3")).toEqual({
      ports: [{ port: 3001, protocol: "TCP" }],
      to: [
        {
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
          podSelector: { matchLabels: { app: "orders" } },
        },
      ],
    });
  });

  it("names a Secret that the kubelet cannot mount", async () => {
    node.switches.start = false;
    await createAgent();
    const pod = await waitFor("a gateway pod", async () => {
      const pods = must(await api.client.list(PODS, { namespace })).items;
      return pods.find((item) => item.metadata.name.includes("gateway"));
    });
    await scheduleWaiting(pod);
    await reportFailedMount(pod, 'MountVolume.SetUp failed for volume "secret-x" : secret "model-key" not found');
    expect(await condition("Accepted", { status: "False", reason: "SecretNotFound" })).toBe(
      "Secret model-key must exist in this namespace",
    );
    node.switches.start = true;
    await condition("Ready", { status: "True" });
  });
});

describe("events", () => {
  it("tell each change of a condition", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    await patchAgent({ mode: "Paused" });
    await condition("Suspended", { status: "True" });
    const notes = await waitFor("the events", async () => {
      const events = must(await api.client.list(EVENTS, { namespace })).items;
      const found = events
        .filter((event) => at(event, "regarding.name") === NAME)
        .map((event) => String(event["note"]));
      return found.some((note) => note.startsWith("Suspended is True")) ? found : undefined;
    });
    expect(notes).toEqual(
      expect.arrayContaining([
        "Accepted is True: The spec is valid and everything it names is there",
        "Ready is True: Serves and enforces generation 1",
        "Ready is False: Mode is Paused: no run is started",
        "Suspended is True: Every pod enforces mode Paused",
      ]),
    );
  });
});

describe("at rest", () => {
  it("nothing is written, not even when everything is looked at again", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    await quiet();
    await requestReconcile();
    await waitFor("the request to be answered", async () =>
      at(await getAgent(), "status.lastHandledReconcileAt") === undefined ? undefined : true,
    );
    await quiet();
    // The one write is the answer to the request.
    const seen = operator.writes.length;
    await api.client.patchMerge(AGENT_DEPLOYMENTS, {
      ...bare(await getAgent()),
      metadata: { namespace, name: NAME, annotations: { other: "x" } },
    });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(operator.writes.slice(seen).filter((write) => !isLease(write))).toEqual([]);
    expect(operator.refusals).toEqual([]);
  });
});

const LABEL = "supercargo.dev/agent=order-desk";
const CHILDREN: readonly ResourceRef[] = [
  NETWORK_POLICIES,
  SERVICE_ACCOUNTS,
  ROLE_BINDINGS,
  CONFIG_MAPS,
  PERSISTENT_VOLUME_CLAIMS,
  SERVICES,
  DEPLOYMENTS,
  POD_DISRUPTION_BUDGETS,
];

/** The elected process renews its Lease with PUT; nothing else of the operator's is a PUT. */
function isLease(write: string): boolean {
  return write.startsWith("PUT ");
}

/** Waits until a second passes without a write. */
async function quiet(): Promise<void> {
  await waitFor("no writes for a second", async () => {
    const seen = operator.writes.filter((write) => !isLease(write)).length;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return operator.writes.filter((write) => !isLease(write)).length === seen ? true : undefined;
  });
}

/** Name and namespace alone, for a patch. */
function bare(object: KubeObject): KubeObject {
  const { name, namespace: place } = object.metadata;
  return { apiVersion: object.apiVersion, kind: object.kind, metadata: { name, namespace: place } };
}

/** What people wrote, without versions and status. */
function contentOf(object: KubeObject): unknown {
  const { metadata, status: _, ...content } = object;
  return { ...content, labels: metadata.labels };
}

function metadataOf(edit: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { metadata } = edit;
  return typeof metadata === "object" && metadata !== null ? Object.fromEntries(Object.entries(metadata)) : {};
}

async function patchAgent(spec: Readonly<Record<string, unknown>>): Promise<void> {
  must(await api.client.patchMerge(AGENT_DEPLOYMENTS, { ...bare(await getAgent()), spec }));
}

async function requestReconcile(): Promise<void> {
  const annotations = { "supercargo.dev/reconcile-requested-at": String(performance.now()) };
  must(
    await api.client.patchMerge(AGENT_DEPLOYMENTS, {
      ...bare(await getAgent()),
      metadata: { namespace, name: NAME, annotations },
    }),
  );
}

async function podNames(): Promise<string[]> {
  return must(await api.client.list(PODS, { namespace }))
    .items.map((pod) => pod.metadata.name)
    .sort();
}

async function revokedKeys(): Promise<string[]> {
  const usages = must(await api.client.list(POD_USAGES, { namespace })).items;
  return usages.flatMap((usage) => {
    const keys = at(usage, "spec.control.revokedKeys");
    return Array.isArray(keys) ? keys.map(String) : [];
  });
}

/** As the kubelet shows a pod whose volumes are not mounted yet. */
async function scheduleWaiting(pod: KubeObject): Promise<void> {
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

async function reportFailedMount(pod: KubeObject, message: string): Promise<void> {
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

async function createAgent(spec: Readonly<Record<string, unknown>> = {}): Promise<KubeObject> {
  return must(await api.client.create(AGENT_DEPLOYMENTS, sampleAgent({ namespace, name: NAME }, spec)));
}

async function getAgent(): Promise<KubeObject> {
  return must(await api.client.get(AGENT_DEPLOYMENTS, { namespace, name: NAME }));
}

function conditionsOf(agent: KubeObject): Record<string, string> {
  const conditions = at(agent, "status.conditions");
  if (!Array.isArray(conditions)) return {};
  return Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status}/${reason}`]));
}

/** Waits for a condition of the current generation, as kubectl wait does. */
async function condition(type: string, wanted: { status: string; reason?: string }): Promise<string> {
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

function podUsageOwnersOf(object: KubeObject): string[] {
  const owners = object.metadata["ownerReferences"];
  if (!Array.isArray(owners)) return [];
  return owners.filter((owner) => owner.kind === "PodUsage").map((owner) => String(owner.uid));
}
