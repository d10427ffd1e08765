import { z } from "zod";
import { POD_USAGES, PODS } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import { BY_AGENT, type Cache } from "./cache.ts";
import { type Component, COMPONENTS, type PodUsageOwner } from "./desired/names.ts";
import type { Agent } from "./observe.ts";

/** One pod of an agent with what it reports. */
export interface PodView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly component: Component;
  readonly state: "Waiting" | "Running" | "Ready" | "Terminating" | "Ended";
  readonly usage: KubeObject | undefined;
  readonly enforced: { readonly configDigest: string; readonly mode: string } | undefined;
}

const enforcedSchema = z.object({
  enforced: z.object({ configDigest: z.string(), mode: z.string().nullish() }).nullish(),
});

/** The pods of an agent that have not ended. */
export function observePods(agent: Agent, caches: (ref: ResourceRef) => Cache): PodView[] {
  return caches(PODS)
    .byIndex(BY_AGENT, agent.key)
    .flatMap((pod) => {
      const component = COMPONENTS.find((name) => name === pod.metadata.labels?.["app.kubernetes.io/component"]);
      const { uid, name } = pod.metadata;
      if (component === undefined || uid === undefined) return [];
      const usage = caches(POD_USAGES).get({ namespace: agent.namespace, name: uid });
      const enforced = enforcedSchema.safeParse(usage?.["status"]).data?.enforced;
      return [
        {
          namespace: agent.namespace,
          name,
          uid,
          component,
          state: podState(pod),
          usage,
          enforced: enforced ? { configDigest: enforced.configDigest, mode: enforced.mode ?? "" } : undefined,
        },
      ];
    })
    .filter((pod) => pod.state !== "Ended");
}

/** The PodUsages of these pods, in an order that does not change by itself. */
export function podUsageOwners(pods: readonly PodView[]): PodUsageOwner[] {
  return pods
    .flatMap(({ usage }) =>
      usage?.metadata.uid === undefined ? [] : [{ name: usage.metadata.name, uid: usage.metadata.uid }],
    )
    .sort((a, b) => a.name.localeCompare(b.name));
}

const containersSchema = z.array(z.object({ state: z.record(z.string(), z.unknown()).nullish() })).nullish();
const podStatusSchema = z.object({
  phase: z.string().nullish(),
  conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
  containerStatuses: containersSchema,
  initContainerStatuses: containersSchema,
});
type PodStatus = z.output<typeof podStatusSchema>;

function podState(pod: KubeObject): PodView["state"] {
  const status: PodStatus = podStatusSchema.safeParse(pod["status"] ?? {}).data ?? {};
  if (status.phase === "Succeeded" || status.phase === "Failed") return "Ended";
  if (pod.metadata.deletionTimestamp !== undefined) return "Terminating";
  if (isTrue(status, "Ready")) return "Ready";
  return isTrue(status, "PodScheduled") && !hasStarted(status) ? "Waiting" : "Running";
}

function isTrue(status: PodStatus, type: string): boolean {
  return (status.conditions ?? []).some((condition) => condition.type === type && condition.status === "True");
}

function hasStarted(status: PodStatus): boolean {
  const containers = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  return containers.some((container) => container.state?.["waiting"] === undefined);
}
