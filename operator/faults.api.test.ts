import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kubeconfigOptions } from "#runtime/kube/kubeconfig.ts";
import { AGENT_DEPLOYMENTS, DEPLOYMENTS, LEASES } from "#runtime/kube/resources.ts";
import { startCuttingProxy } from "../test/api/cutting-proxy.ts";
import { type ApiHarness, at, installCrds, must, startApi, waitFor } from "../test/api/harness.ts";
import { prepareOperator, startTestOperator } from "../test/api/operator.ts";
import { sampleAgent } from "../test/api/sample.ts";

let api: ApiHarness;
let token: string;
let folder: string;
const LEASE = { namespace: "supercargo-system", name: "supercargo-operator" };

beforeAll(async () => {
  api = await startApi();
  ({ token } = await prepareOperator(api));
  folder = mkdtempSync(join(tmpdir(), "supercargo-operator-"));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await api?.stop();
});

describe("the operator behind a network that breaks", () => {
  it("misses nothing while every connection is cut five times a second", async () => {
    const namespace = await api.newNamespace();
    const proxy = await startCuttingProxy(api.server);
    const running = await startTestOperator(api, { token, server: proxy.server });
    const { operator, log } = running;
    await waitFor("the operator to lead", () =>
      operator.isLeader() && operator.notReady() === undefined ? true : undefined,
    );
    const names = Array.from({ length: 10 }, (_, index) => `agent-${index}`);
    let cuts = 0;
    for (const [round, name] of names.entries()) {
      must(await api.client.create(AGENT_DEPLOYMENTS, sampleAgent({ namespace, name })));
      cuts += proxy.cut(round % 2 === 0 ? "Reset" : "End");
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(cuts).toBeGreaterThan(names.length);
    await waitFor(
      "every agent to have its Deployments",
      async () => {
        const items = must(await api.client.list(DEPLOYMENTS, { namespace })).items;
        return items.length === 2 * names.length ? true : undefined;
      },
      60_000,
    );
    expect(operator.isLeader()).toBe(true);
    expect(log.filter((line) => line.includes('"level":"error"'))).toEqual([]);
    await running.stop();
    await proxy.stop();
  });
});

describe("an operator that is given some namespaces", () => {
  it("leaves the others alone", async () => {
    const [own, other] = [await api.newNamespace(), await api.newNamespace()];
    const running = await startTestOperator(api, { token, namespaces: [own] });
    for (const namespace of [other, own])
      must(await api.client.create(AGENT_DEPLOYMENTS, sampleAgent({ namespace, name: "agent" })));
    await deployed(own, "agent", 15_000);
    expect(must(await api.client.list(DEPLOYMENTS, { namespace: other })).items).toEqual([]);
    await running.stop();
  });
});

describe("an operator without its CRDs", () => {
  it("says what it waits for, lives on, and works once they are there", async () => {
    const bare = await startApi({ crds: false });
    const prepared = await prepareOperator(bare);
    const running = await startTestOperator(bare, { token: prepared.token });
    const { operator } = running;
    const reason = await waitFor("the reason", () => {
      const found = operator.notReady();
      return found?.includes("AgentDeployment: its CustomResourceDefinition is not installed") ? found : undefined;
    });
    expect(reason).toContain("Not listed yet: agentdeployments");
    expect(operator.notLive()).toBeUndefined();
    await installCrds(bare.client);
    await waitFor("the operator to be ready", () => (operator.notReady() === undefined ? true : undefined), 60_000);
    await running.stop();
    await bare.stop();
  });
});

describe("two operators", () => {
  it("have one leader, and the other takes over: at once on SIGTERM, within a lease after kill -9", async () => {
    const namespace = await api.newNamespace();
    const first = startProcess("operator-a");
    await holder("operator-a");
    const second = startProcess("operator-b");
    must(await api.client.create(AGENT_DEPLOYMENTS, sampleAgent({ namespace, name: "one" })));
    await deployed(namespace, "one", 15_000);

    const killedMs = performance.now();
    first.kill("SIGKILL");
    must(await api.client.create(AGENT_DEPLOYMENTS, sampleAgent({ namespace, name: "two" })));
    await deployed(namespace, "two", 25_000);
    expect(performance.now() - killedMs).toBeLessThan(20_000);

    const third = startProcess("operator-c");
    await waitFor("a standby", () => (third.output().includes("Started operator") ? true : undefined));
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const stoppedMs = performance.now();
    second.kill("SIGTERM");
    must(await api.client.create(AGENT_DEPLOYMENTS, sampleAgent({ namespace, name: "three" })));
    await deployed(namespace, "three", 15_000);
    expect(performance.now() - stoppedMs).toBeLessThan(6_000);
    expect(await second.code).toBe(0);

    // Whoever lost it must not go on: somebody else holds the Lease now.
    const spec = { holderIdentity: "somebody", leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.000000Z" };
    must(await api.client.patchMerge(LEASES, { apiVersion: "", kind: "", metadata: LEASE, spec }));
    expect(await third.code).toBe(1);
  });
});

function startProcess(name: string): {
  kill(signal: NodeJS.Signals): void;
  readonly code: Promise<number | null>;
  output(): string;
} {
  const child: ChildProcess = spawn(process.execPath, ["operator/main.ts"], {
    env: {
      PATH: process.env["PATH"],
      KUBECONFIG: kubeconfig,
      SUPERCARGO_IMAGE: "registry.example.com/supercargo:test",
      SUPERCARGO_CATALOGUE_FILE: "charts/supercargo/files/catalogue.yaml",
      SUPERCARGO_POD_NAME: name,
      SUPERCARGO_POD_NAMESPACE: LEASE.namespace,
      SUPERCARGO_ADMIN_PORT: "0",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const code = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { kill: (signal) => void child.kill(signal), code, output: () => output };
}

let kubeconfig: string;
beforeAll(async () => {
  const { ca } = await kubeconfigOptions(api.kubeconfig);
  kubeconfig = join(folder, "kubeconfig");
  const cluster = { server: api.server, "certificate-authority-data": Buffer.from(String(ca)).toString("base64") };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user: { token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
});

async function holder(name: string): Promise<void> {
  await waitFor(`${name} to lead`, async () => {
    const lease = must(await api.client.get(LEASES, LEASE));
    return String(at(lease, "spec.holderIdentity")).startsWith(`${name}_`) ? true : undefined;
  });
}

async function deployed(namespace: string, agent: string, timeoutMs: number): Promise<void> {
  await waitFor(
    `the Deployments of ${agent}`,
    async () => (await api.client.get(DEPLOYMENTS, { namespace, name: `${agent}-orchestrator` })).ok || undefined,
    timeoutMs,
  );
}
