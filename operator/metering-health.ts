import { z } from "zod";
import type { AgentDeploymentStatus } from "#core/api/agent-deployment-status.ts";
import type { Entitlement } from "#core/api/pod-usage.ts";
import { HOUR_MS, parseHourKey } from "#core/time.ts";
import { USAGE_LEDGERS } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import type { Cache } from "./cache.ts";
import type { Settings } from "./config.ts";
import { parsePodUsageSpec } from "./desired/pod-usage.ts";
import type { PodView } from "./pods.ts";
import type { Verdict } from "./status.ts";

/** The last closed hour may have ended this long ago, the oldest open slot as well. */
const BACKLOG_MS = 2 * HOUR_MS;

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
    problems: z.array(z.object({ reason: z.string(), message: z.string() })).default([]),
  }),
});
type LedgerSummary = z.output<typeof ledgerSchema>["spec"];

export interface MeteringFacts {
  readonly ledger: LedgerSummary | undefined;
  readonly offerResourceId: string;
  readonly planId: string;
  /** Grants by pod UID. */
  readonly entitlements: ReadonlyMap<string, Entitlement>;
  /** The meter's clock: wall-clock time and the offset that the reporter hands out. */
  readonly nowMs: number;
}

/** Reads what is known of metering from the caches. */
export function observeMetering(
  pods: readonly PodView[],
  context: { readonly caches: (ref: ResourceRef) => Cache; readonly settings: Settings; readonly nowMs: number },
): MeteringFacts {
  const { settings } = context;
  const ledgers = context
    .caches(USAGE_LEDGERS)
    .list()
    .flatMap((object) => toSummary(object));
  const grants = pods.flatMap((pod) => {
    const grant = parsePodUsageSpec(pod.usage)?.grants;
    return grant ? [{ uid: pod.uid, grant }] : [];
  });
  const offsetSeconds = Math.max(0, ...grants.map(({ grant }) => grant.clockOffsetSeconds));
  return {
    ledger: ledgers.find((ledger) => ledger.offerResourceId === settings.offerResourceId),
    offerResourceId: settings.offerResourceId,
    planId: settings.planId,
    entitlements: new Map(grants.map(({ uid, grant }) => [uid, grant.entitlement])),
    nowMs: context.nowMs + offsetSeconds * 1000,
  };
}

function toSummary(object: KubeObject): LedgerSummary[] {
  const parsed = ledgerSchema.safeParse(object);
  return parsed.success ? [parsed.data.spec] : [];
}

/** The condition and what status copies of the ledger. */
export function judgeMetering(facts: MeteringFacts): {
  readonly verdict: Verdict<"MeteringHealthy">;
  readonly status: Pick<AgentDeploymentStatus, "plan" | "metering">;
} {
  const state = [...facts.entitlements.values()].map((entitlement) => entitlement.state).sort()[0];
  return {
    verdict: verdictOf(facts),
    status: {
      ...(facts.planId === "" ? {} : { plan: { id: facts.planId, state: state ?? "Unknown" } }),
      ...(facts.ledger === undefined || facts.offerResourceId === "plain" ? {} : { metering: meteringOf(facts) }),
    },
  };
}

function meteringOf(facts: MeteringFacts): NonNullable<AgentDeploymentStatus["metering"]> {
  const { ledger } = facts;
  if (!ledger) return {};
  const oldest = ledger.oldestOpenHour ?? undefined;
  return {
    ...(ledger.lastAcceptedHour ? { lastAcceptedHour: ledger.lastAcceptedHour } : {}),
    pendingHours: oldest === undefined ? 0 : Math.max(0, Math.floor((facts.nowMs - parseHourKey(oldest)) / HOUR_MS)),
    rejected: ledger.parked?.length ?? 0,
  };
}

function verdictOf(facts: MeteringFacts): Verdict<"MeteringHealthy"> {
  const { ledger } = facts;
  if (facts.offerResourceId === "plain")
    return {
      status: "True",
      reason: "NotMetered",
      message: "Installed without a Marketplace offer: nothing is billed",
    };
  if (!ledger)
    return { status: "Unknown", reason: "AwaitingFirstHour", message: "The reporter has not opened its ledger yet" };
  const [problem] = ledger.problems;
  if (ledger.mode !== "Marketplace" && problem)
    return { status: "False", reason: "NotMetered", message: problem.message };
  if (ledger.mode !== "Marketplace")
    return { status: "True", reason: "NotMetered", message: `The plan ${ledger.planId} is not metered` };
  return problemOf(facts, ledger) ?? { status: "True", reason: "Posting", message: postingText(ledger) };
}

function problemOf(facts: MeteringFacts, ledger: LedgerSummary): Verdict<"MeteringHealthy"> | undefined {
  if (ledger.parked?.length)
    return {
      status: "False",
      reason: "Rejected",
      message: `Not posted until plan or catalogue change: ${ledger.parked.join(", ")}`,
    };
  const closedMs = facts.nowMs - parseHourKey(ledger.lastClosedHour) - HOUR_MS;
  const openMs = ledger.oldestOpenHour ? facts.nowMs - parseHourKey(ledger.oldestOpenHour) - HOUR_MS : 0;
  const late = closedMs >= BACKLOG_MS || openMs >= BACKLOG_MS;
  const [problem] = ledger.problems;
  if (problem) {
    const reason = problem.reason === "NoCredential" ? "NoCredential" : "Backlog";
    return { status: "False", reason, message: problem.message };
  }
  if (!late) return undefined;
  const hour =
    openMs >= BACKLOG_MS
      ? `the slot ${ledger.oldestOpenHour ?? ""} is open`
      : `the last closed hour is ${ledger.lastClosedHour}`;
  return { status: "False", reason: "Backlog", message: `Usage is not posted in time: ${hour}` };
}

function postingText(ledger: LedgerSummary): string {
  return ledger.lastAcceptedHour
    ? `Closed up to hour ${ledger.lastClosedHour}, last accepted ${ledger.lastAcceptedHour}`
    : `Closed up to hour ${ledger.lastClosedHour}, nothing posted yet`;
}
