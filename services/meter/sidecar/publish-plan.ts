import type { PodUsage, PodUsageStatus } from "#core/api/pod-usage.ts";
import { crc32c } from "#core/crc32c.ts";

/** When the next checkpoint is due; changed in place by the loop that owns it. */
export interface PublishPlan {
  /** In [0, 1), from the pod's UID: pods of one node must not write in the same second. */
  readonly phase: number;
  published: { readonly status: PodUsageStatus; readonly monotonicMs: number } | undefined;
  /** The clock jumped: the reporter waits for our boundary. */
  isUrgent: boolean;
  /** When a boundary that is not published yet was first seen. */
  boundarySeenMs: number | undefined;
}

/** At most this long after an hour's end a natural boundary is published: within the grace, spread over pods. */
const BOUNDARY_SPREAD_MAX_MS = 30_000;
/** Between two checkpoints that only tell what the service runs with. */
const ECHO_MIN_MS = 1_000;

/** The plan of a sidecar that has published nothing yet. */
export function publishPlan(uid: string): PublishPlan {
  const phase = crc32c(new TextEncoder().encode(uid)) / 2 ** 32;
  return { phase, published: undefined, isUrgent: false, boundarySeenMs: undefined };
}

/**
 * Due: the first time; when the service runs with something else than it said; at each hour boundary, changed or not; every
 * K when something changed. Without a PodUsage never.
 */
export function isPublishDue(
  plan: PublishPlan,
  facts: { readonly usage: PodUsage | undefined; readonly monotonicMs: number; readonly status: PodUsageStatus },
): boolean {
  const { usage, status, monotonicMs } = facts;
  if (!usage) return false;
  const { published } = plan;
  if (!published || usage.status === undefined) return true;
  const sinceMs = monotonicMs - published.monotonicMs;
  const checkpointMs = usage.spec.checkpointSeconds * 1000;
  if (isBoundaryDue(plan, { ...facts, published: published.status, checkpointMs })) return true;
  if (isEchoDifferent(status, published.status)) return sinceMs >= ECHO_MIN_MS;
  return sinceMs >= checkpointMs && isDifferent(status, published.status);
}

/** Notes what the API server holds now. */
export function rememberPublished(
  plan: PublishPlan,
  published: { readonly status: PodUsageStatus; readonly monotonicMs: number },
): void {
  plan.published = published;
  plan.isUrgent = false;
  plan.boundarySeenMs = undefined;
}

function isBoundaryDue(
  plan: PublishPlan,
  facts: { status: PodUsageStatus; published: PodUsageStatus; monotonicMs: number; checkpointMs: number },
): boolean {
  if (newestHour(facts.status) === newestHour(facts.published)) return false;
  if (plan.isUrgent) return true;
  plan.boundarySeenMs ??= facts.monotonicMs;
  const spreadMs = plan.phase * Math.min(BOUNDARY_SPREAD_MAX_MS, facts.checkpointMs / 2);
  return facts.monotonicMs - plan.boundarySeenMs >= spreadMs;
}

function newestHour(status: PodUsageStatus): string {
  return (status.boundaries ?? []).reduce((newest, { hour }) => (hour > newest ? hour : newest), "");
}

function isEchoDifferent(a: PodUsageStatus, b: PodUsageStatus): boolean {
  const echo = (status: PodUsageStatus): string =>
    JSON.stringify([status.enforced, status.quarantined, (status.leases ?? []).map(({ ack }) => ack)]);
  return echo(a) !== echo(b);
}

function isDifferent(a: PodUsageStatus, b: PodUsageStatus): boolean {
  const content = (status: PodUsageStatus): string => JSON.stringify({ ...status, sequence: "", reportedAt: "" });
  return content(a) !== content(b);
}
