import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { createKubectl, type Kubectl } from "../../scripts/demo/kubectl.ts";
import { type CommandResult, tryCommand } from "../../scripts/run-command.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { type OrchestratorConfig, orchestratorConfigSchema } from "../../services/core/api/pod-config.ts";
import { kubeconfigOptions } from "../../services/runtime/kube/kubeconfig.ts";
import { APPROVALS, CONFIG_MAPS, EVENTS } from "../../services/runtime/kube/resources.ts";
import type { KubeObject } from "../../services/runtime/kube/types.ts";
import { condition, createAgent, NAME, patchAgent, useAgentWorld, world } from "../api/agent-world.ts";
import { at, must, waitFor } from "../api/harness.ts";
import { render } from "../chart/helm.ts";
import { type AgentWorld, createWorld } from "./world.ts";

/**
 * A person between the model and an effect: an API server with the chart's roles and admission policies, the operator, and
 * an orchestrator process with the config that the operator wrote and the token of the agent's account.
 */

useAgentWorld();

const ANN = "ann@example.com";
const REFUND = '{"order_id":"A-1003","amount_cents":4200,"reason":"slow"}';
const INPUT = `[[call refund_order ${REFUND}]][[next]][[say Refunded.]]`;

let kubectl: Kubectl;
let pod: AgentWorld;

/** What of the chart decides about Approvals. */
async function installRules(): Promise<void> {
  const kinds = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterRole"];
  const names = /own-question|own-decision|supercargo-approve$|supercargo-orchestrator$/;
  const rules = (await render()).filter(({ kind, metadata }) => kinds.includes(kind) && names.test(metadata.name));
  expect(rules).toHaveLength(6);
  await kubectl.apply(rules.map((rule) => JSON.stringify(rule)).join("\n---\n"));
}

beforeAll(async () => {
  kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: world.api.kubeconfig });
  await installRules();
});

beforeEach(async () => {
  await kubectl.run([
    "create",
    "rolebinding",
    "ann",
    "-n",
    world.namespace,
    "--clusterrole=supercargo-approve",
    `--user=${ANN}`,
  ]);
  await createAgent({
    approvals: { timeoutSeconds: 600 },
    tools: [
      {
        name: "orders",
        mcp: { url: "https://orders.example.com/mcp" },
        functions: [
          { name: "refund_order", lane: "Approval" },
          { name: "get_order", lane: "Automatic", retry: "Safe" },
        ],
      },
    ],
  });
  await condition("Ready", { status: "True" });
  const mounted = await readConfig();
  pod = await createWorld({ config: (initial) => atHome(mounted, initial) });
});
afterEach(() => pod?.stop());

/** What the kubelet would mount. */
async function readConfig(): Promise<OrchestratorConfig> {
  const map = must(await world.api.client.get(CONFIG_MAPS, { namespace: world.namespace, name: `${NAME}-config` }));
  const { data } = z.object({ data: z.object({ "orchestrator.json": z.string() }) }).parse(map);
  return orchestratorConfigSchema.parse(JSON.parse(data["orchestrator.json"]));
}

/** The operator's config with the addresses of this machine. */
function atHome(mounted: OrchestratorConfig, initial: OrchestratorConfig): OrchestratorConfig {
  const url = initial.tools[0]?.url ?? "";
  const tools = mounted.tools.map((tool) => ({ ...tool, url }));
  return { ...mounted, tools, gateway: initial.gateway, serviceIdentity: initial.serviceIdentity };
}

/** The process with the token that the operator mounts into it. */
async function startPod(environment: Readonly<Record<string, string>> = {}): Promise<void> {
  const { ca } = await kubeconfigOptions(world.api.kubeconfig);
  const kubernetes = join(pod.directory, "kubernetes");
  mkdirSync(kubernetes, { recursive: true });
  writeFileSync(join(kubernetes, "ca.crt"), typeof ca === "string" ? ca : "");
  writeFileSync(join(kubernetes, "token"), await accountToken(`${NAME}-orchestrator`));
  const { hostname, port } = new URL(world.api.server);
  await pod.start({
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
    SUPERCARGO_KUBERNETES_DIR: kubernetes,
    ...environment,
  });
}

async function accountToken(account: string): Promise<string> {
  return (await kubectl.run(["create", "token", account, "-n", world.namespace, "--duration=10m"])).trim();
}

const responseSchema = z.object({
  id: z.string(),
  status: z.string(),
  output: z.array(z.looseObject({ type: z.string(), id: z.string() })),
});
type Answered = z.output<typeof responseSchema>;

let keys = 0;
async function respond(body: object, key?: string): Promise<Answered> {
  keys += 1;
  const headers = { "idempotency-key": key ?? `key-${keys}` };
  return responseSchema.parse(await (await pod.request("/v1/responses", { body, headers })).json());
}

function goOn(previous: Answered): Promise<Answered> {
  return respond({ input: [], previous_response_id: previous.id });
}

async function approvals(): Promise<readonly KubeObject[]> {
  return must(await world.api.client.list(APPROVALS, { namespace: world.namespace })).items;
}

async function onlyApproval(): Promise<KubeObject> {
  const all = await approvals();
  expect(all).toHaveLength(1);
  const [approval] = all;
  if (!approval) throw new Error("There must be an Approval");
  return approval;
}

/** The command of docs/agentdeployment.md, typed by somebody. */
async function type(marker: string, name: string, user: readonly string[] = [`--as=${ANN}`]): Promise<CommandResult> {
  const page = readFileSync("docs/agentdeployment.md", "utf8");
  const block = [...page.matchAll(/```sh\n([\s\S]*?)```/g)]
    .map((match) => match[1] ?? "")
    .find((text) => text.includes(marker));
  if (block === undefined) throw new Error(`docs/agentdeployment.md must show ${marker}`);
  const flags = [`--kubeconfig=${world.api.kubeconfig}`, ...user].map((flag) => `'${flag}'`).join(" ");
  const shell = `kubectl() { '${kubectl.path}' ${flags} "$@"; }\n${block}`
    .replace(/^NAME=.*$/m, `NAME=${name}`)
    .replaceAll("-n agents", `-n ${world.namespace}`);
  return tryCommand(["bash", "-euo", "pipefail", "-c", shell]);
}

const APPROVE = 'verdict\\":\\"Approve';
const DENY = 'verdict\\":\\"Deny';

describe("a call of lane Approval", () => {
  it("waits for a person, who approves with kubectl, and has one effect", async () => {
    await startPod();
    const first = await respond({ input: INPUT });
    expect(first.output.map((item) => item.type)).toEqual(["mcp_approval_request"]);
    const approval = await onlyApproval();
    const { name } = approval.metadata;
    expect(first.output[0]?.id).toBe(`mcpr_${name.slice(NAME.length + 1)}`);
    expect(at(approval, "metadata.ownerReferences")).toBeUndefined();
    expect(at(approval, "spec.request")).toMatchObject({
      agentDeployment: NAME,
      runId: first.id,
      server: "orders",
      tool: "refund_order",
      arguments: '{"amount_cents":4200,"order_id":"A-1003","reason":"slow"}',
      rule: "lane_approval",
      actingFor: "alice@example.com",
    });
    expect(pod.book.refunds()).toEqual([]);
    const screen = await kubectl.run(["get", "approvals", "-n", world.namespace]);
    expect(screen).toMatch(/NAME +AGENT +TOOL +ACTING FOR +VERDICT +DECIDED BY +EXPIRES +AGE/);
    expect(screen).not.toContain("<invalid>");

    expect((await goOn(first)).output).toEqual(first.output);
    const typed = await type(APPROVE, name);
    expect(typed.stderr).toBe("");
    const second = await goOn(first);
    expect(second.output.map((item) => item.type)).toEqual(["mcp_call", "message"]);
    expect(second.output[0]).toMatchObject({ status: "completed", approval_request_id: first.output[0]?.id });
    expect(pod.book.refunds()).toHaveLength(1);
    await goOn(first);
    expect(pod.book.refunds()).toHaveLength(1);
    expect(pod.toolCalls.filter((call) => call.name === "refund_order")).toHaveLength(1);
    expect(pod.log.join("\n")).toContain(`"decidedBy":"${ANN}"`);
  });

  it("is refused by a person with a reason, never without", async () => {
    await startPod();
    const first = await respond({ input: INPUT });
    const { name } = (await onlyApproval()).metadata;
    const silent = await decide(name, { verdict: "Deny" });
    expect(silent.stderr).toContain("decision.reason must say why");
    expect((await type(DENY, name)).stderr).toBe("");
    const second = await goOn(first);
    expect(JSON.stringify(second.output[0])).toContain("A person refused the call: ");
    expect(pod.book.refunds()).toEqual([]);
  });

  it("is not decided by a caller: 403, and nothing changes", async () => {
    await startPod();
    const first = await respond({ input: INPUT });
    const item = { type: "mcp_approval_response", approval_request_id: first.output[0]?.id, approve: true };
    const answer = await pod.request("/v1/responses", { body: { input: [item], previous_response_id: first.id } });
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ error: { code: "approval_forbidden", param: "input" } });
    expect((await goOn(first)).output).toEqual(first.output);
  });

  it("is asked anew after the agent's spec has changed", async () => {
    await startPod();
    const first = await respond({ input: INPUT });
    const { name } = (await onlyApproval()).metadata;
    expect((await type(APPROVE, name)).stderr).toBe("");
    const applied = (): number => pod.log.filter((line) => line.includes("Applied config")).length;
    const before = applied();
    await patchAgent({ instructions: "You answer shortly." });
    await condition("Ready", { status: "True" });
    pod.writeConfig(atHome(await readConfig(), pod.config));
    await waitFor("the new config", () => (applied() > before ? true : undefined));
    const second = await goOn(first);
    expect(second.output.map((entry) => entry.type)).toEqual(["mcp_approval_request"]);
    expect(await approvals()).toHaveLength(2);
    expect(pod.book.refunds()).toEqual([]);
  });

  it("is every call of a constrained agent, seconds after the mode has changed", async () => {
    await startPod();
    const look = '[[call get_order {"order_id":"A-1003"}]][[next]][[say Seen.]]';
    expect((await respond({ input: look })).output.map((item) => item.type)).toEqual(["mcp_call", "message"]);
    pod.writeControl({ mode: "Constrained" });
    const first = await waitFor(
      "a question",
      async () => {
        const asked = await respond({ input: look });
        return asked.output[0]?.type === "mcp_approval_request" ? asked : undefined;
      },
      5_000,
    );
    const approval = await onlyApproval();
    expect(at(approval, "spec.request")).toMatchObject({ tool: "get_order", rule: "mode_constrained" });
    expect((await type(APPROVE, approval.metadata.name)).stderr).toBe("");
    expect((await goOn(first)).output.map((item) => item.type)).toEqual(["mcp_call", "message"]);
  });

  it.each([
    ["after:park:1", true],
    ["before:start:1", true],
    ["after:start:1", false],
    ["before:end:1", false],
    ["after:end:1", true],
    ["before:finish:2", true],
  ] as const)("survives kill -9 %s: never twice", async (mark, isKnown) => {
    await startPod({ KILL_AT: mark });
    const first = await respond({ input: INPUT }, "first").catch(async () => {
      await startPod();
      return respond({ input: INPUT }, "first");
    });
    expect((await type(APPROVE, (await onlyApproval()).metadata.name)).stderr).toBe("");
    const again = { input: [], previous_response_id: first.id };
    const second = await respond(again, "second").catch(async () => {
      await startPod();
      return respond(again, "second");
    });
    expect(second.output.map((item) => item.type)).toEqual(["mcp_call", "message"]);
    expect(JSON.stringify(second.output[0]).includes("effect unverified")).toBe(!isKnown);
    const refunds = pod.book.refunds().length;
    if (isKnown) expect(refunds).toBe(1);
    else expect(refunds).toBeLessThanOrEqual(1);
  });

  it("shows in an Event of the agent what is asked, and how it was decided", async () => {
    await startPod();
    await respond({ input: INPUT });
    const { name } = (await onlyApproval()).metadata;
    const reasons = async (): Promise<string[]> =>
      must(await world.api.client.list(EVENTS, { namespace: world.namespace }))
        .items.filter((event) => String(event["note"]).includes(name))
        .map((event) => String(event["reason"]));
    await waitFor("ApprovalRequested", async () =>
      (await reasons()).includes("ApprovalRequested") ? true : undefined,
    );
    expect((await type(APPROVE, name)).stderr).toBe("");
    await waitFor("ApprovalGranted", async () => ((await reasons()).includes("ApprovalGranted") ? true : undefined));
  });
});

async function decide(
  name: string,
  change: Readonly<Record<string, unknown>>,
  user: readonly string[] = ["--as", ANN],
): Promise<CommandResult> {
  const approval = must(await world.api.client.get(APPROVALS, { namespace: world.namespace, name }));
  const decidedAt = new Date().toISOString();
  const decision = {
    verdict: "Approve",
    decidedBy: ANN,
    decidedAt,
    digest: at(approval, "spec.request.digest"),
    ...change,
  };
  const patch = JSON.stringify({ spec: { decision } });
  return kubectl.attempt(["patch", "approval", name, "-n", world.namespace, "--type=merge", "-p", patch, ...user]);
}

describe("who may ask and decide", () => {
  const account = (suffix: string): string => `system:serviceaccount:${world.namespace}:${NAME}-${suffix}`;

  it("is held by roles, admission and the definition", async () => {
    await startPod();
    await respond({ input: INPUT });
    const approval = await onlyApproval();
    const { name } = approval.metadata;
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString();

    // Nobody signs for somebody else; the agent signs for nobody, not even with an approver's rights.
    expect((await decide(name, { decidedBy: "bob@example.com" })).stderr).toContain(
      `spec.decision.decidedBy must be ${ANN}: current value is bob@example.com`,
    );
    const orchestrator = account("orchestrator");
    const self = ["--as", orchestrator];
    expect((await decide(name, { decidedBy: orchestrator }, self)).stderr).toContain(
      `cannot patch resource "approvals" in API group "supercargo.dev" in the namespace "${world.namespace}"`,
    );
    await kubectl.run([
      "create",
      "rolebinding",
      "self",
      "-n",
      world.namespace,
      "--clusterrole=supercargo-approve",
      `--serviceaccount=${world.namespace}:${NAME}-orchestrator`,
    ]);
    expect((await decide(name, { decidedBy: orchestrator }, self)).stderr).toContain(
      `the caller must be no ServiceAccount of namespace ${world.namespace}: current value is ${orchestrator}`,
    );
    await kubectl.run(["delete", "rolebinding", "self", "-n", world.namespace]);

    // The definition: about exactly that, in time, once.
    expect((await decide(name, { digest: "0".repeat(64) })).stderr).toContain(
      "decision.digest must equal request.digest",
    );
    expect((await decide(name, { decidedAt: tomorrow })).stderr).toContain(
      "decision.decidedAt must not be after request.expiresAt",
    );
    expect((await decide(name, {})).code).toBe(0);
    expect((await decide(name, { verdict: "Deny", reason: "no" })).stderr).toContain("decision is immutable");
    const remove = JSON.stringify([{ op: "remove", path: "/spec/decision" }]);
    const change = JSON.stringify([{ op: "replace", path: "/spec/request/arguments", value: "{}" }]);
    const patch = (text: string): Promise<CommandResult> =>
      kubectl.attempt(["patch", "approval", name, "-n", world.namespace, "--type=json", "-p", text]);
    expect((await patch(remove)).stderr).toContain("a decision cannot be withdrawn");
    expect((await patch(change)).stderr).toContain("request is immutable");
  });

  it("lets the operator delete what is older than it must be kept, and keeps the rest", async () => {
    await startPod();
    await respond({ input: INPUT });
    const approval = await onlyApproval();
    const request = { ...Object(at(approval, "spec.request")), expiresAt: "2020-01-01T00:00:00Z" };
    const labels = approval.metadata.labels ?? {};
    const metadata = { name: "old", namespace: world.namespace, labels };
    const old = JSON.stringify({ apiVersion: approval.apiVersion, kind: approval.kind, metadata, spec: { request } });
    const created = await kubectl.attempt(["create", "-f", "-", "--as", account("orchestrator")], old);
    expect(created.stderr).toBe("");
    await waitFor("the old one to go", async () => {
      const names = (await approvals()).map((one) => one.metadata.name);
      return names.includes("old") ? undefined : names;
    });
    expect((await onlyApproval()).metadata.name).toBe(approval.metadata.name);
    expect(world.operator.refusals).toEqual([]);
  });

  it("lets an agent ask in its own name alone, and read; nothing else", async () => {
    await startPod();
    await respond({ input: INPUT });
    const approval = await onlyApproval();
    const { name } = approval.metadata;
    const copy = JSON.stringify({
      apiVersion: approval.apiVersion,
      kind: approval.kind,
      metadata: { name: "copy", namespace: world.namespace },
      spec: approval["spec"],
    });
    const ask = (text: string, as: string): Promise<CommandResult> =>
      kubectl.attempt(["create", "-f", "-", "--as", as], text);
    expect((await kubectl.attempt(["create", "-f", "-"], copy)).stderr).toContain(
      `Cannot create Approval copy as the caller must be ${account("orchestrator")}`,
    );
    const foreign = copy.replace(`"agentDeployment":"${NAME}"`, '"agentDeployment":"another"');
    expect((await ask(foreign, account("orchestrator"))).stderr).toContain("the caller must be system:serviceaccount:");
    const decision = {
      verdict: "Approve",
      decidedBy: account("orchestrator"),
      decidedAt: new Date().toISOString(),
      digest: at(approval, "spec.request.digest"),
    };
    const decided = JSON.stringify({ ...JSON.parse(copy), spec: { ...Object(approval["spec"]), decision } });
    expect((await ask(decided, account("orchestrator"))).stderr).toMatch(/decided already|no ServiceAccount/);
    const can = async (verb: string, as: string): Promise<string> =>
      (
        await kubectl.attempt(["auth", "can-i", verb, "approvals.supercargo.dev", "-n", world.namespace, "--as", as])
      ).stdout.trim();
    const verbs = ["create", "get", "list", "watch", "update", "patch", "delete"];
    const rights = async (as: string): Promise<string[]> => {
      const answers = await Promise.all(verbs.map(async (verb) => [verb, await can(verb, as)] as const));
      return answers.filter(([, answer]) => answer === "yes").map(([verb]) => verb);
    };
    expect(await rights(account("orchestrator"))).toEqual(["create", "get"]);
    expect(await rights(account("gateway"))).toEqual([]);
    expect(await rights(ANN)).toEqual(["get", "list", "watch", "update", "patch"]);
    expect(name).toMatch(/^order-desk-[0-9a-f]{20}$/);
  });
});
