import type { PlanFeatures } from "./api/plan-features.ts";
import type { Entitlement, Grants, PodUsageSpec } from "./api/pod-usage.ts";
import type { Ledger } from "./api/usage-ledger.ts";
import { checkpointSecondsOf } from "./counted.ts";
import { COUNT_MAX } from "./ledger.ts";
import type { Plan } from "./plan.ts";
import { toIso } from "./time.ts";

/** What the reporter knows when it writes grants. */
export interface GrantTerms {
  readonly mode: Ledger["mode"];
  readonly planId: string;
  /** What the catalogue says of the plan; nothing: it does not know it. Meaningless in plain mode. */
  readonly plan: Pick<Plan, "features"> | undefined;
  readonly lifeSeconds: number;
  readonly offsetSeconds: number;
  readonly term: number;
  readonly nowMs: number;
  /** K as it was set. */
  readonly checkpointSeconds: number;
  /** Pods that publish: their number makes K longer. */
  readonly podCount: number;
  /** Base dimensions that the plan limits. */
  readonly limited: readonly string[];
}

/** 20 writes a second are what metering may ask of an API server, however many pods there are (docs/metering.md). */
const PODS_PER_CHECKPOINT_SECOND = 20;
const CHECKPOINT_SECONDS_MAX = 3600;
/** K changes only when the wanted one is further off than this, so that a pod more or less writes nothing. */
const HYSTERESIS_PERCENT = 20;

/** Adaptive K: `max(setting, pods / 20)` seconds, kept while it is within 20 % of what is in force. */
export function adaptCheckpointSeconds(
  current: number,
  terms: Pick<GrantTerms, "checkpointSeconds" | "podCount">,
): number {
  const perPods = Math.ceil(terms.podCount / PODS_PER_CHECKPOINT_SECOND);
  const wanted = Math.min(CHECKPOINT_SECONDS_MAX, Math.max(terms.checkpointSeconds, perPods));
  // Back at the setting there is nothing left to adapt to, however small the step.
  if (wanted === terms.checkpointSeconds) return wanted;
  return Math.abs(wanted - current) * 100 > current * HYSTERESIS_PERCENT ? wanted : current;
}

/**
 * What a plan entitles to. Features are always written, if only as `{}`: what an older plan bounded must not stay in force.
 * Unknown means that this version's catalogue has no such plan: no price and no limit of it is known.
 */
export function entitledBy(
  plan: Pick<Plan, "features"> | undefined,
  isPlain: boolean,
): Required<Pick<Entitlement, "state" | "features">> {
  return { state: isPlain || plan ? "Active" : "Unknown", features: toFeatures(plan?.features ?? {}) };
}

/** In one order, without what is not there: equal features are equal texts. */
function toFeatures({ requestsPerMinute, models, routes, tools }: PlanFeatures): PlanFeatures {
  return {
    ...(requestsPerMinute === undefined ? {} : { requestsPerMinute }),
    ...(models === undefined ? {} : { models }),
    ...(routes === undefined ? {} : { routes }),
    ...(tools === undefined ? {} : { tools }),
  };
}

function isSame(a: PlanFeatures | undefined, b: PlanFeatures | undefined): boolean {
  return JSON.stringify(a && toFeatures(a)) === JSON.stringify(b && toFeatures(b));
}

/** Whether a pod's grant must be written: something differs, or half of its life is over. */
export function grantDue(spec: PodUsageSpec, terms: GrantTerms): boolean {
  const current = spec.grants;
  if (!current) return true;
  const wanted = toGrants(terms, spec);
  const leftMs = Date.parse(current.entitlement.validUntil) - terms.nowMs;
  return (
    current.entitlement.state !== wanted.entitlement.state ||
    current.entitlement.planId !== wanted.entitlement.planId ||
    !isSame(current.entitlement.features, wanted.entitlement.features) ||
    current.clockOffsetSeconds !== wanted.clockOffsetSeconds ||
    (current.leases ?? []).some((lease) => isReleased(lease, terms)) ||
    checkpointSecondsOf(spec) !== checkpointSecondsOf({ ...spec, grants: wanted }) ||
    !(leftMs >= terms.lifeSeconds * 500)
  );
}

/**
 * The grant of one pod. The offset never falls; leases that are not given anew stay as they are. A lease of a dimension
 * that the plan limits no more is raised beyond reach: two field managers own the list, so ours alone cannot empty it.
 * A pod that has no lease of a limited dimension yet gets the ceiling 0: with none at all it would count without end.
 */
export function toGrants(terms: GrantTerms, spec: PodUsageSpec, upTo: ReadonlyMap<string, bigint> = new Map()): Grants {
  const current = spec.grants;
  const checkpointSeconds = adaptCheckpointSeconds(checkpointSecondsOf(spec), terms);
  const leases = toLeases(current?.leases ?? [], upTo, terms.limited);
  return {
    term: terms.term,
    entitlement: {
      ...entitledBy(terms.plan, terms.mode === "Plain"),
      planId: terms.planId,
      validUntil: toIso(terms.nowMs + terms.lifeSeconds * 1000),
    },
    clockOffsetSeconds: Math.max(terms.offsetSeconds, current?.clockOffsetSeconds ?? 0),
    ...(checkpointSeconds === spec.checkpointSeconds ? {} : { checkpointSeconds }),
    ...(leases.length === 0 ? {} : { leases }),
  };
}

function toLeases(
  current: NonNullable<Grants["leases"]>,
  upTo: ReadonlyMap<string, bigint>,
  limited: readonly string[],
): NonNullable<Grants["leases"]> {
  const ceilings = new Map(
    current.map((lease) => [lease.dimension, limited.includes(lease.dimension) ? lease.upTo : COUNT_MAX.toString()]),
  );
  for (const dimension of limited) if (!ceilings.has(dimension)) ceilings.set(dimension, "0");
  for (const [dimension, ceiling] of upTo) ceilings.set(dimension, ceiling.toString());
  return [...ceilings].map(([dimension, ceiling]) => ({ dimension, upTo: ceiling }));
}

function isReleased(lease: { readonly dimension: string; readonly upTo: string }, terms: GrantTerms): boolean {
  return !terms.limited.includes(lease.dimension) && lease.upTo !== COUNT_MAX.toString();
}
