import type { Workload } from "#core/api/workload.ts";
import { POD_PORTS } from "#core/pod-paths.ts";
import { DEPLOYMENTS } from "#runtime/kube/resources.ts";
import { canonicalQuantity } from "../canonical.ts";
import { type DesiredInput, replicasOf, serviceAccountOf } from "./input.ts";
import {
  child,
  childName,
  commonLabels,
  type Component,
  COMPONENTS,
  type DesiredObject,
  selectorLabels,
} from "./names.ts";
import { telemetryEnv } from "./telemetry.ts";
import { podVolumes } from "./volumes.ts";

type Json = Readonly<Record<string, unknown>>;

/** The service drains up to 25 s; what is left is the sidecar's, which ends after it. */
const GRACE_SECONDS = 60;
const USER = 65_532;

/** Node takes a heap that a small container kills it for; a percentage of the limit makes it collect in time. */
const HEAP = { name: "NODE_OPTIONS", value: "--max-old-space-size-percentage=75" } as const;

const DEFAULT_RESOURCES = { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "512Mi" } } as const;
const SIDECAR_RESOURCES = { requests: { cpu: "10m", memory: "48Mi" }, limits: { memory: "128Mi" } } as const;

const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
} as const;

/** Gateway and orchestrator, each with the meter beside it. */
export function deployments(input: DesiredInput): DesiredObject[] {
  return COMPONENTS.map((component) => {
    const workload = input.spec[component];
    const replicas = replicasOf(input.spec, component);
    return child(input.agent, {
      ref: DEPLOYMENTS,
      name: childName(input.agent, component),
      component,
      body: {
        spec: {
          ...(replicas === "Autoscaled" ? {} : { replicas }),
          revisionHistoryLimit: 3,
          progressDeadlineSeconds: 600,
          strategy: strategy(component),
          selector: { matchLabels: selectorLabels(input.agent, component) },
          template: {
            metadata: podMetadata(input, component),
            spec: podSpec(input, { component, workload }),
          },
        },
      },
    });
  });
}

/** SQLite has one writer: the old pod ends before the new one begins. */
function strategy(component: Component): Json {
  return component === "orchestrator"
    ? { type: "Recreate" }
    : { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
}

function podMetadata(input: DesiredInput, component: Component): Json {
  const workload = input.spec[component];
  const usesWorkloadIdentity = component === "gateway" && input.spec.identity !== undefined;
  return {
    labels: {
      ...workload.podLabels,
      ...(usesWorkloadIdentity ? { "azure.workload.identity/use": "true" } : {}),
      ...(input.settings.extensionRelease === undefined
        ? {}
        : { "azure-extensions-usage-release-identifier": input.settings.extensionRelease }),
      ...commonLabels(input.agent, component),
    },
    ...podAnnotations(workload, usesWorkloadIdentity),
  };
}

/** The webhook of workload identity gives its token to every container; the meter needs none and gets none. */
function podAnnotations(workload: Workload, usesWorkloadIdentity: boolean): Json {
  const own = usesWorkloadIdentity ? { "azure.workload.identity/skip-containers": "meter" } : {};
  const annotations = { ...workload.podAnnotations, ...own };
  return Object.keys(annotations).length === 0 ? {} : { annotations };
}

interface PodPart {
  readonly component: Component;
  readonly workload: Workload;
}

function podSpec(input: DesiredInput, part: PodPart): Json {
  const { component } = part;
  const volumes = podVolumes(input, component);
  return {
    serviceAccountName: serviceAccountOf(input, component),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: GRACE_SECONDS,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...scheduling(input, part),
    initContainers: [sidecarContainer(input, { component, mounts: volumes.sidecarMounts })],
    containers: [serviceContainer(input, { ...part, mounts: volumes.serviceMounts })],
    volumes: volumes.volumes,
  };
}

function scheduling(input: DesiredInput, part: PodPart): Json {
  const { nodeSelector, tolerations, topologySpreadConstraints, priorityClassName } = part.workload;
  const labelSelector = { matchLabels: selectorLabels(input.agent, part.component) };
  const spread = topologySpreadConstraints ?? [
    { maxSkew: 1, topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "ScheduleAnyway" },
    { maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "ScheduleAnyway" },
  ];
  return {
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(tolerations === undefined ? {} : { tolerations }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    topologySpreadConstraints: spread.map((constraint) => ({ ...constraint, labelSelector })),
  };
}

function serviceContainer(input: DesiredInput, part: PodPart & { readonly mounts: readonly Json[] }): Json {
  const { component, workload } = part;
  return {
    name: component,
    ...image(input),
    // The image's entrypoint is node: a command would replace it.
    args: [`/app/${component}.js`],
    env: [HEAP, ...telemetryEnv(input.spec), ...(workload.extraEnv ?? [])],
    ports: [
      { name: "http", containerPort: POD_PORTS[component], protocol: "TCP" },
      { name: "admin", containerPort: POD_PORTS.admin, protocol: "TCP" },
    ],
    resources: resources(workload),
    securityContext: CONTAINER_SECURITY,
    startupProbe: probe("/livez", "admin", { periodSeconds: 1, failureThreshold: 60 }),
    livenessProbe: probe("/livez", "admin", { periodSeconds: 10, failureThreshold: 3 }),
    readinessProbe: probe("/readyz", "admin", { periodSeconds: 2, failureThreshold: 2 }),
    volumeMounts: part.mounts,
  };
}

/** A native sidecar: it starts before the service and ends after it, so that the last unit is counted. */
function sidecarContainer(
  input: DesiredInput,
  part: { readonly component: Component; readonly mounts: readonly Json[] },
): Json {
  return {
    name: "meter",
    ...image(input),
    restartPolicy: "Always",
    args: ["/app/sidecar.js"],
    env: [
      HEAP,
      fromField("SUPERCARGO_POD_NAME", "metadata.name"),
      fromField("SUPERCARGO_POD_NAMESPACE", "metadata.namespace"),
      fromField("SUPERCARGO_POD_UID", "metadata.uid"),
    ],
    ports: [{ name: "meter-admin", containerPort: POD_PORTS.sidecarAdmin, protocol: "TCP" }],
    resources: SIDECAR_RESOURCES,
    securityContext: CONTAINER_SECURITY,
    // Not ready would take the pod out of its Service: an outage of the API server must stop no customer.
    livenessProbe: probe("/livez", "meter-admin", { periodSeconds: 10, failureThreshold: 6 }),
    volumeMounts: part.mounts,
  };
}

function image(input: DesiredInput): Json {
  return { image: input.settings.image, imagePullPolicy: input.settings.imagePullPolicy };
}

function probe(path: string, port: string, times: { periodSeconds: number; failureThreshold: number }): Json {
  return { httpGet: { path, port, scheme: "HTTP" }, timeoutSeconds: 5, ...times };
}

function fromField(name: string, fieldPath: string): Json {
  return { name, valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } } };
}

function resources(workload: Workload): Json {
  const given = workload.resources;
  if (given === undefined) return DEFAULT_RESOURCES;
  return {
    ...(given.requests === undefined ? {} : { requests: canonical(given.requests) }),
    ...(given.limits === undefined ? {} : { limits: canonical(given.limits) }),
  };
}

function canonical(quantities: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(quantities).map(([name, value]) => [name, canonicalQuantity(value)]));
}
