import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { Registry } from "prom-client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { openCounters, type Counters } from "#runtime/counters.ts";
import { PODS, POD_USAGES, USAGE_LEDGERS, USAGE_STATEMENTS } from "#runtime/kube/resources.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import { createLogger } from "#runtime/log.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { startEmulator, type Emulator } from "../../services/emulator/app.ts";
import { composeReporter } from "../../services/meter/reporter/compose.ts";
import { readEnvironment, readTerms } from "../../services/meter/reporter/config.ts";
import { createReporterMetrics } from "../../services/meter/reporter/metrics.ts";
import { openControlFile } from "../../services/meter/sidecar/control-file.ts";
import { createSidecarMetrics } from "../../services/meter/sidecar/metrics.ts";
import { followPodUsage } from "../../services/meter/sidecar/pod-usage.ts";
import { createScraper } from "../../services/meter/sidecar/prometheus.ts";
import { createSidecar, type Sidecar } from "../../services/meter/sidecar/sidecar.ts";
import { openStateLog } from "../../services/meter/sidecar/state-log.ts";
import { confirmLedger } from "../api/confirm.ts";
import { type ApiHarness, at, must, startApi, waitFor } from "../api/harness.ts";

const log = createLogger({ component: "test", level: process.env["TEST_LOG"] ?? "silent" });
let api: ApiHarness;
let emulator: Emulator;
let folder: string;
let resourceId: string;
let clientId: string;
let running: { stop(): Promise<void> }[];

// One emulator for all: the identity library keeps address and tokens of IMDS for the whole process.
beforeAll(async () => {
  api = await startApi();
  emulator = await startEmulator();
  process.env["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = emulator.imdsUrl;
});
afterAll(async () => {
  delete process.env["AZURE_POD_IDENTITY_AUTHORITY_HOST"];
  await emulator?.stop();
  await api?.stop();
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "meter-"));
  running = [];
  clientId = randomUUID();
  resourceId = `/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/providers/Microsoft.KubernetesConfiguration/extensions/${clientId}`;
  const dimensions = ["workflow_completed", "tool_action", "tokens_1k_in", "tokens_1k_out", "documents_analyzed"];
  await command("/control/resources", {
    resourceUri: resourceId,
    ownerClientId: clientId,
    plans: [{ planId: "starter", dimensions }],
  });
});

afterEach(async () => {
  for (const part of running.toReversed()) await part.stop();
  rmSync(folder, { recursive: true });
});

interface SimulatedPod {
  readonly namespace: string;
  readonly uid: string;
  readonly counterFile: string;
  readonly url: string;
  readonly counters: Counters;
  readonly sidecar: Sidecar;
}

/** A pod object, its PodUsage as the operator makes it, a service with counters, and its sidecar. */
async function startPod(namespace: string): Promise<SimulatedPod> {
  const pod = must(await api.client.create(PODS, podObject(namespace)));
  const uid = pod.metadata.uid ?? "";
  must(
    await api.client.create(POD_USAGES, {
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "PodUsage",
      metadata: { name: uid, namespace },
      spec: {
        podName: pod.metadata.name,
        component: "orchestrator",
        agentDeployment: "orders",
        offerResourceId: resourceId,
        checkpointSeconds: 5,
        control: { mode: "Running" },
      },
    }),
  );
  const counterFile = join(folder, `${uid}-counters`);
  const counters = openCounters({ file: counterFile, dimensions: ["tool_action", "input_tokens"], bootId: "b" });
  const service = await serve(() => counters.exposition());
  const sidecar = startSidecar({ namespace, uid, counterFile, url: service.url });
  running.push({ stop: () => service.stop() });
  return { namespace, uid, counterFile, url: service.url, counters, sidecar };
}

function startSidecar(pod: { namespace: string; uid: string; counterFile: string; url: string }): Sidecar {
  const sidecar = createSidecar({
    uid: pod.uid,
    scrapeSeconds: 1,
    counterFile: pod.counterFile,
    scraper: createScraper(pod.url, systemClock),
    stateLog: openStateLog(join(folder, `${pod.uid}-log`), log),
    controlFile: openControlFile(join(folder, `${pod.uid}-control.json`)),
    time: createServerTime(systemClock),
    clock: systemClock,
    metrics: createSidecarMetrics(),
    log,
    follow: (hooks) =>
      followPodUsage({ client: api.client, clock: systemClock, namespace: pod.namespace, uid: pod.uid, log, ...hooks }),
  });
  sidecar.start();
  return sidecar;
}

function startReporter(): { stop(): Promise<void> } {
  const environment = readEnvironment({
    SUPERCARGO_POD_NAME: "reporter-0",
    SUPERCARGO_POD_NAMESPACE: "supercargo",
    SUPERCARGO_CLIENT_ID: clientId,
    SUPERCARGO_PLAN_ID: "starter",
    SUPERCARGO_OFFER_RESOURCE_ID: resourceId,
    SUPERCARGO_CHECKPOINT_SECONDS: "5",
    SUPERCARGO_CLOCK_URL: `${emulator.controlUrl}/control/clock`,
    SUPERCARGO_MARKETPLACE_URL: `${emulator.url}/api/`,
  });
  const terms = readTerms(environment, readFileSync("charts/supercargo/files/catalogue.yaml", "utf8"));
  const reporter = composeReporter({
    environment,
    terms,
    client: api.client,
    random: Math.random,
    metrics: createReporterMetrics(new Registry(), terms),
    log,
    isLeader: () => true,
  });
  const leading = new AbortController();
  const done = reporter.lead(leading.signal);
  return {
    async stop() {
      leading.abort();
      await done;
    },
  };
}

describe("from a counter to an accepted event", () => {
  it("counts, posts once, grants, ends, settles", async () => {
    const namespace = await api.newNamespace();
    const pod = await startPod(namespace);
    const reporter = startReporter();
    running.push(reporter);
    await confirmBooks();

    // The grant reaches the pod, and the sidecar says what it runs.
    const control = await waitFor("control.json", () =>
      JSON.parse(readFileSync(join(folder, `${pod.uid}-control.json`), "utf8")),
    );
    expect(control).toMatchObject({ mode: "Running", entitlement: { state: "Active", planId: "starter" } });
    expect(pod.sidecar.notReady()).toBeUndefined();

    // The agent's own dimension travels like the others: neither the sidecar nor the reporter knows it.
    pod.counters.count({ tool_action: 3n, input_tokens: 2500n, documents_analyzed: 7n });
    pod.counters.echo({ configDigest: "c1", controlDigest: "d1", mode: "Running", leases: {} });
    await waitFor("the count in PodUsage", async () => {
      const usage = must(await api.client.get(POD_USAGES, { namespace, name: pod.uid }));
      return JSON.stringify(at(usage, "status.totals")).includes('"2500"') ? usage : undefined;
    });
    await command("/control/clock", { advanceToNextHour: true });
    const statement = await waitFor("an accepted statement", () => findStatement("tool_action"));
    expect(statement["spec"]).toMatchObject({
      state: "Accepted",
      intent: { quantity: "3", agents: `${namespace}/orders`, shares: [{ baseUnits: "3" }] },
      outcome: { acceptedQuantity: "3", adjustmentBaseUnits: "0", resolvedBy: "Answer" },
    });
    expect(await events()).toEqual([
      { dimension: "documents_analyzed", quantity: 7 },
      { dimension: "tokens_1k_in", quantity: 2 },
      { dimension: "tool_action", quantity: 3 },
    ]);

    // The pod ends: its last count was never scraped.
    pod.counters.count({ tool_action: 4n });
    await pod.sidecar.stop(5_000);
    const final = must(await api.client.get(POD_USAGES, { namespace, name: pod.uid }));
    expect(final["status"]).toMatchObject({
      final: "Yes",
      enforced: { configDigest: "c1", controlDigest: "d1", mode: "Running" },
    });
    must(await api.client.delete(PODS, { namespace, name: "pod" }));
    await command("/control/clock", { advanceToNextHour: true });
    await waitFor(
      "the rest in the next hour",
      async () => (await events()).filter((event) => event.dimension === "tool_action" && event.quantity === 4)[0],
    );
    await waitFor("the PodUsage to be settled", async () => {
      const usage = await api.client.get(POD_USAGES, { namespace, name: pod.uid });
      return usage.ok ? undefined : usage.error.kind;
    });
    const ledger = (await ledgers())[0];
    expect(at(ledger, "spec.settled")).toContainEqual({
      agent: `${namespace}/orders`,
      dimension: "tool_action",
      total: "7",
    });
    expect(at(ledger, "spec.oldestOpenHour")).toBeUndefined();
  }, 60_000);

  it("bills once when Azure books and its answer is lost, with the reporter killed in between", async () => {
    const namespace = await api.newNamespace();
    const pod = await startPod(namespace);
    running.push({ stop: () => pod.sidecar.stop(1_000) });
    const first = startReporter();
    await confirmBooks();
    pod.counters.count({ tool_action: 5n });
    await command("/control/faults", { kind: "DropAnswer", standIn: "metering", route: "batchUsageEvent", count: 1 });
    await systemClock.sleep(1_500);
    await command("/control/clock", { advanceToNextHour: true });
    await waitFor("the booked event", async () => (await events())[0]);
    await first.stop();
    running.push(startReporter());
    const statement = await waitFor("the statement", () => findStatement("tool_action"));
    expect(at(statement, "spec.state")).toBe("DuplicateSame");
    expect(await events()).toEqual([{ dimension: "tool_action", quantity: 5 }]);
  }, 60_000);
});

describe("a sidecar that lost its memory", () => {
  it.each(["missing", "damaged", "stale"])(
    "counts nothing twice with a log that is %s",
    async (condition) => {
      const namespace = await api.newNamespace();
      const pod = await startPod(namespace);
      const logFile = join(folder, `${pod.uid}-log`, "usage.log");
      const published = (total: string): Promise<KubeObject> =>
        waitFor(`${total} in PodUsage`, async () => {
          const usage = must(await api.client.get(POD_USAGES, { namespace, name: pod.uid }));
          return JSON.stringify(at(usage, "status.totals")).includes(`"total":"${total}"`) ? usage : undefined;
        });
      pod.counters.count({ tool_action: 10n });
      await published("10");
      const stale = readFileSync(logFile);
      pod.counters.count({ tool_action: 5n });
      await published("15");
      await pod.sidecar.stop(2_000);
      if (condition === "missing") rmSync(logFile);
      else writeFileSync(logFile, condition === "stale" ? stale : damage(readFileSync(logFile)));
      pod.counters.count({ tool_action: 1n });
      const again = startSidecar(pod);
      running.push({ stop: () => again.stop(1_000) });
      const usage = await published("16");
      expect(at(usage, "status.final")).toBe("No");
      expect(at(usage, "status.totals")).toContainEqual({ dimension: "tool_action", total: "16", last: "16" });
    },
    60_000,
  );
});

/** A flipped bit in the first record, with others behind it. */
function damage(bytes: Buffer): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[20] = (changed[20] ?? 0) ^ 1;
  return changed;
}

describe("rules of the money objects on a real API server", () => {
  it("refuses what would lose or double money, and says why", async () => {
    const namespace = await api.newNamespace();
    const pod = await startPod(namespace);
    running.push({ stop: () => pod.sidecar.stop(1_000) });
    running.push(startReporter());
    await confirmBooks();
    pod.counters.count({ tool_action: 2n });
    await systemClock.sleep(1_500);
    await command("/control/clock", { advanceToNextHour: true });
    const statement = await waitFor("the statement", () => findStatement("tool_action"));
    const spec = at(statement, "spec");
    const changed = {
      ...statement,
      spec: { ...record(spec), intent: { ...record(at(statement, "spec.intent")), quantity: "9" } },
    };
    expect(await refusal(api.client.update(USAGE_STATEMENTS, changed))).toMatch(/intent is immutable/);
    const outcome = { ...record(at(statement, "spec.outcome")), acceptedQuantity: "9" };
    expect(
      await refusal(api.client.update(USAGE_STATEMENTS, { ...statement, spec: { ...record(spec), outcome } })),
    ).toMatch(/an outcome is written once/);
    const ledger = (await ledgers())[0];
    if (!ledger) throw new Error("no ledger");
    expect(await refusal(api.client.update(USAGE_LEDGERS, ledger))).toMatch(/revision must rise/);
    const usage = must(await api.client.get(POD_USAGES, { namespace, name: pod.uid }));
    const status = { ...record(usage["status"]), totals: [{ dimension: "tool_action", total: "1", last: "1" }] };
    expect(await refusal(api.client.updateStatus(POD_USAGES, { ...usage, status }))).toMatch(
      /a dimension may not vanish|total may not fall/,
    );
  }, 60_000);
});

async function refusal(call: ReturnType<ApiHarness["client"]["update"]>): Promise<string> {
  const result = await call;
  return result.ok ? "accepted" : result.error.message;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function confirmBooks(): Promise<void> {
  return confirmLedger(
    async () => (await ledgers())[0],
    () => command("/control/clock", { advanceSeconds: 3600 }),
  );
}

async function ledgers(): Promise<readonly KubeObject[]> {
  const list = must(await api.client.list(USAGE_LEDGERS));
  return list.items.filter((item) => at(item, "spec.offerResourceId") === resourceId);
}

async function findStatement(dimension: string): Promise<KubeObject | undefined> {
  const list = must(await api.client.list(USAGE_STATEMENTS));
  return list.items.find(
    (item) =>
      at(item, "spec.intent.offerResourceId") === resourceId &&
      at(item, "spec.intent.dimension") === dimension &&
      at(item, "spec.outcome") !== undefined,
  );
}

async function command(path: string, body: unknown): Promise<void> {
  const response = await fetch(`${emulator.controlUrl}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`);
}

async function events(): Promise<{ dimension: string; quantity: number }[]> {
  const response = await fetch(`${emulator.controlUrl}/control/events?resourceUri=${encodeURIComponent(resourceId)}`);
  const body: unknown = await response.json();
  const list = record(body)["events"];
  if (!Array.isArray(list)) throw new Error("no events");
  return list
    .map((event) => ({ dimension: String(event.dimension), quantity: Number(event.quantity) }))
    .sort((a, b) => a.dimension.localeCompare(b.dimension) || a.quantity - b.quantity);
}

function podObject(namespace: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "pod", namespace },
    spec: {
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      containers: [
        {
          name: "main",
          image: "none",
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
        },
      ],
    },
  };
}

async function serve(text: () => string): Promise<{ url: string; stop(): Promise<void> }> {
  const server: Server = createServer((_request, response) => response.end(text()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}/metrics`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
