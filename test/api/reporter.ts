import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { createKubectl } from "../../scripts/demo/kubectl.ts";
import { type CommandResult, tryCommand } from "../../scripts/run-command.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import type { Emulator } from "../../services/emulator/app.ts";
import { composeReporter } from "../../services/meter/reporter/compose.ts";
import { readEnvironment, readTerms } from "../../services/meter/reporter/config.ts";
import { createReporterMetrics } from "../../services/meter/reporter/metrics.ts";
import { systemClock } from "../../services/runtime/clock.ts";
import { inClusterOptions } from "../../services/runtime/kube/in-cluster.ts";
import { kubeconfigOptions } from "../../services/runtime/kube/kubeconfig.ts";
import { SERVICE_ACCOUNTS } from "../../services/runtime/kube/resources.ts";
import { createKubeClient } from "../../services/runtime/kube/transport.ts";
import type { ResourceRef } from "../../services/runtime/kube/types.ts";
import { createLogger } from "../../services/runtime/log.ts";
import { find, render } from "../chart/helm.ts";
import { type ApiHarness, must } from "./harness.ts";

const RBAC = { group: "rbac.authorization.k8s.io", version: "v1", namespaced: false } as const;
const CLUSTER_ROLES: ResourceRef = { ...RBAC, plural: "clusterroles", kind: "ClusterRole" };
const BINDINGS: ResourceRef = { ...RBAC, plural: "clusterrolebindings", kind: "ClusterRoleBinding" };
const NAME = "supercargo-reporter";

export interface ReporterHome {
  /** The environment of its pod: the chart's rights and no more. */
  readonly env: Readonly<Record<string, string>>;
  /** A leader in this process. */
  start(): { stop(): Promise<void> };
  /** `reporter.js <args>` as its own process, as kubectl exec runs it. */
  command(...args: readonly string[]): Promise<CommandResult>;
  /** What an administrator sees. */
  kubectl(...args: readonly string[]): Promise<string>;
  remove(): void;
}

/** The reporter's account on a real API server, with the ClusterRole that the chart ships, and a pod's files for it. */
export async function prepareReporter(
  api: ApiHarness,
  options: {
    readonly emulator: Emulator;
    readonly clientId: string;
    readonly resourceId: string;
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<ReporterHome> {
  const namespace = await api.newNamespace();
  const folder = mkdtempSync(join(tmpdir(), "reporter-"));
  await bindAccount(api, namespace);
  const kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: api.kubeconfig });
  const token = await kubectl.run(["create", "token", NAME, "-n", namespace, "--duration=4h"]);
  writeFileSync(join(folder, "token"), token);
  const { ca } = await kubeconfigOptions(api.kubeconfig);
  writeFileSync(join(folder, "ca.crt"), typeof ca === "string" ? ca : "");
  const { hostname, port } = new URL(api.server);
  const env = {
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
    SUPERCARGO_KUBERNETES_DIR: folder,
    SUPERCARGO_POD_NAME: "reporter-0",
    SUPERCARGO_POD_NAMESPACE: namespace,
    SUPERCARGO_CLIENT_ID: options.clientId,
    SUPERCARGO_PLAN_ID: "starter",
    SUPERCARGO_OFFER_RESOURCE_ID: options.resourceId,
    SUPERCARGO_CHECKPOINT_SECONDS: "5",
    SUPERCARGO_CLOCK_URL: `${options.emulator.controlUrl}/control/clock`,
    SUPERCARGO_MARKETPLACE_URL: `${options.emulator.url}/api/`,
    ...options.env,
  };
  return {
    env,
    start: () => startLeader(env),
    command: (...args) => tryCommand([process.execPath, "services/meter/reporter/main.ts", ...args], { env }),
    kubectl: (...args) => kubectl.run([...args]),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function bindAccount(api: ApiHarness, namespace: string): Promise<void> {
  const role = find(await render(), "ClusterRole", NAME);
  const apply = (ref: ResourceRef, object: object): Promise<unknown> =>
    api.client
      .apply(
        ref,
        { apiVersion: "", kind: "", metadata: { name: NAME }, ...object },
        { fieldManager: "test", force: true },
      )
      .then(must);
  await apply(SERVICE_ACCOUNTS, { metadata: { name: NAME, namespace } });
  await apply(CLUSTER_ROLES, { rules: role["rules"] });
  await apply(BINDINGS, {
    metadata: { name: `${NAME}-${namespace}` },
    roleRef: { apiGroup: RBAC.group, kind: "ClusterRole", name: NAME },
    subjects: [{ kind: "ServiceAccount", name: NAME, namespace }],
  });
}

function startLeader(env: Readonly<Record<string, string>>): { stop(): Promise<void> } {
  const environment = readEnvironment(env);
  const terms = readTerms(environment, readFileSync("charts/supercargo/files/catalogue.yaml", "utf8"));
  const log = createLogger({ component: "reporter", level: process.env["TEST_LOG"] ?? "silent" });
  const client = createKubeClient({
    ...inClusterOptions(env, systemClock, environment.SUPERCARGO_KUBERNETES_DIR),
    clock: systemClock,
    fieldValidation: "Strict",
  });
  const reporter = composeReporter({
    environment,
    terms,
    client,
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
      client.close();
    },
  };
}
