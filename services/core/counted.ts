import { type Ledger, type PlanChange, TEAM_LABEL } from "./api/usage-ledger.ts";
import type { PodUsage, PodUsageSpec, PodUsageStatus } from "./api/pod-usage.ts";
import { minOf } from "./shares.ts";
import type { Totals } from "./usage.ts";

/** What the folds need of one PodUsage. Built by toPodView; the fold never sees the Kubernetes object. */
export interface PodView {
  /** The pod's UID and the object's name. */
  readonly uid: string;
  /** namespace/name of its AgentDeployment. */
  readonly agent: string;
  readonly team?: string | undefined;
  readonly createdMs: number;
  readonly reportedMs: number;
  readonly final: boolean;
  /** Base dimensions that the sidecar does not count any more. */
  readonly quarantined?: readonly string[];
  readonly totals: Totals;
  /** Rising hours; totals at the end of each. */
  readonly boundaries: readonly { readonly hour: string; readonly totals: Totals }[];
}

/** The steps of a cycle ask for the same object's view again and again. */
const views = new WeakMap<PodUsage, PodView>();

/**
 * Reads a PodUsage into the shape of the folds; an object that was read never changes. Boundaries are read when asked
 * for: most of a ring never is.
 */
export function toPodView(object: PodUsage): PodView {
  const known = views.get(object);
  if (known) return known;
  const view = readView(object);
  views.set(object, view);
  return view;
}

function readView(object: PodUsage): PodView {
  const status = object.status;
  const boundaries = (status?.boundaries ?? []).map(toBoundary);
  return {
    uid: object.metadata.name,
    agent: `${object.metadata.namespace ?? ""}/${object.spec.agentDeployment}`,
    team: teamOf(object),
    createdMs: instantOf(object.metadata.creationTimestamp),
    reportedMs: instantOf(status?.reportedAt),
    final: status?.final === "Yes",
    quarantined: status?.quarantined ?? [],
    totals: toTotals(status?.totals ?? []),
    boundaries: boundaries.sort((a, b) => (a.hour < b.hour ? -1 : 1)),
  };
}

/** K that is in force for a pod: the reporter's, which grows with the number of pods, else the one it was made with. */
export function checkpointSecondsOf(spec: Pick<PodUsageSpec, "checkpointSeconds" | "grants">): number {
  return spec.grants?.checkpointSeconds ?? spec.checkpointSeconds;
}

/**
 * A pod's total at the end of `hour`: its own boundary, else the next later one, else the newest total. So it never
 * falls from one hour to the next, whatever is missing, and usage without a boundary counts early rather than never.
 */
export function totalAt(pod: PodView, dimension: string, hour: string): bigint {
  return totalsAt(pod, hour).get(dimension) ?? 0n;
}

/** The same for all dimensions. */
export function totalsAt(pod: PodView, hour: string): Totals {
  return (pod.boundaries.find((candidate) => candidate.hour >= hour) ?? pod).totals;
}

/**
 * Counted at the end of `hour` per AgentDeployment (R3): settled pods plus those that live. Tombstoned pods are settled.
 * Up to the hour of a plan change no more than its marks, and in that hour exactly these.
 */
export function countedByAgent(
  ledger: Ledger,
  pods: readonly PodView[],
  at: { readonly dimension: string; readonly hour: string },
): Map<string, bigint> {
  const change = ledger.planChange;
  if (!change || at.hour > change.hour) return countAll(ledger, pods, at);
  const marks = marksOf(change, at.dimension);
  if (at.hour === change.hour) return marks;
  const counted = countAll(ledger, pods, at);
  return new Map([...counted].map(([agent, total]) => [agent, minOf(total, marks.get(agent) ?? 0n)]));
}

function countAll(
  ledger: Ledger,
  pods: readonly PodView[],
  at: { readonly dimension: string; readonly hour: string },
): Map<string, bigint> {
  const counted = new Map<string, bigint>();
  const add = (agent: string, amount: bigint): void => void counted.set(agent, (counted.get(agent) ?? 0n) + amount);
  for (const entry of ledger.settled) if (entry.dimension === at.dimension) add(entry.agent, BigInt(entry.total));
  for (const pod of livePods(ledger, pods)) add(pod.agent, totalAt(pod, at.dimension, at.hour));
  return counted;
}

/** What the old plan may count of a base dimension, by agent. */
export function marksOf(change: PlanChange, dimension: string): Map<string, bigint> {
  const marks = change.marks.filter((mark) => mark.dimension === dimension);
  return new Map(marks.map((mark) => [mark.agent, BigInt(mark.total)]));
}

/** Pods that no tombstone names: nobody is counted both live and settled (I6). */
export function livePods(ledger: Ledger, pods: readonly PodView[]): PodView[] {
  const settled = new Set(ledger.tombstones.map((tombstone) => tombstone.uid));
  return pods.filter((pod) => !settled.has(pod.uid));
}

/** The sum of a map's values. */
export function sumOf(amounts: ReadonlyMap<string, bigint>): bigint {
  let sum = 0n;
  for (const amount of amounts.values()) sum += amount;
  return sum;
}

function teamOf(object: PodUsage): string | undefined {
  const team = object.metadata.labels?.[TEAM_LABEL];
  return team === "" ? undefined : team;
}

function toBoundary(boundary: NonNullable<PodUsageStatus["boundaries"]>[number]): PodView["boundaries"][number] {
  let read: Totals | undefined;
  return {
    hour: boundary.hour,
    get totals() {
      return (read ??= toTotals(boundary.totals));
    },
  };
}

function toTotals(list: readonly { readonly dimension: string; readonly total: string }[]): Totals {
  return new Map(list.map(({ dimension, total }) => [dimension, BigInt(total)]));
}

function instantOf(text: string | undefined): number {
  const instant = text === undefined ? 0 : Date.parse(text);
  return Number.isNaN(instant) ? 0 : instant;
}
