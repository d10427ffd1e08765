import type { ResourceRef } from "./types.ts";

const OURS = { group: "supercargo.dev", version: "v1alpha1" } as const;

export const AGENT_DEPLOYMENTS: ResourceRef = {
  ...OURS,
  plural: "agentdeployments",
  kind: "AgentDeployment",
  namespaced: true,
};
export const APPROVALS: ResourceRef = { ...OURS, plural: "approvals", kind: "Approval", namespaced: true };
export const POD_USAGES: ResourceRef = { ...OURS, plural: "podusages", kind: "PodUsage", namespaced: true };
export const USAGE_LEDGERS: ResourceRef = { ...OURS, plural: "usageledgers", kind: "UsageLedger", namespaced: false };
export const USAGE_STATEMENTS: ResourceRef = {
  ...OURS,
  plural: "usagestatements",
  kind: "UsageStatement",
  namespaced: false,
};

export const PODS = core("pods", "Pod");
export const CONFIG_MAPS = core("configmaps", "ConfigMap");
export const SERVICES = core("services", "Service");
export const SERVICE_ACCOUNTS = core("serviceaccounts", "ServiceAccount");
export const PERSISTENT_VOLUME_CLAIMS = core("persistentvolumeclaims", "PersistentVolumeClaim");
/** Events as the kubelet still writes them; our own go to EVENTS. */
export const CORE_EVENTS = core("events", "Event");
export const NAMESPACES: ResourceRef = { ...core("namespaces", "Namespace"), namespaced: false };

export const DEPLOYMENTS = named({ group: "apps", version: "v1" }, "deployments", "Deployment");
export const NETWORK_POLICIES = named(
  { group: "networking.k8s.io", version: "v1" },
  "networkpolicies",
  "NetworkPolicy",
);
export const POD_DISRUPTION_BUDGETS = named(
  { group: "policy", version: "v1" },
  "poddisruptionbudgets",
  "PodDisruptionBudget",
);
export const HORIZONTAL_POD_AUTOSCALERS = named(
  { group: "autoscaling", version: "v2" },
  "horizontalpodautoscalers",
  "HorizontalPodAutoscaler",
);
export const ROLE_BINDINGS = named(
  { group: "rbac.authorization.k8s.io", version: "v1" },
  "rolebindings",
  "RoleBinding",
);
export const ENDPOINT_SLICES = named({ group: "discovery.k8s.io", version: "v1" }, "endpointslices", "EndpointSlice");
export const EVENTS = named({ group: "events.k8s.io", version: "v1" }, "events", "Event");
export const LEASES = named({ group: "coordination.k8s.io", version: "v1" }, "leases", "Lease");
export const CUSTOM_RESOURCE_DEFINITIONS: ResourceRef = {
  ...named({ group: "apiextensions.k8s.io", version: "v1" }, "customresourcedefinitions", "CustomResourceDefinition"),
  namespaced: false,
};

function core(plural: string, kind: string): ResourceRef {
  return named({ group: "", version: "v1" }, plural, kind);
}

function named(api: Pick<ResourceRef, "group" | "version">, plural: string, kind: string): ResourceRef {
  return { ...api, plural, kind, namespaced: true };
}

/** `apps/v1`, or `v1` for the core group. */
export function apiVersionOf(ref: ResourceRef): string {
  return ref.group === "" ? ref.version : `${ref.group}/${ref.version}`;
}

/** The path of a collection or, with a name, of one object. */
export function resourcePath(
  ref: ResourceRef,
  key: { readonly namespace?: string | undefined; readonly name?: string },
): string {
  const root = ref.group === "" ? `/api/${ref.version}` : `/apis/${ref.group}/${ref.version}`;
  const scope = ref.namespaced && key.namespace !== undefined ? `/namespaces/${encodeURIComponent(key.namespace)}` : "";
  const name = key.name === undefined ? "" : `/${encodeURIComponent(key.name)}`;
  return `${root}${scope}/${ref.plural}${name}`;
}
