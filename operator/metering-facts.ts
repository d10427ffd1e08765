import { z } from "zod";
import { type Entitlement, podUsageSchema } from "#core/api/pod-usage.ts";
import { checkpointSecondsOf, toPodView } from "#core/counted.ts";
import { isSilent } from "#core/problems.ts";
import { USAGE_LEDGERS } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import type { Cache } from "./cache.ts";
import type { Settings } from "./config.ts";
import { parsePodUsageSpec } from "./desired/pod-usage.ts";
import type { PodView } from "./pods.ts";

/** The scrape interval of the sidecars. */
const SCRAPE_SECONDS = 5;

/** The summary that the reporter publishes in its ledger. */
const ledgerSchema = z.object({
  spec: z.object({
    offerResourceId: z.string(),
    mode: z.enum(["Marketplace", "Plain", "Silent"]),
    planId: z.string(),
    lastClosedHour: z.string(),
    oldestOpenHour: z.string().nullish(),
    lastAcceptedHour: z.string().nullish(),
    parked: z.array(z.string()).nullish(),
    nearLimits: z.array(z.object({ dimension: z.string(), softPercent: z.number() })).nullish(),
    problems: z.array(z.object({ reason: z.string(), message: z.string() })).default([]),
    accounts: z.array(z.object({ dimension: z.string(), oldestUnpostedHour: z.string().nullish() })).default([]),
  }),
});
export type LedgerSummary = z.output<typeof ledgerSchema>["spec"];

export interface MeteringFacts {
  readonly ledger: LedgerSummary | undefined;
  readonly offerResourceId: string;
  readonly planId: string;
  /** Grants by pod UID. */
  readonly entitlements: ReadonlyMap<string, Entitlement>;
  /** This agent's pods whose usage is not counted as it should be. */
  readonly pods: PodFindings;
  /** The meter's clock: wall-clock time and the offset that the reporter hands out. */
  readonly nowMs: number;
}

export interface PodFindings {
  /** `pod dimension`: a counter fell or vanished. */
  readonly quarantined: readonly string[];
  /** Names of pods that have not told an hour's total for too long. */
  readonly silent: readonly string[];
}

/** Reads what is known of metering from the caches. */
export function observeMetering(
  pods: readonly PodView[],
  context: { readonly caches: (ref: ResourceRef) => Cache; readonly settings: Settings; readonly nowMs: number },
): MeteringFacts {
  const { settings } = context;
  const ledgers = context.caches(USAGE_LEDGERS).list().map(summaryOf);
  const grants = pods.flatMap((pod) => {
    const grant = parsePodUsageSpec(pod.usage)?.grants;
    return grant ? [{ uid: pod.uid, grant }] : [];
  });
  const offsetSeconds = Math.max(0, ...grants.map(({ grant }) => grant.clockOffsetSeconds));
  const nowMs = context.nowMs + offsetSeconds * 1000;
  return {
    ledger: ledgers.find((ledger) => ledger?.offerResourceId === settings.offerResourceId) ?? undefined,
    offerResourceId: settings.offerResourceId,
    planId: settings.planId,
    entitlements: new Map(grants.map(({ uid, grant }) => [uid, grant.entitlement])),
    pods: findInPods(pods, nowMs),
    nowMs,
  };
}

/** A ledger is large and read for every agent: it is parsed once. */
const summaries = new WeakMap<KubeObject, LedgerSummary | null>();

function summaryOf(object: KubeObject): LedgerSummary | null {
  const known = summaries.get(object);
  if (known !== undefined) return known;
  const summary = ledgerSchema.safeParse(object).data?.spec ?? null;
  summaries.set(object, summary);
  return summary;
}

function findInPods(pods: readonly PodView[], nowMs: number): PodFindings {
  const usages = pods.flatMap((pod) => {
    const usage = podUsageSchema.safeParse(pod.usage).data;
    return usage ? [{ name: pod.name, usage }] : [];
  });
  const silent = usages.filter(({ usage }) => {
    const graceMs = (2 * checkpointSecondsOf(usage.spec) + SCRAPE_SECONDS) * 1000;
    return isSilent(toPodView(usage), { nowMs, graceMs });
  });
  return {
    quarantined: usages.flatMap(({ name, usage }) => (usage.status?.quarantined ?? []).map((one) => `${name} ${one}`)),
    silent: silent.map(({ name }) => name),
  };
}
