/** One rule of the operator's roles. */
export interface Permission {
  readonly group: string;
  readonly resource: string;
  readonly verbs: readonly string[];
  /** Only these objects. */
  readonly names?: readonly string[];
}

const WATCHED = ["get", "list", "watch"] as const;
const APPLIED = [...WATCHED, "create", "patch", "delete"] as const;

/** What the operator does in the namespaces of agents. Secrets are absent on purpose: it never reads one. */
export const AGENT_PERMISSIONS: readonly Permission[] = [
  { group: "supercargo.dev", resource: "agentdeployments", verbs: WATCHED },
  { group: "supercargo.dev", resource: "agentdeployments/status", verbs: ["get", "patch", "update"] },
  /** Owner references that block deletion need it. */
  { group: "supercargo.dev", resource: "agentdeployments/finalizers", verbs: ["update"] },
  { group: "supercargo.dev", resource: "podusages", verbs: [...WATCHED, "create", "patch"] },
  /** Evidence that is deleted when its time is over. */
  { group: "supercargo.dev", resource: "approvals", verbs: [...WATCHED, "delete"] },
  { group: "", resource: "configmaps", verbs: APPLIED },
  { group: "", resource: "persistentvolumeclaims", verbs: APPLIED },
  { group: "", resource: "serviceaccounts", verbs: APPLIED },
  { group: "", resource: "services", verbs: APPLIED },
  { group: "apps", resource: "deployments", verbs: APPLIED },
  { group: "autoscaling", resource: "horizontalpodautoscalers", verbs: APPLIED },
  { group: "networking.k8s.io", resource: "networkpolicies", verbs: APPLIED },
  { group: "policy", resource: "poddisruptionbudgets", verbs: APPLIED },
  { group: "rbac.authorization.k8s.io", resource: "rolebindings", verbs: APPLIED },
  { group: "", resource: "pods", verbs: WATCHED },
  /** A missing Secret shows only in the kubelet's FailedMount event. */
  { group: "", resource: "events", verbs: ["list"] },
  { group: "events.k8s.io", resource: "events", verbs: ["create", "patch"] },
];

/** What it does in the cluster as a whole, whatever the namespaces. */
export const CLUSTER_PERMISSIONS: readonly Permission[] = [
  { group: "supercargo.dev", resource: "usageledgers", verbs: WATCHED },
  {
    group: "rbac.authorization.k8s.io",
    resource: "clusterroles",
    verbs: ["bind"],
    names: ["supercargo-sidecar", "supercargo-orchestrator"],
  },
];

/** Paths that are no resources: the issuer and its keys, handed to the pods. */
export const PATH_PERMISSIONS = ["/.well-known/openid-configuration", "/openid/v1/jwks"] as const;

/** In namespace `default` alone: the addresses of the API server. */
export const DEFAULT_NAMESPACE_PERMISSIONS: readonly Permission[] = [
  { group: "discovery.k8s.io", resource: "endpointslices", verbs: ["get", "list"] },
];

/** In its own namespace: the Lease. */
export const OWN_NAMESPACE_PERMISSIONS: readonly Permission[] = [
  { group: "coordination.k8s.io", resource: "leases", verbs: ["create"] },
  { group: "coordination.k8s.io", resource: "leases", verbs: ["get", "update"], names: ["supercargo-operator"] },
];
