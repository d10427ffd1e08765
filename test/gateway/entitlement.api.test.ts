import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { newPodUsage, firstGrants } from "../../operator/desired/pod-usage.ts";
import { settingsOf, environmentSchema } from "../../operator/config.ts";
import { createKubectl } from "../../scripts/demo/kubectl.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { podUsageSpecSchema, type Entitlement } from "../../services/core/api/pod-usage.ts";
import { type Emulator, startEmulator } from "../../services/emulator/app.ts";
import { chat, eventually, type GatewayWorld, startGatewayWorld } from "../../services/gateway/test-world.ts";
import { kubeconfigOptions } from "../../services/runtime/kube/kubeconfig.ts";
import { POD_USAGES, PODS, SERVICE_ACCOUNTS } from "../../services/runtime/kube/resources.ts";
import type { ResourceRef } from "../../services/runtime/kube/types.ts";
import { type ApiHarness, must, startApi, waitFor } from "../api/harness.ts";
import { prepareReporter, type ReporterHome } from "../api/reporter.ts";
import { find, render } from "../chart/helm.ts";

/**
 * From the plan bought to the answer of a running gateway: an API server, the reporter with the chart's rights and catalogue,
 * a sidecar and a gateway as processes of one pod. Nothing is restarted but the reporter, when the plan changes.
 */

const RBAC = { group: "rbac.authorization.k8s.io", version: "v1" } as const;
const CLUSTER_ROLES: ResourceRef = { ...RBAC, plural: "clusterroles", kind: "ClusterRole", namespaced: false };
const ROLE_BINDINGS: ResourceRef = { ...RBAC, plural: "rolebindings", kind: "RoleBinding", namespaced: true };
const FAR = "2099-01-01T00:00:00Z";

let api: ApiHarness;
let emulator: Emulator;
let gateway: GatewayWorld;
let sidecar: ChildProcess;
let namespace: string;
let uid: string;
const clientId = randomUUID();
const resourceId = `/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/providers/Microsoft.KubernetesConfiguration/extensions/${clientId}`;
const homes: ReporterHome[] = [];

beforeAll(async () => {
  api = await startApi();
  emulator = await startEmulator();
  process.env["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = emulator.imdsUrl;
  namespace = await api.newNamespace();
  gateway = await startGatewayWorld({ modelUrl: emulator.url });
  uid = await bearPod();
  sidecar = await startSidecar();
});
afterAll(async () => {
  delete process.env["AZURE_POD_IDENTITY_AUTHORITY_HOST"];
  sidecar?.kill("SIGKILL");
  await gateway?.stop();
  for (const home of homes) home.remove();
  await emulator?.stop();
  await api?.stop();
});

/** A pod and its PodUsage, as the operator makes it: a first grant of the plan `free`. */
async function bearPod(): Promise<string> {
  const securityContext = {
    allowPrivilegeEscalation: false,
    runAsNonRoot: true,
    capabilities: { drop: ["ALL"] },
    seccompProfile: { type: "RuntimeDefault" },
  };
  const container = { name: "gateway", image: "registry.example.com/gateway:1", securityContext };
  const metadata = { name: "pod", namespace };
  const object = { apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [container] } };
  const pod = must(await api.client.create(PODS, object));
  const podUid = pod.metadata.uid ?? "";
  const environment = environmentSchema.parse({
    SUPERCARGO_IMAGE: "supercargo",
    SUPERCARGO_POD_NAME: "operator-0",
    SUPERCARGO_POD_NAMESPACE: "supercargo",
    SUPERCARGO_PLAN_ID: "free",
    SUPERCARGO_OFFER_RESOURCE_ID: resourceId,
    SUPERCARGO_CHECKPOINT_SECONDS: "5",
  });
  const settings = settingsOf(environment, readFileSync("charts/supercargo/files/catalogue.yaml", "utf8"));
  const usage = newPodUsage({
    agent: { name: "orders" },
    pod: { namespace, name: "pod", uid: podUid, component: "gateway" },
    settings,
    control: { mode: "Running" },
    grants: firstGrants([], { settings, nowMs: Date.parse("2098-12-31T00:00:00Z") }),
    team: "",
  });
  must(await api.client.create(POD_USAGES, usage, { fieldManager: "supercargo-operator-birth" }));
  return podUid;
}

/** `node services/meter/sidecar/main.ts` with the rights that the chart ships. */
async function startSidecar(): Promise<ChildProcess> {
  const role = find(await render(), "ClusterRole", "supercargo-sidecar");
  const apply = (ref: ResourceRef, object: object): Promise<unknown> =>
    api.client
      .apply(
        ref,
        { apiVersion: "", kind: "", metadata: { name: "" }, ...object },
        { fieldManager: "test", force: true },
      )
      .then(must);
  await apply(SERVICE_ACCOUNTS, { metadata: { name: "gateway", namespace } });
  await apply(CLUSTER_ROLES, { metadata: { name: "sidecar-of-test" }, rules: role["rules"] });
  await apply(ROLE_BINDINGS, {
    metadata: { name: "gateway", namespace },
    roleRef: { apiGroup: RBAC.group, kind: "ClusterRole", name: "sidecar-of-test" },
    subjects: [{ kind: "ServiceAccount", name: "gateway", namespace }],
  });
  const kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: api.kubeconfig });
  const { folder } = gateway;
  const { ca } = await kubeconfigOptions(api.kubeconfig);
  writeFileSync(join(folder.path, "ca.crt"), typeof ca === "string" ? ca : "");
  writeFileSync(folder.files.token, await kubectl.run(["create", "token", "gateway", "-n", namespace]));
  const { hostname, port } = new URL(api.server);
  const child = spawn(process.execPath, ["services/meter/sidecar/main.ts"], {
    env: {
      KUBERNETES_SERVICE_HOST: hostname,
      KUBERNETES_SERVICE_PORT: port,
      SUPERCARGO_KUBERNETES_DIR: folder.path,
      SUPERCARGO_POD_NAME: "pod",
      SUPERCARGO_POD_NAMESPACE: namespace,
      SUPERCARGO_POD_UID: uid,
      SUPERCARGO_SCRAPE_URL: `${gateway.gateway.adminUrl}/metrics`,
      SUPERCARGO_SCRAPE_SECONDS: "1",
      SUPERCARGO_COUNTER_FILE: folder.files.counters,
      SUPERCARGO_CONTROL_FILE: folder.files.control,
      SUPERCARGO_LOG_DIR: join(folder.path, "log"),
      SUPERCARGO_ADMIN_PORT: "0",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

/** A leader whose customer bought this plan; resolves when the pod's grant names it. */
async function lead(planId: string): Promise<{ stop(): Promise<void> }> {
  const env = { SUPERCARGO_PLAN_ID: planId };
  const home = await prepareReporter(api, { emulator, clientId, resourceId, env });
  homes.push(home);
  const leader = home.start();
  await waitFor(`a grant of ${planId}`, async () => ((await entitlement()).planId === planId ? true : undefined));
  return leader;
}

async function entitlement(): Promise<Entitlement> {
  const usage = must(await api.client.get(POD_USAGES, { namespace, name: uid }));
  const { grants } = podUsageSpecSchema.parse(usage["spec"]);
  if (!grants) throw new Error("A grant must be there");
  return grants.entitlement;
}

/** What the reporter would write. */
async function grant(change: Partial<Entitlement>): Promise<void> {
  const usage = must(await api.client.get(POD_USAGES, { namespace, name: uid }));
  const { grants } = podUsageSpecSchema.parse(usage["spec"]);
  const entitled = { state: "Active", planId: "starter", validUntil: FAR, features: {}, ...change };
  const patch = {
    apiVersion: usage.apiVersion,
    kind: usage.kind,
    metadata: { name: uid, namespace },
    spec: { grants: { ...grants, entitlement: entitled } },
  };
  must(await api.client.apply(POD_USAGES, patch, { fieldManager: "supercargo-reporter", force: true }));
}

const errorSchema = z.looseObject({ error: z.object({ code: z.string() }).nullish() });

/** Status, code, and what a client is told of coming back. */
async function knock(path: string, body: object): Promise<string> {
  const answer = await gateway.post(path, body);
  const code = errorSchema.parse(await answer.json()).error?.code ?? "";
  return `${answer.status} ${code} ${answer.headers.get("x-should-retry") ?? ""}`.trimEnd();
}

/** Both doors, asked until they answer so. */
async function answers(expected: { readonly model: string; readonly agent: string }): Promise<void> {
  const wanted = JSON.stringify(expected);
  let seen = "";
  try {
    await eventually(async () => {
      const model = await knock("/v1/chat/completions", chat("x"));
      seen = JSON.stringify({ model, agent: await knock("/v1/responses", { input: "x" }) });
      return seen === wanted ? true : undefined;
    });
  } catch (cause) {
    throw new Error(`It must become ${wanted}: current value is ${seen}`, { cause });
  }
}

describe("a running gateway", () => {
  it("obeys the first grant, then each plan that the reporter knows, and none that it does not", async () => {
    const { pid } = gateway.gateway;
    expect((await entitlement()).features).toEqual({ routes: ["agent"] });
    await answers({ model: "403 not_entitled false", agent: "200" });

    const starter = await lead("starter");
    expect((await entitlement()).features).toEqual({});
    await answers({ model: "200", agent: "200" });
    await starter.stop();

    const unknown = await lead("gold");
    expect(await entitlement()).toMatchObject({ state: "Unknown", features: {} });
    await answers({ model: "503 unknown_plan false", agent: "503 unknown_plan false" });
    await unknown.stop();

    const free = await lead("free");
    expect((await entitlement()).features).toEqual({ routes: ["agent"] });
    await answers({ model: "403 not_entitled false", agent: "200" });
    await free.stop();
    expect(gateway.gateway.pid).toBe(pid);
    expect(gateway.gateway.child.exitCode).toBeNull();
  });

  it.each<[string, Partial<Entitlement>, string]>([
    ["suspended", { state: "Suspended" }, "403 subscription_suspended false"],
    ["revoked", { state: "Revoked" }, "403 subscription_revoked false"],
    ["at its end", { validUntil: "2020-01-01T00:00:00Z" }, "403 grant_expired false"],
    ["of an unknown plan", { state: "Unknown", planId: "gold" }, "503 unknown_plan false"],
    ["without the model", { features: { models: ["small"] } }, "403 not_entitled false"],
  ])("sees a grant that is %s, and the next good one", async (_what, change, expected) => {
    await grant(change);
    const agent = "features" in change ? "200" : expected;
    await answers({ model: expected, agent });
    await grant({});
    await answers({ model: "200", agent: "200" });
  });
});
