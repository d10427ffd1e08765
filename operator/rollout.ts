import { z } from "zod";
import type { KubeObject } from "#runtime/kube/types.ts";
import { type Component, COMPONENTS } from "./desired/names.ts";
import type { PodView } from "./pods.ts";
import type { StatusInput, Verdict } from "./status.ts";

const count = z
  .int()
  .nullish()
  .transform((value) => value ?? 0);

const deploymentSchema = z.object({
  metadata: z.object({ generation: z.int().default(1) }),
  status: z
    .object({
      observedGeneration: count,
      replicas: count,
      updatedReplicas: count,
      readyReplicas: count,
      availableReplicas: count,
      conditions: z.array(z.object({ type: z.string(), reason: z.string().nullish() })).nullish(),
    })
    .prefault({}),
});

/** A Deployment as a rollout is judged by. */
export interface WorkloadView {
  /** Pods wanted; nothing when the Deployment does not exist. */
  readonly wanted: number | undefined;
  readonly observed: {
    readonly current: "Yes" | "No";
    readonly replicas: number;
    readonly updatedReplicas: number;
    readonly readyReplicas: number;
    readonly availableReplicas: number;
    /** Reason of the Deployment's own condition Progressing. */
    readonly progress: string;
  };
}

const wantedSchema = z.object({ spec: z.object({ replicas: z.int() }) });

/** The view of a Deployment; zeros for one that does not exist. */
export function toWorkloadView(deployment: KubeObject | undefined): WorkloadView {
  const { metadata, status } = deploymentSchema.parse(deployment ?? { metadata: {} });
  const { observedGeneration, conditions, ...counts } = status;
  return {
    wanted: wantedSchema.safeParse(deployment).data?.spec.replicas,
    observed: {
      ...counts,
      current: observedGeneration >= metadata.generation ? "Yes" : "No",
      progress: conditions?.find((condition) => condition.type === "Progressing")?.reason ?? "",
    },
  };
}

export interface RolloutView {
  readonly verdict: Verdict<"Progressing">;
  /** Why nobody would get an answer, although no rollout is under way. */
  readonly unavailable: string | undefined;
  readonly enforcedPods: number;
  readonly totalPods: number;
}

/** Whether the cluster is on its way to what was accepted: first the Deployments, then what the pods say they run with. */
export function judgeRollout(input: StatusInput): RolloutView {
  const serving = input.pods.filter((pod) => pod.state === "Ready");
  const behind = serving.filter((pod) => !enforces(pod, input));
  const rolling = COMPONENTS.map((component) => rollingText(component, input.workloads[component])).filter(
    (text) => text !== undefined,
  );
  const stuck = COMPONENTS.filter(
    (component) => input.workloads[component].observed.progress === "ProgressDeadlineExceeded",
  );
  return {
    verdict: progressVerdict({ rolling, behind, serving, stuck }),
    unavailable: unavailableText(input),
    enforcedPods: serving.length - behind.length,
    totalPods: serving.length,
  };
}

function progressVerdict(view: {
  readonly rolling: readonly string[];
  readonly behind: readonly PodView[];
  readonly serving: readonly PodView[];
  readonly stuck: readonly Component[];
}): Verdict<"Progressing"> {
  if (view.rolling.length > 0 && view.stuck.length > 0)
    return {
      status: "False",
      reason: "DeadlineExceeded",
      message: `No progress for 600 s: ${view.rolling.join("; ")}`,
    };
  if (view.rolling.length > 0) return { status: "True", reason: "RollingOut", message: view.rolling.join("; ") };
  if (view.behind.length > 0) {
    const message = `${view.behind.length} of ${view.serving.length} pods do not run with the current config and mode yet`;
    return { status: "True", reason: "RollingOut", message };
  }
  return { status: "False", reason: "Complete", message: "Every pod runs with the current spec" };
}

/** A pod enforces what the operator made when it says so. A spec that is not accepted changes the mode alone. */
function enforces(pod: PodView, input: StatusInput): boolean {
  if (pod.enforced?.mode !== input.agent.mode) return false;
  return input.digests === undefined || pod.enforced.configDigest === input.digests[pod.component];
}

function rollingText(component: Component, workload: WorkloadView): string | undefined {
  const { wanted, observed } = workload;
  if (wanted === undefined) return `${component} is not deployed yet`;
  if (observed.current === "No") return `${component} is about to roll out`;
  if (observed.updatedReplicas < wanted)
    return `${component}: ${observed.updatedReplicas} of ${wanted} pods are updated`;
  if (observed.replicas > observed.updatedReplicas)
    return `${component}: ${observed.replicas - observed.updatedReplicas} old pods are still there`;
  const wasComplete = observed.progress === "NewReplicaSetAvailable";
  if (observed.availableReplicas < wanted && !wasComplete)
    return `${component}: ${observed.availableReplicas} of ${wanted} pods are available`;
  return undefined;
}

function unavailableText(input: StatusInput): string | undefined {
  const missing = COMPONENTS.filter((component) => input.workloads[component].observed.availableReplicas === 0);
  return missing.length === 0 ? undefined : `No pod of ${missing.join(" and ")} is available`;
}
