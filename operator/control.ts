import { TEAM_LABEL } from "#core/api/usage-ledger.ts";
import { isRecord } from "#runtime/kube/types.ts";
import { POD_USAGES } from "#runtime/kube/resources.ts";
import { canonicalJson } from "./canonical.ts";
import type { Component } from "./desired/names.ts";
import { controlPatch, desiredControl, firstGrants, newPodUsage, parsePodUsageSpec } from "./desired/pod-usage.ts";
import { type Agent, knownGrants, mountedKeys } from "./observe.ts";
import type { PodView } from "./pods.ts";
import type { ReconcileContext } from "./reconcile.ts";

interface ControlInput {
  readonly agent: Agent;
  readonly pods: readonly PodView[];
  readonly digests: Readonly<Record<Component, string>> | undefined;
}

/**
 * Tells each pod its mode, its config's digest and the keys that are revoked, through its PodUsage, and makes that of a
 * new pod. This comes before the ConfigMap is changed: afterwards nobody would know which keys it held.
 */
export async function applyControls(input: ControlInput, context: ReconcileContext): Promise<void> {
  const { agent, pods } = input;
  const keys = new Set((agent.spec?.exposure.auth.apiKeys ?? []).map((key) => key.sha256));
  // Without a readable spec nobody can tell which keys were removed.
  const mounted = agent.spec ? mountedKeys(agent, context.caches) : [];
  for (const pod of pods) {
    const current = parsePodUsageSpec(pod.usage);
    const control = desiredControl({
      mode: agent.mode,
      configDigest: input.digests?.[pod.component],
      component: pod.component,
      keys,
      mountedKeys: mounted,
      current: current?.control,
      enforcedDigest: pod.enforced?.configDigest,
    });
    if (pod.usage) await updateControl(pod, { control, team: teamOf(agent) }, context);
    else await createUsage(input, { pod, control }, context);
  }
}

async function updateControl(
  pod: PodView,
  desired: { readonly control: ReturnType<typeof desiredControl>; readonly team: string },
  context: ReconcileContext,
): Promise<void> {
  const { control, team } = desired;
  const spec = pod.usage?.["spec"];
  const current = isRecord(spec) ? spec["control"] : undefined;
  const named = pod.usage?.metadata.labels?.[TEAM_LABEL];
  if ((named ?? "") === team && canonicalJson(current) === canonicalJson(control)) return;
  // A team that is no more is written as empty: the label of a creation cannot be taken back by leaving it out.
  const labels = named === undefined && team === "" ? {} : { [TEAM_LABEL]: team };
  const applied = await context.cluster.applyControl(controlPatch(pod, control, labels));
  context.caches(POD_USAGES).remember(applied);
  context.log.info({ namespace: pod.namespace, pod: pod.name, mode: control.mode }, "Applied control of pod");
}

/** The team that its people gave the agent; usage is shared out by it. */
function teamOf(agent: Agent): string {
  return agent.object.metadata.labels?.[TEAM_LABEL] ?? "";
}

async function createUsage(
  input: ControlInput,
  part: { readonly pod: PodView; readonly control: ReturnType<typeof desiredControl> },
  context: ReconcileContext,
): Promise<void> {
  const { pod, control } = part;
  // A pod that is ending and never had one counted nothing.
  if (pod.state === "Terminating") return;
  const { settings, caches, cluster, clock, log } = context;
  const known = knownGrants(caches).filter((spec) => spec !== undefined);
  const grants = firstGrants(known, { settings, nowMs: clock.now() });
  const team = teamOf(input.agent);
  const usage = newPodUsage({ agent: input.agent, pod, settings, control, grants, team });
  const created = await cluster.createPodUsage(usage);
  if (!created) return;
  caches(POD_USAGES).remember(created);
  log.info({ namespace: pod.namespace, pod: pod.name }, "Created PodUsage");
}
