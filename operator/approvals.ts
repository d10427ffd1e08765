import { z } from "zod";
import { API_VERSION } from "#core/api/meta.ts";
import type { Clock } from "#runtime/clock.ts";
import { microTime } from "#runtime/kube/lease.ts";
import { AGENT_DEPLOYMENTS, APPROVALS } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import type { Cache } from "./cache.ts";
import type { Cluster } from "./kube.ts";

/** Evidence is kept this long after the last instant of its decision (docs/agentdeployment.md, Approvals). */
const RETENTION_MS = 90 * 86_400_000;
/** Looking costs no request: the watch keeps the cache. */
const LOOK_MS = 2_000;
/** After a restart nobody needs to be told of what is older: events themselves live no longer. */
const NEWS_MS = 3_600_000;
const DELETIONS_PER_LOOK_MAX = 100;

const approvalSchema = z.object({
  metadata: z.object({ name: z.string(), namespace: z.string(), uid: z.string(), creationTimestamp: z.string() }),
  spec: z.object({
    request: z.object({
      agentDeployment: z.string(),
      server: z.string(),
      tool: z.string(),
      expiresAt: z.string(),
    }),
    decision: z
      .object({ verdict: z.enum(["Approve", "Deny"]), decidedBy: z.string(), decidedAt: z.string() })
      .optional(),
  }),
});
type Approval = z.output<typeof approvalSchema>;

interface News {
  readonly reason: "ApprovalRequested" | "ApprovalGranted" | "ApprovalDenied" | "ApprovalExpired";
  readonly type: "Normal" | "Warning";
  readonly atMs: number;
  readonly note: string;
}

export interface ApprovalTending {
  readonly caches: (ref: ResourceRef) => Cache;
  readonly cluster: Pick<Cluster, "writeEvent" | "deleteApproval">;
  readonly clock: Clock;
  /** The operator's pod. */
  readonly instance: string;
  readonly log: { warn(fields: object, message: string): void };
}

/** Tells an agent's people by Events what it asks and what was decided, and deletes what has been kept long enough. Until the signal; never throws. */
export async function tendApprovals(options: ApprovalTending, signal: AbortSignal): Promise<void> {
  const told = new Set<string>();
  while (!signal.aborted) {
    await tendOnce(options, told);
    await options.clock.sleep(LOOK_MS, signal).catch(() => undefined);
  }
}

/** One look. `told` holds what has been said of the objects that are there, and no more. */
export async function tendOnce(options: ApprovalTending, told: Set<string>): Promise<void> {
  const nowMs = options.clock.now();
  const present = new Set<string>();
  let deletions = 0;
  for (const object of options.caches(APPROVALS).list()) {
    const approval = approvalSchema.safeParse(object).data;
    if (!approval) continue;
    if (nowMs > Date.parse(approval.spec.request.expiresAt) + RETENTION_MS) {
      deletions += 1;
      if (deletions <= DELETIONS_PER_LOOK_MAX)
        await attempt(options, approval, () => options.cluster.deleteApproval(object));
      continue;
    }
    const news = newsOf(approval, nowMs);
    const key = `${approval.metadata.uid}/${news.reason}`;
    present.add(key);
    if (!told.has(key) && nowMs - news.atMs < NEWS_MS)
      await attempt(options, approval, () => tell(options, approval, news));
  }
  told.clear();
  for (const key of present) told.add(key);
}

async function attempt(options: ApprovalTending, { metadata }: Approval, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (err) {
    options.log.warn({ err, namespace: metadata.namespace, name: metadata.name }, "Failed to tend Approval");
  }
}

function newsOf({ metadata, spec }: Approval, nowMs: number): News {
  const { request, decision } = spec;
  const what = `Approval ${metadata.name} of ${request.server}/${request.tool}`;
  if (decision) {
    const isGranted = decision.verdict === "Approve";
    return {
      reason: isGranted ? "ApprovalGranted" : "ApprovalDenied",
      type: "Normal",
      atMs: Date.parse(decision.decidedAt),
      note: `${what} was ${isGranted ? "granted" : "denied"} by ${decision.decidedBy}`,
    };
  }
  const expiresAtMs = Date.parse(request.expiresAt);
  if (nowMs >= expiresAtMs)
    return {
      reason: "ApprovalExpired",
      type: "Warning",
      atMs: expiresAtMs,
      note: `${what} was decided by nobody in time`,
    };
  return {
    reason: "ApprovalRequested",
    type: "Normal",
    atMs: Date.parse(metadata.creationTimestamp),
    note: `${what} waits for a person until ${request.expiresAt}`,
  };
}

/** At the agent, where people look; nothing when the agent is gone. */
async function tell(options: ApprovalTending, approval: Approval, news: News): Promise<void> {
  const { clock, caches, cluster } = options;
  const { name, namespace, uid } = approval.metadata;
  const agent = caches(AGENT_DEPLOYMENTS).get({ namespace, name: approval.spec.request.agentDeployment });
  if (!agent) return;
  const eventTime = microTime(clock.now());
  const metadata = { name: `${name}.${news.reason.toLowerCase()}`, namespace };
  const head = { apiVersion: "events.k8s.io/v1", kind: "Event", metadata };
  const event: KubeObject = {
    ...head,
    eventTime,
    action: "Approve",
    reason: news.reason,
    type: news.type,
    reportingController: "supercargo.dev/operator",
    reportingInstance: options.instance.slice(0, 128),
    regarding: {
      apiVersion: API_VERSION,
      kind: "AgentDeployment",
      namespace,
      name: agent.metadata.name,
      uid: agent.metadata.uid,
    },
    related: { apiVersion: API_VERSION, kind: "Approval", namespace, name, uid },
    note: news.note.slice(0, 1024),
  };
  await cluster.writeEvent(event, { ...head, series: { count: 2, lastObservedTime: eventTime } });
}
