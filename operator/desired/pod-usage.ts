import type { AgentDeploymentSpec } from "#core/api/agent-deployment.ts";
import { type Grants, podUsageSpecSchema, type PodUsageSpec } from "#core/api/pod-usage.ts";
import { TEAM_LABEL } from "#core/api/usage-ledger.ts";
import { toIso } from "#core/time.ts";
import { apiVersionOf, POD_USAGES } from "#runtime/kube/resources.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import type { Settings } from "../config.ts";
import { commonLabels, type Component } from "./names.ts";

export type ControlSpec = NonNullable<PodUsageSpec["control"]>;

/** A pod as its PodUsage needs it. */
export interface PodIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly component: Component;
}

/** The PodUsage of a new pod. No owner: it holds money and outlives pod, agent and operator. */
export function newPodUsage(input: {
  readonly agent: { readonly name: string };
  readonly pod: PodIdentity;
  readonly settings: Settings;
  readonly control: ControlSpec;
  readonly grants: Grants;
  /** Whose usage it is, beside the agent's; empty: nobody's. */
  readonly team: string;
}): KubeObject {
  const { agent, pod, settings } = input;
  const team = input.team === "" ? {} : { [TEAM_LABEL]: input.team };
  return {
    apiVersion: apiVersionOf(POD_USAGES),
    kind: POD_USAGES.kind,
    metadata: { name: pod.uid, namespace: pod.namespace, labels: { ...commonLabels(agent, pod.component), ...team } },
    spec: {
      podName: pod.name,
      component: pod.component,
      agentDeployment: agent.name,
      offerResourceId: settings.offerResourceId,
      checkpointSeconds: settings.checkpointSeconds,
      control: input.control,
      grants: input.grants,
    } satisfies PodUsageSpec,
  };
}

/** The part of a PodUsage that the operator owns after its birth. */
export function controlPatch(
  pod: PodIdentity,
  control: ControlSpec,
  labels: Readonly<Record<string, string>>,
): KubeObject {
  return {
    apiVersion: apiVersionOf(POD_USAGES),
    kind: POD_USAGES.kind,
    metadata: { name: pod.uid, namespace: pod.namespace, ...(Object.keys(labels).length === 0 ? {} : { labels }) },
    spec: { control },
  };
}

/** What a pod should do now. A key that left the spec stays revoked until the pod runs with a config without it. */
export function desiredControl(input: {
  readonly mode: AgentDeploymentSpec["mode"];
  readonly configDigest: string | undefined;
  readonly component: Component;
  /** Hashes of keys in the spec. */
  readonly keys: ReadonlySet<string>;
  /** Hashes of keys that the mounted config may still hold. */
  readonly mountedKeys: readonly string[];
  readonly current: ControlSpec | undefined;
  /** The digest that the pod says it runs with. */
  readonly enforcedDigest: string | undefined;
}): ControlSpec {
  const { mode, configDigest, current, enforcedDigest } = input;
  const caughtUp = configDigest !== undefined && enforcedDigest === configDigest;
  const candidates = caughtUp ? [] : [...(current?.revokedKeys ?? []), ...input.mountedKeys];
  const revoked = input.component === "gateway" ? candidates.filter((key) => !input.keys.has(key)) : [];
  const digest = configDigest ?? current?.configDigest;
  return {
    mode,
    ...(digest === undefined ? {} : { configDigest: digest }),
    ...(revoked.length === 0 ? {} : { revokedKeys: [...new Set(revoked)].sort().slice(0, 64) }),
  };
}

type GrantSettings = Pick<
  Settings,
  "offerResourceId" | "planId" | "grantLifeSeconds" | "limitedDimensions" | "entitlement"
>;

/**
 * The first grant of a new pod: the entitlement that the reporter gave last, else a fresh one. A pod born during an
 * outage of ours gets what its siblings have, no more, and of what the plan limits nothing yet: only the reporter knows
 * what is left.
 */
export function firstGrants(
  known: readonly PodUsageSpec[],
  context: { readonly settings: GrantSettings; readonly nowMs: number },
): Grants {
  const { settings, nowMs } = context;
  const newest = known
    .filter((spec) => spec.offerResourceId === settings.offerResourceId)
    .flatMap((spec) => (spec.grants ? [spec.grants] : []))
    .sort((a, b) => b.term - a.term || (a.entitlement.validUntil < b.entitlement.validUntil ? 1 : -1))[0];
  const leases = settings.limitedDimensions.map((dimension) => ({ dimension, upTo: "0" }));
  const common = leases.length === 0 ? {} : { leases };
  if (newest) {
    const { term, entitlement, clockOffsetSeconds, checkpointSeconds } = newest;
    const pace = checkpointSeconds === undefined ? {} : { checkpointSeconds };
    return { term, entitlement, clockOffsetSeconds, ...pace, ...common };
  }
  return {
    ...common,
    term: 0,
    clockOffsetSeconds: 0,
    entitlement: {
      ...settings.entitlement,
      planId: settings.planId,
      validUntil: toIso(nowMs + settings.grantLifeSeconds * 1000),
    },
  };
}

/** The spec of a PodUsage, or nothing when it is of another version. */
export function parsePodUsageSpec(object: KubeObject | undefined): PodUsageSpec | undefined {
  return podUsageSpecSchema.safeParse(object?.["spec"]).data;
}
