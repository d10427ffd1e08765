import { describe, expect, it } from "vitest";
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  NETWORK_POLICIES,
  PERSISTENT_VOLUME_CLAIMS,
  POD_DISRUPTION_BUDGETS,
  POD_USAGES,
  PODS,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "#runtime/kube/resources.ts";
import type { ResourceRef } from "#runtime/kube/types.ts";
import {
  CHILDREN,
  LABEL,
  NAME,
  bare,
  condition,
  conditionsOf,
  contentOf,
  createAgent,
  getAgent,
  metadataOf,
  patchAgent,
  podNames,
  podUsageOwnersOf,
  revokedKeys,
  useAgentWorld,
  world,
} from "../test/api/agent-world.ts";
import { at, must, waitFor } from "../test/api/harness.ts";

useAgentWorld();

describe("an AgentDeployment", () => {
  it("becomes its children, one PodUsage per pod, and Ready", async () => {
    await createAgent();
    await condition("Ready", { status: "True", reason: "AllReady" });
    const names = async (ref: ResourceRef): Promise<string[]> =>
      must(
        await world.api.client.list(ref, {
          namespace: world.namespace,
          labelSelector: "supercargo.dev/agent=order-desk",
        }),
      )
        .items.map((item) => item.metadata.name)
        .sort();
    const both = [`${NAME}-gateway`, `${NAME}-orchestrator`];
    expect(await names(SERVICE_ACCOUNTS)).toEqual(both);
    expect(await names(ROLE_BINDINGS)).toEqual([`${NAME}-orchestrator`, `${NAME}-sidecar`]);
    expect(await names(CONFIG_MAPS)).toEqual([`${NAME}-config`]);
    expect(await names(DEPLOYMENTS)).toEqual(both);
    expect(await names(SERVICES)).toEqual(both);
    expect(await names(NETWORK_POLICIES)).toEqual(both);
    expect(await names(POD_DISRUPTION_BUDGETS)).toEqual([`${NAME}-gateway`]);
    expect(await names(PERSISTENT_VOLUME_CLAIMS)).toEqual([`${NAME}-journal`]);
    const pods = must(await world.api.client.list(PODS, { namespace: world.namespace })).items;
    expect(pods).toHaveLength(3);
    expect(new Set(await names(POD_USAGES))).toEqual(new Set(pods.map((pod) => pod.metadata.uid)));
    const agent = await getAgent();
    expect(conditionsOf(agent)).toMatchObject({
      Accepted: "True/Accepted",
      Progressing: "False/Complete",
      Suspended: "False/Running",
      MeteringHealthy: "True/NotMetered",
      LimitNear: "False/BelowSoftLimit",
    });
    expect(at(agent, "status.endpoint")).toBe(`http://order-desk-gateway.${world.namespace}.svc.cluster.local:8080`);
    expect(world.operator.refusals).toEqual([]);
  });

  it("takes its children along by owner references, and leaves PodUsage", async () => {
    const agent = await createAgent();
    await condition("Ready", { status: "True" });
    for (const ref of CHILDREN)
      for (const child of must(await world.api.client.list(ref, { namespace: world.namespace, labelSelector: LABEL }))
        .items)
        expect(at(child, "metadata.ownerReferences.0"), `${ref.kind} ${child.metadata.name}`).toMatchObject({
          kind: "AgentDeployment",
          uid: agent.metadata.uid,
          controller: true,
          blockOwnerDeletion: true,
        });
    for (const usage of must(await world.api.client.list(POD_USAGES, { namespace: world.namespace })).items)
      expect(usage.metadata["ownerReferences"]).toBeUndefined();
  });

  it("keeps account, role and network policy of a deleted agent until its usage is settled", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const usages = must(await world.api.client.list(POD_USAGES, { namespace: world.namespace })).items.map(
      (usage) => usage.metadata.uid,
    );
    expect(usages.length).toBeGreaterThan(0);
    for (const ref of [SERVICE_ACCOUNTS, ROLE_BINDINGS, NETWORK_POLICIES])
      await waitFor(`every ${ref.kind} to be kept`, async () => {
        // A deleted agent has nothing more to ask: that role goes with it.
        const isAsking = (name: string): boolean => ref === ROLE_BINDINGS && name === `${NAME}-orchestrator`;
        const children = must(
          await world.api.client.list(ref, { namespace: world.namespace, labelSelector: LABEL }),
        ).items.filter((child) => !isAsking(child.metadata.name));
        expect(children.length).toBeGreaterThan(0);
        for (const child of children) expect(new Set(podUsageOwnersOf(child))).toEqual(new Set(usages));
        return true;
      });
  });

  it("gives a pod its first grant, and later ones what the reporter gave", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const [usage] = must(await world.api.client.list(POD_USAGES, { namespace: world.namespace })).items;
    expect(at(usage, "spec.grants.entitlement")).toMatchObject({ state: "Active", planId: "" });
    const entitlement = { state: "Suspended", planId: "", validUntil: "2030-01-01T00:00:00Z" };
    for (const item of must(await world.api.client.list(POD_USAGES, { namespace: world.namespace })).items)
      must(
        await world.api.client.apply(
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
      const items = must(await world.api.client.list(POD_USAGES, { namespace: world.namespace })).items;
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
      const key = { namespace: world.namespace, name: `${NAME}-${suffix}` };
      const before = must(await world.api.client.get(ref, key));
      const patch = { ...bare(before), ...edit, metadata: { ...key, ...metadataOf(edit) } };
      const edited = must(await world.api.client.patchMerge(ref, patch));
      expect(contentOf(edited), what).not.toEqual(contentOf(before));
      await waitFor(`${what} to be repaired`, async () => {
        const now = must(await world.api.client.get(ref, key));
        expect(contentOf(now)).toEqual(contentOf(before));
        return true;
      });
    }
  });

  it("brings back every child that is deleted by hand", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    for (const ref of CHILDREN.filter((kind) => kind !== PERSISTENT_VOLUME_CLAIMS))
      for (const child of must(await world.api.client.list(ref, { namespace: world.namespace, labelSelector: LABEL }))
        .items) {
        must(await world.api.client.delete(ref, child.metadata));
        await waitFor(`${ref.kind} ${child.metadata.name} to come back`, async () => {
          const found = await world.api.client.get(ref, child.metadata);
          return found.ok && found.value.metadata.uid !== child.metadata.uid ? true : undefined;
        });
      }
    await condition("Ready", { status: "True" });
  });

  it("removes an environment variable that another manager added to a container", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const key = { namespace: world.namespace, name: `${NAME}-gateway` };
    const env = [{ name: "SUPERCARGO_CONFIG_FILE", value: "/tmp/mine" }];
    const template = { spec: { containers: [{ name: "gateway", env }] } };
    const body = { ...bare(must(await world.api.client.get(DEPLOYMENTS, key))), spec: { template } };
    must(await world.api.client.apply(DEPLOYMENTS, body, { fieldManager: "somebody", force: true }));
    await waitFor("the variable to go", async () => {
      const text = JSON.stringify(must(await world.api.client.get(DEPLOYMENTS, key))["spec"]);
      return text.includes("SUPERCARGO_CONFIG_FILE") ? undefined : true;
    });
  });
});

describe("a change", () => {
  it("of the config alone restarts no pod, and is Ready only when every pod runs with it", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const before = await podNames();
    world.node.switches.echo = false;
    await patchAgent({ instructions: "You answer in one sentence." });
    expect(await condition("Ready", { status: "False", reason: "Progressing" })).toContain("pods do not run with");
    world.node.switches.echo = true;
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
    const deployment = must(
      await world.api.client.get(DEPLOYMENTS, { namespace: world.namespace, name: `${NAME}-gateway` }),
    );
    expect(at(deployment, "spec.template.spec.containers.0.resources.requests")).toEqual({ cpu: "1", memory: "512Mi" });
  });

  it("that removes a key revokes it in the pods' control until they run without it", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    world.node.switches.echo = false;
    await patchAgent({ exposure: { auth: { apiKeys: [] } } });
    await waitFor("the key to be revoked", async () =>
      (await revokedKeys()).includes("a".repeat(64)) ? true : undefined,
    );
    world.node.switches.echo = true;
    await waitFor("the revocation to be dropped", async () => ((await revokedKeys()).length === 0 ? true : undefined));
    await condition("Ready", { status: "True" });
  });
});
