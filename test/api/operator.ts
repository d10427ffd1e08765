import { createKubectl } from "../../scripts/demo/kubectl.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { createLogger } from "../../services/runtime/log.ts";
import { systemClock } from "../../services/runtime/clock.ts";
import { createKubeClient } from "../../services/runtime/kube/transport.ts";
import { kubeconfigOptions } from "../../services/runtime/kube/kubeconfig.ts";
import { ENDPOINT_SLICES, SERVICE_ACCOUNTS } from "../../services/runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "../../services/runtime/kube/types.ts";
import { createOperator, type Operator } from "../../operator/operator.ts";
import {
  AGENT_PERMISSIONS,
  CLUSTER_PERMISSIONS,
  DEFAULT_NAMESPACE_PERMISSIONS,
  OWN_NAMESPACE_PERMISSIONS,
  PATH_PERMISSIONS,
  type Permission,
} from "../../operator/permissions.ts";
import type { Settings } from "../../operator/config.ts";
import { type ApiHarness, must } from "./harness.ts";

const SYSTEM = "supercargo-system";
const RBAC = { group: "rbac.authorization.k8s.io", version: "v1" } as const;
const CLUSTER_ROLES: ResourceRef = { ...RBAC, plural: "clusterroles", kind: "ClusterRole", namespaced: false };
const CLUSTER_ROLE_BINDINGS: ResourceRef = {
  ...RBAC,
  plural: "clusterrolebindings",
  kind: "ClusterRoleBinding",
  namespaced: false,
};
const NAMESPACES: ResourceRef = {
  group: "",
  version: "v1",
  plural: "namespaces",
  kind: "Namespace",
  namespaced: false,
};

const TEST_SETTINGS: Settings = {
  image: "registry.example.com/supercargo:test",
  imagePullPolicy: "IfNotPresent",
  clusterDomain: "cluster.local",
  sidecarClusterRole: "supercargo-sidecar",
  orchestratorClusterRole: "supercargo-orchestrator",
  extensionRelease: undefined,
  checkpointSeconds: 60,
  grantLifeSeconds: 86_400,
  limitedDimensions: [],
  entitlement: { state: "Active", features: {} },
  metricsPeers: [],
  offerResourceId: "plain",
  planId: "",
};

export interface TestOperator {
  readonly operator: Operator;
  /** Requests that changed something, newest last. */
  readonly writes: string[];
  /** Answers 401 and 403: a verb that the roles do not hold. */
  readonly refusals: string[];
  /** Why the Lease was lost, if it was. */
  readonly lost: string[];
  readonly log: string[];
  stop(): Promise<void>;
}

/** Namespaces, roles from operator/permissions.ts, and the address of the API server as a real cluster has it. */
export async function prepareOperator(api: ApiHarness): Promise<{ readonly token: string }> {
  const apply = (ref: ResourceRef, body: Fields): Promise<unknown> =>
    api.client.apply(ref, { ...body, apiVersion: "", kind: "" }, { fieldManager: "test", force: true }).then(must);
  await apply(NAMESPACES, { metadata: { name: SYSTEM } });
  await apply(SERVICE_ACCOUNTS, { metadata: { name: "operator", namespace: SYSTEM } });
  const all = [
    ...AGENT_PERMISSIONS,
    ...CLUSTER_PERMISSIONS,
    ...DEFAULT_NAMESPACE_PERMISSIONS,
    ...OWN_NAMESPACE_PERMISSIONS,
  ];
  await apply(CLUSTER_ROLES, {
    metadata: { name: "operator" },
    rules: [...all.map(toRule), { nonResourceURLs: [...PATH_PERMISSIONS], verbs: ["get"] }],
  });
  await apply(CLUSTER_ROLES, {
    metadata: { name: "supercargo-sidecar" },
    rules: [{ apiGroups: ["supercargo.dev"], resources: ["podusages"], verbs: ["get"] }],
  });
  await apply(CLUSTER_ROLES, {
    metadata: { name: "supercargo-orchestrator" },
    rules: [{ apiGroups: ["supercargo.dev"], resources: ["approvals"], verbs: ["create", "get"] }],
  });
  await apply(CLUSTER_ROLE_BINDINGS, {
    metadata: { name: "operator" },
    roleRef: { apiGroup: RBAC.group, kind: "ClusterRole", name: "operator" },
    subjects: [{ kind: "ServiceAccount", name: "operator", namespace: SYSTEM }],
  });
  await apply(ENDPOINT_SLICES, {
    metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.199.0.1"] }],
    ports: [{ name: "https", port: 6443, protocol: "TCP" }],
  });
  return { token: await requestToken(api) };
}

/** An operator in this process, with the shipped rights and no more. */
export async function startTestOperator(
  api: ApiHarness,
  options: {
    readonly token: string;
    readonly settings?: Partial<Settings>;
    readonly name?: string;
    readonly server?: string;
    readonly namespaces?: readonly string[];
  },
): Promise<TestOperator> {
  const { ca } = await kubeconfigOptions(api.kubeconfig);
  const writes: string[] = [];
  const refusals: string[] = [];
  const lost: string[] = [];
  const log: string[] = [];
  const logger = createLogger({
    component: "operator",
    level: "debug",
    destination: { write: (line) => void log.push(line) },
  });
  const client = createKubeClient({
    server: options.server ?? api.server,
    ca,
    token: () => options.token,
    clock: systemClock,
    log: logger,
    fieldValidation: "Strict",
    metrics: ({ code, method }) => {
      if (method !== "GET") writes.push(`${method} ${code}`);
      if (code === "401" || code === "403") refusals.push(`${method} ${code}`);
    },
  });
  const operator = createOperator({
    client,
    settings: { ...TEST_SETTINGS, ...options.settings },
    pod: { namespace: SYSTEM, name: options.name ?? "operator-0" },
    namespaces: options.namespaces ?? [],
    clock: systemClock,
    random: Math.random,
    log: logger,
    onLost: (reason) => void lost.push(reason),
  });
  operator.start();
  return {
    operator,
    writes,
    refusals,
    lost,
    log,
    async stop() {
      await operator.stop();
      client.close();
    },
  };
}

type Fields = Pick<KubeObject, "metadata"> & Readonly<Record<string, unknown>>;

async function requestToken(api: ApiHarness): Promise<string> {
  const kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: api.kubeconfig });
  return (await kubectl.run(["create", "token", "operator", "-n", SYSTEM, "--duration=4h"])).trim();
}

function toRule(permission: Permission): unknown {
  return {
    apiGroups: [permission.group],
    resources: [permission.resource],
    verbs: permission.verbs,
    ...(permission.names ? { resourceNames: permission.names } : {}),
  };
}
