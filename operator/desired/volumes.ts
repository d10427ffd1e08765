import { dirname } from "node:path";
import { audienceOf, POD_PATHS } from "#core/pod-paths.ts";
import { sha256 } from "../canonical.ts";
import type { DesiredInput } from "./input.ts";
import { mayAsk } from "./approvals.ts";
import { childName, type Component } from "./names.ts";

type Json = Readonly<Record<string, unknown>>;

/** Tokens of the data plane live an hour; the kubelet renews them at 80 %. */
const TOKEN_SECONDS = 3600;

/** The volumes of a component's pod and who mounts which: a container gets what it needs and no more. */
export interface PodVolumes {
  readonly volumes: readonly Json[];
  readonly serviceMounts: readonly Json[];
  readonly sidecarMounts: readonly Json[];
}

export function podVolumes(input: DesiredInput, component: Component): PodVolumes {
  const secrets = secretVolumes(input, component);
  const journal = component === "orchestrator" ? journalVolume(input) : [];
  return {
    volumes: [
      configVolume(input, component),
      emptyDir("control", "16Mi"),
      emptyDir("counters", "16Mi"),
      emptyDir("sidecar-log", "64Mi"),
      emptyDir("tmp", "256Mi"),
      emptyDir("sidecar-tmp", "16Mi"),
      serviceTokenVolume(input, component),
      kubernetesVolume(),
      ...journal,
      ...secrets.map((secret) => secret.volume),
    ],
    serviceMounts: [
      mount("config", dirname(POD_PATHS.config), "readOnly"),
      mount("control", dirname(POD_PATHS.control), "readOnly"),
      mount("counters", dirname(POD_PATHS.counters)),
      mount("service-token", dirname(POD_PATHS.serviceToken), "readOnly"),
      mount("tmp", "/tmp"),
      ...(journal.length === 0 ? [] : [mount("journal", dirname(POD_PATHS.journal))]),
      // The one service that speaks to the API server: it asks people (docs/decisions/0028).
      ...(component === "orchestrator" && mayAsk(input.spec)
        ? [mount("kubernetes", POD_PATHS.kubernetes, "readOnly")]
        : []),
      ...secrets.map((secret) => secret.mount),
    ],
    sidecarMounts: [
      mount("control", dirname(POD_PATHS.control)),
      mount("counters", dirname(POD_PATHS.counters), "readOnly"),
      mount("sidecar-log", POD_PATHS.sidecarLog),
      mount("kubernetes", POD_PATHS.kubernetes, "readOnly"),
      mount("sidecar-tmp", "/tmp"),
    ],
  };
}

/** Secrets that a component's entries name, with the keys it needs. */
export function secretKeys(
  input: Pick<DesiredInput, "spec">,
  component: Component,
): ReadonlyMap<string, readonly string[]> {
  const { spec } = input;
  const refs =
    component === "gateway"
      ? [
          ...spec.models.flatMap((model) => model.deployments.map((deployment) => deployment.auth.secretRef)),
          ...(spec.guardrails ?? []).map((guardrail) => guardrail.contentSafety?.auth.secretRef),
        ]
      : (spec.tools ?? []).map((tool) => tool.mcp.auth.secretRef);
  const keys = new Map<string, Set<string>>();
  for (const ref of [...refs, spec.telemetry?.headersSecretRef])
    if (ref) keys.set(ref.name, (keys.get(ref.name) ?? new Set()).add(ref.key));
  return new Map([...keys].map(([name, set]) => [name, [...set].sort()]));
}

/** The name of a Secret's volume: the kubelet repeats it when the Secret is missing. */
function secretVolumeName(secret: string): string {
  return `secret-${sha256(secret).slice(0, 10)}`;
}

function secretVolumes(input: DesiredInput, component: Component): { readonly volume: Json; readonly mount: Json }[] {
  return [...secretKeys(input, component)].map(([secretName, keys]) => ({
    volume: {
      name: secretVolumeName(secretName),
      secret: { secretName, defaultMode: 0o440, items: keys.map((key) => ({ key, path: key })) },
    },
    mount: mount(secretVolumeName(secretName), `${POD_PATHS.secrets}/${secretName}`, "readOnly"),
  }));
}

function configVolume(input: DesiredInput, component: Component): Json {
  return {
    name: "config",
    configMap: {
      name: childName(input.agent, "config"),
      defaultMode: 0o444,
      items: [{ key: `${component}.json`, path: "config.json" }],
    },
  };
}

/** The token that the component shows to the other one, good there alone. */
function serviceTokenVolume(input: DesiredInput, component: Component): Json {
  const callee = component === "gateway" ? "orchestrator" : "gateway";
  const audience = audienceOf({ component: callee, namespace: input.agent.namespace, name: input.agent.name });
  return {
    name: "service-token",
    projected: {
      defaultMode: 0o440,
      sources: [{ serviceAccountToken: { audience, expirationSeconds: TOKEN_SECONDS, path: "token" } }],
    },
  };
}

/** What automount would give to every container; here the sidecar mounts it, and an orchestrator that may have to ask people. */
function kubernetesVolume(): Json {
  return {
    name: "kubernetes",
    projected: {
      defaultMode: 0o440,
      sources: [
        { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        {
          downwardAPI: {
            items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
          },
        },
      ],
    },
  };
}

function journalVolume(input: DesiredInput): Json[] {
  const { type } = input.spec.orchestrator.storage;
  if (type === "PostgreSQL") return [];
  if (type === "Ephemeral") return [emptyDir("journal", "1Gi")];
  return [{ name: "journal", persistentVolumeClaim: { claimName: childName(input.agent, "journal") } }];
}

function emptyDir(name: string, sizeLimit: string): Json {
  return { name, emptyDir: { sizeLimit } };
}

function mount(name: string, mountPath: string, access: "readOnly" | "readWrite" = "readWrite"): Json {
  return { name, mountPath, ...(access === "readOnly" ? { readOnly: true } : {}) };
}
