import type { PodUsage, PodUsageStatus } from "#core/api/pod-usage.ts";
import { checkpointSecondsOf } from "#core/counted.ts";
import { crc32c } from "#core/crc32c.ts";

/** When the next checkpoint is due; changed in place by the loop that owns it. */
export interface PublishPlan {
  /** In [0, 1), from the pod's UID: pods must not write in the same second. */
  readonly phase: number;
  published: { readonly status: PodUsageStatus; readonly monotonicMs: number } | undefined;
  /** The clock jumped: the reporter waits for our boundary. */
  isUrgent: boolean;
  /** When a boundary that is not published yet was first seen. */
  boundarySeenMs: number | undefined;
  /** Writes that failed since the last one that arrived, and until when the API server is left alone. */
  failures: number;
  notBeforeMs: number;
}

/** What decides about a checkpoint. */
export interface PublishFacts {
  readonly usage: PodUsage | undefined;
  readonly monotonicMs: number;
  readonly status: PodUsageStatus;
}

/** Between two checkpoints that only tell what the service runs with or asks for. */
const ECHO_MIN_MS = 1_000;
/** After the first failed write; doubled by each further one, up to K. */
const RETRY_MIN_MS = 5_000;

/** The plan of a sidecar that has published nothing yet. */
export function publishPlan(uid: string): PublishPlan {
  return {
    phase: phaseOf(uid),
    published: undefined,
    isUrgent: false,
    boundarySeenMs: undefined,
    failures: 0,
    notBeforeMs: 0,
  };
}

/** A pod's place in [0, 1) among all pods, by a hash of its UID. */
export function phaseOf(uid: string): number {
  return crc32c(new TextEncoder().encode(uid)) / 2 ** 32;
}

/**
 * Due: the first time; when the service runs with something else than it said, or asks for more than its ceiling; at each
 * hour boundary, changed or not; every K when something changed. Without a PodUsage never, and not while a failed write
 * waits: totals are cumulative, so a skipped checkpoint is free.
 */
export function isPublishDue(plan: PublishPlan, facts: PublishFacts): boolean {
  const { usage, status, monotonicMs } = facts;
  if (!usage || monotonicMs < plan.notBeforeMs) return false;
  const { published } = plan;
  if (!published || usage.status === undefined) return true;
  const checkpointMs = checkpointSecondsOf(usage.spec) * 1000;
  if (isBoundaryDue(plan, { ...facts, published: published.status, checkpointMs })) return true;
  const sinceMs = monotonicMs - published.monotonicMs;
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
  plan.failures = 0;
  plan.notBeforeMs = 0;
}

/** Notes a write that failed: the next waits twice as long, at most K, and at least as long as the server asked for. */
export function rememberFailure(
  plan: PublishPlan,
  failure: { readonly monotonicMs: number; readonly checkpointMs: number; readonly retryAfterMs: number | undefined },
): void {
  plan.failures += 1;
  const ceilingMs = Math.max(RETRY_MIN_MS, failure.checkpointMs);
  const delayMs = Math.min(RETRY_MIN_MS * 2 ** Math.min(plan.failures - 1, 16), ceilingMs);
  const askedMs = Math.min(failure.retryAfterMs ?? 0, ceilingMs);
  plan.notBeforeMs = failure.monotonicMs + Math.max(delayMs * (0.75 + plan.phase / 4), askedMs);
}

/** A natural boundary is spread over K: it must come within the grace of 2K + S, and all pods see it in the same second. */
function isBoundaryDue(
  plan: PublishPlan,
  facts: PublishFacts & { readonly published: PodUsageStatus; readonly checkpointMs: number },
): boolean {
  if (newestHour(facts.status) === newestHour(facts.published)) return false;
  if (plan.isUrgent) return true;
  plan.boundarySeenMs ??= facts.monotonicMs;
  return facts.monotonicMs - plan.boundarySeenMs >= plan.phase * facts.checkpointMs;
}

function newestHour(status: PodUsageStatus): string {
  return (status.boundaries ?? []).reduce((newest, { hour }) => (hour > newest ? hour : newest), "");
}

function isEchoDifferent(now: PodUsageStatus, published: PodUsageStatus): boolean {
  const echo = (status: PodUsageStatus): string =>
    JSON.stringify([
      status.enforced,
      status.quarantined,
      (status.leases ?? []).map(({ dimension, ack }) => [dimension, ack]),
    ]);
  return echo(now) !== echo(published) || isNewlyShort(now, published);
}

/** The service asks for more than its ceiling in a dimension where it had enough: a pod that refuses must not wait for K. */
function isNewlyShort(now: PodUsageStatus, published: PodUsageStatus): boolean {
  const short = (status: PodUsageStatus): string[] =>
    (status.leases ?? []).filter(({ want, ack }) => BigInt(want) > BigInt(ack)).map(({ dimension }) => dimension);
  const before = short(published);
  return short(now).some((dimension) => !before.includes(dimension));
}

function isDifferent(a: PodUsageStatus, b: PodUsageStatus): boolean {
  const content = (status: PodUsageStatus): string => JSON.stringify({ ...status, sequence: "", reportedAt: "" });
  return content(a) !== content(b);
}
