import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createKubectl, type Kubectl } from "../../scripts/demo/kubectl.ts";
import type { CommandResult } from "../../scripts/run-command.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { WRONG_CATALOGUES } from "../catalogue/wrong.ts";
import { type LightCluster, startLightCluster } from "../cluster/local/light.ts";
import { CHART, chartFlags, helm, type HelmMajor, helmTemplate, MAJORS, NAMESPACE, PROFILES, RELEASE } from "./helm.ts";

const KINDS = ["agentdeployments", "approvals", "podusages", "usageledgers", "usagestatements"];

let cluster: LightCluster;
let kubectl: Kubectl;

beforeAll(async () => {
  cluster = await startLightCluster();
  kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: cluster.kubeconfig });
  await kubectl.apply(namespace(NAMESPACE));
});

afterAll(() => cluster?.stop());

/** A namespace that refuses what is not restricted, and says so for workloads, too. */
function namespace(name: string): string {
  const labels = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
  };
  return JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
}

function release(major: HelmMajor, verb: readonly string[], profile = "emulator"): Promise<CommandResult> {
  return helm(major, [...verb, RELEASE, CHART, ...chartFlags({ profile })], { kubeconfig: cluster.kubeconfig });
}

async function uninstall(major: HelmMajor): Promise<CommandResult> {
  return helm(major, ["uninstall", RELEASE, "--namespace", NAMESPACE], { kubeconfig: cluster.kubeconfig });
}

/** Size of the newest release's Secret, which etcd refuses near 1 MiB. */
async function releaseBytes(): Promise<number> {
  const path = ["-o", "jsonpath={.items[-1].data.release}"];
  return (await kubectl.run(["-n", NAMESPACE, "get", "secrets", "-l", "owner=helm", ...path])).length;
}

const listSchema = z.object({
  items: z.array(
    z.object({ metadata: z.object({ name: z.string(), uid: z.string(), deletionTimestamp: z.string().optional() }) }),
  ),
});

/** Name and UID of each definition; one that is being deleted counts as gone. */
async function definitions(): Promise<readonly string[]> {
  const { items } = listSchema.parse(await kubectl.json(["get", "crds"]));
  return items
    .filter(({ metadata }) => metadata.name.endsWith(".supercargo.dev") && metadata.deletionTimestamp === undefined)
    .map(({ metadata }) => `${metadata.name} ${metadata.uid}`);
}

describe("the API server", () => {
  const DRY_RUN = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];

  it.each(PROFILES)("accepts every object with the values %s, without one warning", async (profile) => {
    const { stdout } = await helmTemplate({ profile });
    const result = await kubectl.attempt(DRY_RUN, stdout);
    expect(result.stderr).toBe("");
    expect(result.code).toBe(0);
    expect(result.stdout.split("\n").length).toBeGreaterThan(15);
  });

  it("would have said what is wrong", async () => {
    const { stdout } = await helmTemplate();
    const loose = await kubectl.attempt(DRY_RUN, stdout.replaceAll("runAsNonRoot: true", "runAsNonRoot: false"));
    expect(loose.stderr).toContain('Warning: would violate PodSecurity "restricted:latest": runAsNonRoot != true');
    const wrong = await kubectl.attempt(DRY_RUN, stdout.replaceAll("maxSurge: 1", "maxSurge: 1, maxSurges: 1"));
    expect(wrong.stderr).toContain(".spec.strategy.rollingUpdate.maxSurges: field not declared in schema");
  });
});

describe.each(MAJORS)("Helm %i", (major) => {
  it("installs, states facts, upgrades and rolls back", async () => {
    const installed = await release(major, ["install"], "default");
    expect(installed.stderr.replace(/^WARNING: Kubernetes configuration file.*\n/gm, "")).toBe("");
    expect(installed.stdout).toContain(
      "Mode: plain. Usage is counted and shown, nothing is posted, nothing is billed.",
    );
    expect((await definitions()).map((one) => one.split(".")[0])).toEqual(KINDS);
    expect(await releaseBytes()).toBeLessThan(500_000);

    const upgraded = await release(major, ["upgrade"], "marketplace");
    expect(upgraded.stdout).toContain("Mode: Marketplace. Plan business, billed to\n  /subscriptions/12345678-");
    expect(upgraded.stdout).toContain("\n  workflow_completed, per conversation, 1000 included per month\n");
    expect(upgraded.stdout).toContain("A proxy is in use.");
    const scale = ["-n", NAMESPACE, "get", "deployment", `${RELEASE}-operator`, "-o", "jsonpath={.spec.replicas}"];
    expect(await kubectl.run(scale)).toBe("3");

    const back = await helm(major, ["rollback", RELEASE, "1", "--namespace", NAMESPACE], {
      kubeconfig: cluster.kubeconfig,
    });
    expect(back.code).toBe(0);
    expect(await kubectl.run(scale)).toBe("2");
  });

  it.each([
    [
      "a plan that the catalogue does not know",
      "marketplace",
      { global: { azure: { marketplace: { planId: "gold" } } } },
      "WARNING: the catalogue has no plan gold. Usage is counted and nothing can be posted until it has.",
    ],
    [
      "a plan with a fee",
      "marketplace",
      { global: { azure: { marketplace: { planId: "hybrid" } } } },
      "\n  base_month, per month, 1 due per month\n  workflow_completed, per conversation, 500 included per month\n",
    ],
    [
      "a plan without metering",
      "emulator",
      { catalogue: { plans: [{ id: "starter", displayName: "Starter", billing: "Free", dimensions: [] }] } },
      "The plan's billing is Free: usage is counted, and no usage event is posted.",
    ],
  ])("says so for %s", async (...row) => {
    const [, profile, values, line] = row;
    const command = ["upgrade", RELEASE, CHART, ...chartFlags({ profile }), "--dry-run=server"];
    const result = await helm(major, command, { kubeconfig: cluster.kubeconfig, values });
    expect(result.stdout).toContain(line);
  });

  it("installs nothing of a release whose catalogue is wrong, and leaves one that runs as it is", async () => {
    const wrong = WRONG_CATALOGUES.filter(({ by }) => by !== "Reader");
    const count = async (): Promise<number> =>
      (await kubectl.run(["-n", NAMESPACE, "get", "secrets", "-l", "owner=helm", "-o", "name"])).split("\n").length;
    const before = await count();
    for (const { value } of [wrong[0], wrong.at(-1)].flatMap((one) => one ?? [])) {
      const command = ["upgrade", "--install", RELEASE, CHART, ...chartFlags({ profile: "default" })];
      const result = await helm(major, command, { kubeconfig: cluster.kubeconfig, values: { catalogue: value } });
      expect(result.code).toBe(1);
      expect(result.stderr).toContain("catalogue");
    }
    expect(await count()).toBe(before);
  });

  it("uninstalls, keeps definitions and agents, and installs again over them", async () => {
    await kubectl.apply(agent("kept"), "default");
    const before = await definitions();
    expect(before).toHaveLength(KINDS.length);
    const removed = await uninstall(major);
    expect(removed.stdout).toContain("kept due to the resource policy");
    expect(await definitions()).toEqual(before);
    expect(await kubectl.run(["-n", "default", "get", "agd", "-o", "name"])).toContain(
      "agentdeployment.supercargo.dev/kept",
    );
    const left = await kubectl.run(["get", "deploy,sa,cm,netpol,pdb,role,rolebinding", "-n", NAMESPACE, "-o", "name"]);
    expect(left.split("\n").filter((name) => name.includes("supercargo"))).toEqual([]);
    const global = await kubectl.run([
      "get",
      "clusterrole,clusterrolebinding,validatingadmissionpolicy",
      "-l",
      `app.kubernetes.io/instance=${RELEASE}`,
      "-o",
      "name",
    ]);
    expect(global).toBe("");

    expect((await release(major, ["install"])).code).toBe(0);
    expect((await uninstall(major)).code).toBe(0);
  });
});

describe("a release of Helm 3", () => {
  it("is upgraded by Helm 4", async () => {
    expect((await release(3, ["install"])).code).toBe(0);
    const upgraded = await release(4, ["upgrade"], "marketplace");
    expect(upgraded.stderr).not.toContain("Error");
    expect(upgraded.code).toBe(0);
    expect((await uninstall(4)).code).toBe(0);
  });
});

describe("rights, on the real API server", () => {
  beforeAll(async () => {
    expect((await release(4, ["install"])).stderr).not.toContain("Error");
    await kubectl.run(["create", "namespace", "agents"]);
  });

  it.each([
    ["operator", "create", "rolebindings", "agents", "yes"],
    ["operator", "get", "secrets", "agents", "no"],
    ["operator", "list", "secrets", NAMESPACE, "no"],
    ["operator", "update", "podusages --subresource=status", "agents", "no"],
    ["operator", "update", "leases/supercargo-operator", NAMESPACE, "yes"],
    ["operator", "update", "leases/supercargo-reporter", NAMESPACE, "no"],
    ["operator", "create", "pods", "agents", "no"],
    ["operator", "escalate", "clusterroles", "", "no"],
    ["reporter", "patch", "podusages", "agents", "yes"],
    ["reporter", "update", "podusages --subresource=status", "agents", "no"],
    ["reporter", "create", "deployments", "agents", "no"],
    ["reporter", "get", "secrets", "agents", "no"],
    ["reporter", "update", "usageledgers", "", "yes"],
    ["reporter", "update", "leases/supercargo-reporter", NAMESPACE, "yes"],
  ])("%s may %s %s in %s: %s", async (...row) => {
    const [component, verb, resource, where, expected] = row;
    const scope = where === "" ? [] : ["-n", where];
    const answer = await kubectl.attempt([
      "auth",
      "can-i",
      verb,
      ...resource.split(" "),
      ...scope,
      "--as",
      account(component),
    ]);
    expect(answer.stdout.trim()).toBe(expected);
  });

  it("let the operator bind the roles of its pods and no other", async () => {
    const bind = (name: string, role: string): Promise<CommandResult> =>
      as(undefined, [
        "create",
        "rolebinding",
        name,
        `--clusterrole=${role}`,
        "--serviceaccount=agents:agent",
        "--as",
        account("operator"),
      ]);
    expect((await bind("sidecar", "supercargo-sidecar")).code).toBe(0);
    expect((await bind("orchestrator", "supercargo-orchestrator")).code).toBe(0);
    expect((await bind("approve", "supercargo-approve")).stderr).toContain("is attempting to grant RBAC permissions");
    expect((await bind("admin", "cluster-admin")).stderr).toContain(
      "is attempting to grant RBAC permissions not currently held",
    );
  });
});

describe("a pod's token", () => {
  const pods = new Map<string, { readonly uid: string; readonly token: string }>();
  let unbound = "";

  beforeAll(async () => {
    await kubectl.run(["-n", "agents", "create", "serviceaccount", "agent"]);
    for (const name of ["first", "second"]) pods.set(name, await createPod(name));
    unbound = (await kubectl.run(["-n", "agents", "create", "token", "agent"])).trim();
  });

  it("writes the totals of its own PodUsage", async () => {
    const result = await writeTotals(pod("first").token, pod("first").uid);
    expect(result.stderr).toBe("");
    expect(result.code).toBe(0);
    const sequence = ["-n", "agents", "get", "podusage", pod("first").uid, "-o", "jsonpath={.status.sequence}"];
    expect(await kubectl.run(sequence)).toBe("1");
  });

  it("cannot write another pod's totals", async () => {
    const { stderr } = await writeTotals(pod("first").token, pod("second").uid);
    expect(stderr).toContain(
      `ValidatingAdmissionPolicy 'supercargo-own-podusage' with binding 'supercargo-own-podusage' denied request: Cannot write the totals of PodUsage ${pod("second").uid} as it must be named after the pod UID of the caller's token: current value is ${pod("first").uid}`,
    );
  });

  it("that is bound to no pod, or an administrator, cannot write totals", async () => {
    for (const token of [unbound, undefined])
      expect((await writeTotals(token, pod("second").uid)).stderr).toContain(
        "current value is none, the token is not bound to a pod",
      );
    const sequence = ["-n", "agents", "get", "podusage", pod("second").uid, "-o", "jsonpath={.status.sequence}"];
    expect(await kubectl.run(sequence)).toBe("");
  });

  it.each([
    ["change its grants", "patch", ["podusage", "UID", "--type=merge", "-p", '{"spec":{"grants":null}}']],
    ["delete what it has used", "delete", ["podusage", "UID"]],
    ["read the ledger", "get", ["usageledgers"]],
    ["read Secrets", "get", ["secrets"]],
    ["read agents", "get", ["agentdeployments"]],
  ] as const)("cannot %s", async (_, verb, args) => {
    const { token, uid } = pod("first");
    const result = await as(token, [verb, ...args.map((arg) => arg.replace("UID", uid))]);
    expect(result.stderr).toMatch(new RegExp(`cannot ${verb === "get" ? "list" : verb} resource`));
  });

  function pod(name: string): { readonly uid: string; readonly token: string } {
    const found = pods.get(name);
    if (found === undefined) throw new Error(`Pod ${name} was not created`);
    return found;
  }
});

describe("an Approval", () => {
  const digest = "0".repeat(64);
  const decide = (decidedBy: string): Promise<CommandResult> => {
    const decision = { verdict: "Approve", decidedBy, decidedAt: "2026-01-01T00:00:00Z", digest };
    const patch = ["patch", "approval", "a", "--type=merge", "-p", JSON.stringify({ spec: { decision } })];
    return as(undefined, [...patch, "--as", "ann@example.com"]);
  };

  beforeAll(async () => {
    const request = {
      agentDeployment: "a",
      agentGeneration: "1",
      runId: "r",
      callId: "c",
      server: "s",
      tool: "t",
      arguments: "{}",
      ruleVersion: "1",
      digest,
      rule: "r",
      actingFor: "u",
      reason: "",
      expiresAt: "2026-01-01T00:00:00Z",
    };
    const approval = {
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "Approval",
      metadata: { name: "a" },
      spec: { request },
    };
    const asker = "system:serviceaccount:agents:a-orchestrator";
    const role = ["--clusterrole=supercargo-orchestrator", "--serviceaccount=agents:a-orchestrator"];
    await as(undefined, ["create", "rolebinding", "asker", ...role]);
    const created = await kubectl.attempt(
      ["create", "-n", "agents", "-f", "-", "--as", asker],
      JSON.stringify(approval),
    );
    expect(created.stderr).toBe("");
    await as(undefined, ["create", "rolebinding", "ann", "--clusterrole=supercargo-approve", "--user=ann@example.com"]);
  });

  it("is decided in one's own name only", async () => {
    expect((await decide("bob@example.com")).stderr).toContain(
      "Cannot decide Approval a as spec.decision.decidedBy must be ann@example.com: current value is bob@example.com",
    );
    expect((await decide("ann@example.com")).stdout).toContain("approval.supercargo.dev/a patched");
  });

  it("may still be labelled by others once it is decided", async () => {
    expect((await as(undefined, ["label", "approval", "a", "seen=yes"])).code).toBe(0);
  });
});

function account(component: string): string {
  return `system:serviceaccount:${NAMESPACE}:${RELEASE}-${component}`;
}

function agent(name: string): string {
  return JSON.stringify({
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "AgentDeployment",
    metadata: { name },
    spec: {
      instructions: "You answer.",
      models: [
        {
          name: "default",
          deployments: [
            {
              name: "main",
              type: "AzureOpenAI",
              azureOpenAI: { endpoint: "https://example.openai.azure.com", deployment: "gpt" },
            },
          ],
        },
      ],
    },
  });
}

const createdSchema = z.object({ metadata: z.object({ uid: z.string() }) });

/** A pod object (nothing runs it), its PodUsage as the operator makes it, and a token bound to the pod. */
async function createPod(name: string): Promise<{ readonly uid: string; readonly token: string }> {
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { serviceAccountName: "agent", containers: [{ name: "sidecar", image: "none" }] },
  };
  await kubectl.apply(JSON.stringify(manifest), "agents");
  const { uid } = createdSchema.parse(await kubectl.json(["-n", "agents", "get", "pod", name])).metadata;
  const usage = {
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "PodUsage",
    metadata: { name: uid },
    spec: {
      podName: name,
      component: "gateway",
      agentDeployment: "a",
      offerResourceId: "plain",
      checkpointSeconds: 60,
    },
  };
  await kubectl.apply(JSON.stringify(usage), "agents");
  const bound = ["--bound-object-kind=Pod", `--bound-object-name=${name}`, `--bound-object-uid=${uid}`];
  const token = await kubectl.run(["-n", "agents", "create", "token", "agent", ...bound]);
  return { uid, token: token.trim() };
}

/** kubectl with a token and nothing else; as the administrator without one. */
function as(token: string | undefined, args: readonly string[], input?: string): Promise<CommandResult> {
  if (token === undefined) return kubectl.attempt(["-n", "agents", ...args], input);
  const bearer = createKubectl({ path: kubectl.path, kubeconfig: "/dev/null" });
  const flags = [`--server=${cluster.server}`, "--insecure-skip-tls-verify=true", `--token=${token}`];
  return bearer.attempt([...flags, "-n", "agents", ...args], input);
}

/** PUT of the status, as the sidecar does. */
async function writeTotals(token: string | undefined, uid: string): Promise<CommandResult> {
  const usage = z.looseObject({}).parse(await kubectl.json(["-n", "agents", "get", "podusage", uid]));
  const status = { sequence: "1", totals: [{ dimension: "requests", total: "7", last: "7" }] };
  return as(token, ["replace", "--subresource=status", "-f", "-"], JSON.stringify({ ...usage, status }));
}
