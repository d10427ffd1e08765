import { type AgentDeploymentStatus, agentDeploymentStatusSchema } from "#core/api/agent-deployment-status.ts";
import { CONDITIONS, type ConditionReason, type ConditionType } from "#core/api/conditions.ts";
import { API_VERSION, type Condition } from "#core/api/meta.ts";
import { POD_PORTS } from "#core/pod-paths.ts";
import { toIso } from "#core/time.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import type { Problem } from "./accept.ts";
import { canonicalJson } from "./canonical.ts";
import { RECONCILE_REQUESTED_AT, type Component } from "./desired/names.ts";
import type { MeteringFacts } from "./metering-facts.ts";
import { judgeLimits, judgeMetering } from "./metering-health.ts";
import type { Agent } from "./observe.ts";
import type { PodView } from "./pods.ts";
import { judgeRollout, type WorkloadView } from "./rollout.ts";

/** Everything that status follows from; seen now, remembered nowhere. */
export interface StatusInput {
  readonly agent: Agent;
  readonly problems: readonly Problem[];
  readonly pods: readonly PodView[];
  readonly workloads: Readonly<Record<Component, WorkloadView>>;
  /** Of the config that the accepted spec makes; nothing when it is not accepted. */
  readonly digests: Readonly<Record<Component, string>> | undefined;
  readonly references: readonly { readonly kind: string; readonly name: string; readonly hash: string }[];
  readonly metering: MeteringFacts;
  readonly usage: Pick<AgentDeploymentStatus, "usage" | "usageSummary">;
  readonly clusterDomain: string;
  readonly configHash: string | undefined;
  readonly nowMs: number;
}

/** What a judge says of one condition. */
export interface Verdict<T extends ConditionType = ConditionType> {
  readonly status: Condition["status"];
  readonly reason: ConditionReason<T>;
  readonly message: string;
}

/** The status of an agent: the only place where conditions are made. */
export function computeStatus(input: StatusInput): AgentDeploymentStatus {
  const { agent } = input;
  const rollout = judgeRollout(input);
  const suspended = judgeSuspended(input);
  const accepted = judgeAccepted(input.problems);
  const metering = judgeMetering(input.metering);
  const verdicts = {
    Ready: judgeReady(input, { accepted, progressing: rollout.verdict, unavailable: rollout.unavailable }),
    Accepted: accepted,
    Progressing: rollout.verdict,
    Suspended: suspended,
    MeteringHealthy: metering.verdict,
    LimitNear: judgeLimits(input.metering),
  } satisfies Record<ConditionType, Verdict>;
  const requestedAt = agent.object.metadata.annotations?.[RECONCILE_REQUESTED_AT];
  return {
    observedGeneration: agent.generation,
    ...(requestedAt === undefined ? {} : { lastHandledReconcileAt: requestedAt.slice(0, 64) }),
    conditions: toConditions(verdicts, input),
    endpoint: `http://${agent.name}-gateway.${agent.namespace}.svc.${input.clusterDomain}:${POD_PORTS.gateway}`,
    ...metering.status,
    ...input.usage,
    ...(input.configHash === undefined ? {} : { configHash: input.configHash }),
    enforced: { pods: rollout.enforcedPods, total: rollout.totalPods },
    references: [...input.references],
    gateway: countsOf(input.workloads.gateway),
    orchestrator: countsOf(input.workloads.orchestrator),
  };
}

/** The object for an apply of status; with the UID, so that a namesake made anew does not get it. */
export function statusObject(agent: Agent, status: AgentDeploymentStatus): KubeObject {
  return {
    apiVersion: API_VERSION,
    kind: "AgentDeployment",
    metadata: { name: agent.name, namespace: agent.namespace, uid: agent.uid },
    status,
  };
}

/** The status as it stands, or an empty one where it cannot be read. */
export function parseStatus(object: KubeObject): AgentDeploymentStatus {
  return agentDeploymentStatusSchema.safeParse(object["status"] ?? {}).data ?? {};
}

/** Whether a write would change nothing. */
export function isSameStatus(a: AgentDeploymentStatus, b: AgentDeploymentStatus): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

/** What people asked for, or what every rollout passes through: nothing to be warned of. */
const EXPECTED = new Set<string>(["RollingOut", "Progressing", "Paused", "Revoked", "Running", "AwaitingFirstHour"]);

/** A condition that changed, with the type that its event gets. */
export type ConditionChange = Condition & { readonly tone: "Normal" | "Warning" };

/** Conditions that changed in status or reason, for events. */
export function changedConditions(before: AgentDeploymentStatus, after: AgentDeploymentStatus): ConditionChange[] {
  return (after.conditions ?? []).flatMap((condition) => {
    const old = before.conditions?.find((other) => other.type === condition.type);
    if (old?.status === condition.status && old.reason === condition.reason) return [];
    const polarity = Object.entries(CONDITIONS).find(([type]) => type === condition.type)?.[1].polarity;
    const isFine = condition.status === polarity || EXPECTED.has(condition.reason);
    return [{ ...condition, tone: isFine ? "Normal" : "Warning" }];
  });
}

function judgeAccepted(problems: readonly Problem[]): Verdict<"Accepted"> {
  const first = problems.find((problem) => problem.blocking === "Yes") ?? problems[0];
  if (!first)
    return { status: "True", reason: "Accepted", message: "The spec is valid and everything it names is there" };
  const messages = problems.map((problem) => problem.message).join("; ");
  return { status: "False", reason: first.reason, message: messages };
}

/** True only when every pod says that it applies the mode. */
function judgeSuspended(input: StatusInput): Verdict<"Suspended"> {
  const { mode } = input.agent;
  if (mode !== "Paused" && mode !== "Revoked")
    return { status: "False", reason: "Running", message: `Mode is ${mode}` };
  const living = input.pods.filter((pod) => pod.state !== "Waiting");
  const waiting = living.filter(
    (pod) => pod.enforced?.mode !== mode || (mode === "Revoked" && pod.component === "orchestrator"),
  );
  if (waiting.length === 0) return { status: "True", reason: mode, message: `Every pod enforces mode ${mode}` };
  const message = `${waiting.length} of ${living.length} pods do not confirm mode ${mode} yet`;
  return { status: "False", reason: mode, message };
}

/** The first that fails, in a fixed order. */
function judgeReady(
  input: StatusInput,
  verdicts: {
    readonly accepted: Verdict<"Accepted">;
    readonly progressing: Verdict<"Progressing">;
    readonly unavailable: string | undefined;
  },
): Verdict<"Ready"> {
  const { accepted, progressing, unavailable } = verdicts;
  const { mode } = input.agent;
  const notEntitled = judgeEntitlement(input);
  const checks: readonly (Verdict<"Ready"> | undefined)[] = [
    accepted.status === "True" ? undefined : no("NotAccepted", accepted.message),
    mode === "Revoked" ? no("Revoked", "Mode is Revoked: every call is refused") : undefined,
    mode === "Paused" ? no("Paused", "Mode is Paused: no run is started") : undefined,
    notEntitled === undefined ? undefined : no("NotEntitled", notEntitled),
    progressing.status === "True" ? no("Progressing", progressing.message) : undefined,
    progressing.reason === "DeadlineExceeded" ? no("PodsUnavailable", progressing.message) : undefined,
    unavailable === undefined ? undefined : no("PodsUnavailable", unavailable),
  ];
  return (
    checks.find((check) => check !== undefined) ?? {
      status: "True",
      reason: "AllReady",
      message: `Serves and enforces generation ${input.agent.generation}`,
    }
  );
}

function no(reason: ConditionReason<"Ready">, message: string): Verdict<"Ready"> {
  return { status: "False", reason, message };
}

/** Why the pods refuse for want of an entitlement, by the grants that they hold. */
function judgeEntitlement(input: StatusInput): string | undefined {
  for (const pod of input.pods) {
    const grant = input.metering.entitlements.get(pod.uid);
    if (!grant || pod.state === "Terminating") continue;
    if (grant.state === "Unknown") return `The plan ${grant.planId} is not in the catalogue of this version`;
    if (grant.state !== "Active" && grant.state !== "GracePeriod") return `The Marketplace plan is ${grant.state}`;
    if (Date.parse(grant.validUntil) <= input.metering.nowMs)
      return `The grant of pod ${pod.name} ended at ${grant.validUntil} and the reporter did not renew it`;
  }
  return undefined;
}

/** lastTransitionTime moves with status alone. */
function toConditions(verdicts: Readonly<Record<ConditionType, Verdict>>, input: StatusInput): Condition[] {
  const before = parseStatus(input.agent.object).conditions ?? [];
  return Object.entries(verdicts).map(([type, verdict]) => {
    const old = before.find((condition) => condition.type === type);
    return {
      type,
      status: verdict.status,
      reason: verdict.reason,
      message: verdict.message.slice(0, 1024),
      observedGeneration: input.agent.generation,
      lastTransitionTime: old?.status === verdict.status ? old.lastTransitionTime : seconds(input.nowMs),
    };
  });
}

/** Kubernetes writes times in whole seconds. */
function seconds(instantMs: number): string {
  return toIso(Math.floor(instantMs / 1000) * 1000).replace(".000Z", "Z");
}

function countsOf(workload: WorkloadView): { replicas: number; readyReplicas: number } {
  return { replicas: workload.observed.replicas, readyReplicas: workload.observed.readyReplicas };
}
