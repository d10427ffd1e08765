/**
 * Where things lie inside an agent's pods. The operator mounts them, the services and the sidecar open them: one table,
 * so that both sides agree (docs/decisions/0002).
 */
export const POD_PATHS = {
  /** Read-only, from the agent's ConfigMap; `config.json` is the component's own item. */
  config: "/etc/supercargo/config/config.json",
  /** emptyDir: the sidecar writes, the service mounts it read-only. */
  control: "/var/run/supercargo/control/control.json",
  /** emptyDir: the service writes, the sidecar mounts it read-only. */
  counters: "/var/run/supercargo/counters/counters",
  /** emptyDir of the sidecar alone: its checksummed log. */
  sidecarLog: "/var/lib/supercargo/sidecar",
  /** The orchestrator's journal: the volume of spec.orchestrator.storage. */
  journal: "/var/lib/supercargo/journal/journal.db",
  /** Projected token for calls to the agent's other component. */
  serviceToken: "/var/run/secrets/supercargo/token",
  /** Projected token, CA and namespace for the API server: the sidecar's, and that of an orchestrator which may have to ask people. */
  kubernetes: "/var/run/secrets/kubernetes.io/serviceaccount",
  /** Mounted Secrets: SECRETS/<secret name>/<key>. */
  secrets: "/etc/supercargo/secrets",
  /** The catalogue in operator and reporter pods. */
  catalogue: "/etc/supercargo/catalogue/catalogue.yaml",
} as const;

/** Ports inside the pods. The admin port (livez, readyz, metrics) is never part of a Service. */
export const POD_PORTS = {
  gateway: 8080,
  orchestrator: 8088,
  admin: 9090,
  sidecarAdmin: 9091,
} as const;

/** One audience per callee: a token for one agent's gateway is worthless at another's. */
export function audienceOf(callee: { component: "gateway" | "orchestrator"; namespace: string; name: string }): string {
  return `${callee.component}.${callee.name}.${callee.namespace}.supercargo.dev`;
}

/** The subject of a ServiceAccount's token. */
export function serviceAccountSubject(account: { namespace: string; name: string }): string {
  return `system:serviceaccount:${account.namespace}:${account.name}`;
}

/** Header with the verified principal; believed only beside a token of the agent's other component. */
export const ACTING_FOR_HEADER = "x-supercargo-acting-for";
