import type { AgentDeploymentStatus } from "#core/api/agent-deployment-status.ts";
import type { Clock } from "#runtime/clock.ts";
import { AGENT_DEPLOYMENTS } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import type { Logger } from "#runtime/log.ts";
import { type Problem, secretProblems, unsupportedFields } from "./accept.ts";
import type { Cache } from "./cache.ts";
import { sha256 } from "./canonical.ts";
import type { Settings } from "./config.ts";
import { applyControls } from "./control.ts";
import type { ClusterFacts } from "./desired/input.ts";
import type { Component, DesiredObject } from "./desired/names.ts";
import { desiredObjects } from "./desired/objects.ts";
import { secretKeys } from "./desired/volumes.ts";
import { diffChildren } from "./diff.ts";
import type { Recorder } from "./events.ts";
import type { Cluster } from "./kube.ts";
import { observeMetering } from "./metering-facts.ts";
import { type Agent, observeChildren, observeDeployment, parseAgent } from "./observe.ts";
import { observePods, podUsageOwners, type PodView } from "./pods.ts";
import { observeReferences, type References } from "./references.ts";
import { nextLookMs } from "./requeue.ts";
import { toWorkloadView } from "./rollout.ts";
import { observeUsage } from "./usage-view.ts";
import { changedConditions, computeStatus, isSameStatus, parseStatus, statusObject } from "./status.ts";

/** The kubelet repeats a FailedMount at least every two minutes. */
const MOUNT_PROBLEM_MS = 300_000;
/** One status write per second and object. */
const STATUS_WRITE_MS = 1_000;

export interface ReconcileContext {
  readonly caches: (ref: ResourceRef) => Cache;
  readonly cluster: Cluster;
  readonly facts: ClusterFacts;
  readonly settings: Settings;
  readonly clock: Clock;
  readonly log: Logger;
  readonly recorder: Recorder;
  /** Instants of the newest status write, by key. */
  readonly statusWrites: Map<string, number>;
}

/** What one pass has found out; each step adds to it. */
interface Pass {
  readonly agent: Agent;
  readonly problems: Problem[];
  references: References | undefined;
  desired: readonly DesiredObject[] | undefined;
  digests: Readonly<Record<Component, string>> | undefined;
  pods: readonly PodView[];
}

type Step = (pass: Pass, context: ReconcileContext) => Promise<void>;

/** Observe and decide, then act: the mode and the revoked keys first, as they must not wait for anything. */
const STEPS: readonly Step[] = [decide, control, applyChildren, observe];

/** Brings one agent nearer to what its spec says. Level-triggered and idempotent; returns when to look again. */
export async function reconcileAgent(
  key: string,
  context: ReconcileContext,
): Promise<{ readonly requeueAfterMs: number } | undefined> {
  const [namespace = "", name = ""] = key.split("/");
  const object = context.caches(AGENT_DEPLOYMENTS).get({ namespace, name });
  // Its children are owned: the garbage collector takes them.
  if (!object || object.metadata.deletionTimestamp !== undefined) {
    context.recorder.forget(key);
    context.statusWrites.delete(key);
    return undefined;
  }
  const pass: Pass = {
    agent: parseAgent(object),
    problems: [],
    references: undefined,
    desired: undefined,
    digests: undefined,
    pods: [],
  };
  pass.pods = observePods(pass.agent, context.caches);
  for (const step of STEPS) await step(pass, context);
  return report(pass, context);
}

/** Whether the spec can be served, and what follows from it. */
async function decide(pass: Pass, context: ReconcileContext): Promise<void> {
  const { agent } = pass;
  const { spec } = agent;
  if (!spec) {
    pass.problems.push({ reason: "InvalidSpec", message: agent.specProblem ?? "", blocking: "Yes" });
    return;
  }
  const { cluster, settings, facts } = context;
  const references = await observeReferences({ ...agent, spec }, { cluster, settings });
  pass.references = references;
  pass.problems.push(...unsupportedFields(spec), ...references.problems);
  if (pass.problems.some((problem) => problem.blocking === "Yes")) return;
  const { instructions, peers } = references;
  const usages = podUsageOwners(pass.pods);
  const { objects, digests } = desiredObjects({ agent, spec, settings, cluster: facts, instructions, peers, usages });
  pass.desired = objects;
  pass.digests = digests;
}

async function control(pass: Pass, context: ReconcileContext): Promise<void> {
  await applyControls({ agent: pass.agent, pods: pass.pods, digests: pass.digests }, context);
}

/** A spec that is not accepted leaves the children as the last accepted one made them. */
async function applyChildren(pass: Pass, context: ReconcileContext): Promise<void> {
  if (!pass.desired) return;
  const { log, cluster, caches } = context;
  const { namespace, name, generation } = pass.agent;
  for (const action of diffChildren(pass.desired, observeChildren(pass.agent, caches))) {
    const { object, refused } = await cluster.act(action);
    const { kind } = action.desired.ref;
    const child = action.kind === "Apply" ? action.desired.object.metadata.name : action.live.metadata.name;
    if (refused) {
      const message = `${kind} ${child} was refused: ${refused.message}`;
      pass.problems.push({ reason: "InvalidSpec", message, blocking: "No" });
      continue;
    }
    if (object) caches(action.desired.ref).remember(object);
    log.info({ namespace, name, generation, kind, child }, action.kind === "Apply" ? "Applied child" : "Deleted child");
  }
}

/** Looks again after acting, and asks the kubelet's events why a pod does not start. */
async function observe(pass: Pass, context: ReconcileContext): Promise<void> {
  pass.pods = observePods(pass.agent, context.caches);
  const { spec } = pass.agent;
  if (!spec) return;
  for (const pod of pass.pods.filter((candidate) => candidate.state === "Waiting")) {
    const since = context.clock.now() - MOUNT_PROBLEM_MS;
    const problems = await context.cluster.mountProblems(pod);
    const messages = problems
      .filter((problem) => Date.parse(problem.lastSeenAt) >= since)
      .map(({ message }) => message);
    const found = secretProblems(messages, secretKeys({ spec }, pod.component));
    pass.problems.push(...found.filter((problem) => !pass.problems.some((other) => other.message === problem.message)));
  }
}

/** Computes the status from what is there now and writes it if it differs. */
async function report(pass: Pass, context: ReconcileContext): Promise<{ readonly requeueAfterMs: number }> {
  const { agent, pods, problems, digests } = pass;
  const { caches, settings, clock } = context;
  const metering = observeMetering(pods, { caches, settings, nowMs: clock.now() });
  const status = computeStatus({
    agent,
    problems,
    pods,
    digests,
    metering,
    usage: observeUsage(agent, { caches, offerResourceId: settings.offerResourceId }),
    workloads: {
      gateway: toWorkloadView(observeDeployment(agent, "gateway", caches)),
      orchestrator: toWorkloadView(observeDeployment(agent, "orchestrator", caches)),
    },
    references: pass.references?.hashes ?? [],
    clusterDomain: settings.clusterDomain,
    configHash: digests === undefined ? undefined : sha256(`${digests.gateway}${digests.orchestrator}`),
    nowMs: clock.now(),
  });
  const waitMs = await writeStatus(agent, status, context);
  const lookMs = nextLookMs({ problems, pods, metering, spec: agent.spec });
  return { requeueAfterMs: waitMs === undefined ? lookMs : Math.min(waitMs, lookMs) };
}

/** Returns how long to wait when the newest write is too fresh. */
async function writeStatus(
  agent: Agent,
  status: AgentDeploymentStatus,
  context: ReconcileContext,
): Promise<number | undefined> {
  const before = parseStatus(agent.object);
  if (isSameStatus(before, status)) return undefined;
  const { clock, cluster, caches, statusWrites } = context;
  const elapsedMs = clock.monotonic() - (statusWrites.get(agent.key) ?? -Infinity);
  if (elapsedMs < STATUS_WRITE_MS) return STATUS_WRITE_MS - elapsedMs;
  statusWrites.set(agent.key, clock.monotonic());
  const written: KubeObject | undefined = await cluster.applyStatus(statusObject(agent, status));
  if (!written) return undefined;
  caches(AGENT_DEPLOYMENTS).remember(written);
  await context.recorder.record(cluster, agent, changedConditions(before, status));
  return undefined;
}
