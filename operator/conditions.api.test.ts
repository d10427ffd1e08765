import { describe, expect, it } from "vitest";
import {
  AGENT_DEPLOYMENTS,
  CONFIG_MAPS,
  EVENTS,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  POD_USAGES,
  PODS,
  SERVICES,
} from "#runtime/kube/resources.ts";
import {
  NAME,
  bare,
  condition,
  createAgent,
  getAgent,
  isLease,
  patchAgent,
  podNames,
  quiet,
  reportFailedMount,
  requestReconcile,
  scheduleWaiting,
  useAgentWorld,
  world,
} from "../test/api/agent-world.ts";
import { at, must, waitFor } from "../test/api/harness.ts";

useAgentWorld();

describe("mode", () => {
  it("Paused is Suspended only when every pod says so, keeps the pods, and ends", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const before = await podNames();
    world.node.switches.echo = false;
    await patchAgent({ mode: "Paused" });
    expect(await condition("Suspended", { status: "False", reason: "Paused" })).toBe(
      "3 of 3 pods do not confirm mode Paused yet",
    );
    await condition("Ready", { status: "False", reason: "Paused" });
    world.node.switches.echo = true;
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
      const found = await world.api.client.get(POD_DISRUPTION_BUDGETS, {
        namespace: world.namespace,
        name: `${NAME}-gateway`,
      });
      return found.ok ? undefined : true;
    });
    await patchAgent({ mode: "Running" });
    await condition("Ready", { status: "True" });
  });

  it("reaches the pods even when the rest of the spec is not accepted", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    await patchAgent({ mode: "Revoked", exposure: { type: "LoadBalancer" } });
    await condition("Accepted", { status: "False", reason: "NotSupported" });
    for (const usage of must(await world.api.client.list(POD_USAGES, { namespace: world.namespace })).items)
      expect(at(usage, "spec.control.mode")).toBe("Revoked");
  });
});

describe("a spec that is not accepted", () => {
  it("says which field and what to do, and the generation before keeps serving", async () => {
    await createAgent();
    await condition("Ready", { status: "True" });
    const before = must(
      await world.api.client.get(CONFIG_MAPS, { namespace: world.namespace, name: `${NAME}-config` }),
    );
    await patchAgent({ instructions: "New.", exposure: { type: "LoadBalancer" } });
    const message = await condition("Accepted", { status: "False", reason: "NotSupported" });
    expect(message).toBe(
      "spec.exposure.type LoadBalancer is not supported by this version: use ClusterIP and a route of yours to the Service",
    );
    await condition("Ready", { status: "False", reason: "NotAccepted" });
    const after = must(await world.api.client.get(CONFIG_MAPS, { namespace: world.namespace, name: `${NAME}-config` }));
    expect(after.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
    await patchAgent({ exposure: { type: "ClusterIP" } });
    await condition("Ready", { status: "True" });
  });

  it("waits for a Service that a tool names", async () => {
    const functions = [{ name: "get_order", lane: "Automatic" }];
    await createAgent({ tools: [{ name: "orders", mcp: { url: "http://orders:3000/mcp" }, functions }] });
    expect(await condition("Accepted", { status: "False", reason: "ServiceNotFound" })).toBe(
      `spec.tools[0].mcp names the Service ${world.namespace}/orders, which must exist in a watched namespace, or egress must name its peers`,
    );
    must(
      await world.api.client.create(SERVICES, {
        apiVersion: "v1",
        kind: "Service",
        metadata: { namespace: world.namespace, name: "orders" },
        spec: { selector: { app: "orders" }, ports: [{ port: 3000, targetPort: 3001 }] },
      }),
    );
    await requestReconcile();
    await condition("Accepted", { status: "True" });
    const policy = must(
      await world.api.client.get(NETWORK_POLICIES, { namespace: world.namespace, name: `${NAME}-orchestrator` }),
    );
    expect(at(policy, "spec.egress.3")).toEqual({
      ports: [{ port: 3001, protocol: "TCP" }],
      to: [
        {
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": world.namespace } },
          podSelector: { matchLabels: { app: "orders" } },
        },
      ],
    });
  });

  it("lets the gateway out to an issuer in the cluster, once its Service is there", async () => {
    const oidc = [{ name: "dex", issuer: "http://dex.auth-system.svc:5556", audience: "agents", scopes: ["agent"] }];
    await createAgent({ exposure: { auth: { oidc } } });
    expect(await condition("Accepted", { status: "False", reason: "ServiceNotFound" })).toBe(
      "spec.exposure.auth.oidc[0] names the Service auth-system/dex, which must exist in a watched namespace, or egress must name its peers",
    );
    const podSelector = { matchLabels: { app: "dex" } };
    await patchAgent({ exposure: { auth: { oidc: [{ ...oidc[0], egress: { podSelector } }] } } });
    await condition("Accepted", { status: "True" });
    const key = { namespace: world.namespace, name: `${NAME}-gateway` };
    const policy = must(await world.api.client.get(NETWORK_POLICIES, key));
    expect(at(policy, "spec.egress")).toContainEqual({
      ports: [{ port: 5556, protocol: "TCP" }],
      to: [{ podSelector }],
    });
    const map = must(await world.api.client.get(CONFIG_MAPS, { ...key, name: `${NAME}-config` }));
    expect(JSON.parse(String(Object(map["data"])["gateway.json"])).oidc).toEqual([
      { ...oidc[0], actors: [], roles: [] },
    ]);
    await condition("Ready", { status: "True" });
  });

  it("names a Secret that the kubelet cannot mount", async () => {
    world.node.switches.start = false;
    await createAgent();
    const pod = await waitFor("a gateway pod", async () => {
      const pods = must(await world.api.client.list(PODS, { namespace: world.namespace })).items;
      return pods.find((item) => item.metadata.name.includes("gateway"));
    });
    await scheduleWaiting(pod);
    await reportFailedMount(pod, 'MountVolume.SetUp failed for volume "secret-x" : secret "model-key" not found');
    expect(await condition("Accepted", { status: "False", reason: "SecretNotFound" })).toBe(
      "Secret model-key must exist in this namespace",
    );
    world.node.switches.start = true;
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
      const events = must(await world.api.client.list(EVENTS, { namespace: world.namespace })).items;
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
    const seen = world.operator.writes.length;
    await world.api.client.patchMerge(AGENT_DEPLOYMENTS, {
      ...bare(await getAgent()),
      metadata: { namespace: world.namespace, name: NAME, annotations: { other: "x" } },
    });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(world.operator.writes.slice(seen).filter((write) => !isLease(write))).toEqual([]);
    expect(world.operator.refusals).toEqual([]);
  });
});
