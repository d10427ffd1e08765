import { Counter, Gauge, type Registry } from "prom-client";
import { oldestUnposted, viewAccounts } from "#core/account-view.ts";
import type { PodUsage } from "#core/api/pod-usage.ts";
import { type Ledger, PROBLEM_REASONS } from "#core/api/usage-ledger.ts";
import { checkpointSecondsOf, livePods, toPodView } from "#core/counted.ts";
import { openSlots } from "#core/ledger.ts";
import { METRICS } from "#core/metric-names.ts";
import type { PostAnswer } from "#core/outcome.ts";
import { isSilent } from "#core/problems.ts";
import { parseHourKey } from "#core/time.ts";
import type { ListAnswer, Memory, Terms } from "./desk.ts";

export interface ReporterMetrics {
  leading(isLeader: boolean): void;
  posted(answer: PostAnswer, nowMs: number): void;
  listed(answer: ListAnswer): void;
  accepted(slot: { readonly dimension: string }, units: number): void;
  /** After each cycle of the leader. */
  cycle(seen: Seen): void;
  skewMs(skewMs: number): void;
}

export interface Seen {
  readonly ledger: Ledger;
  readonly pods: readonly PodUsage[];
  readonly memory: Pick<Memory, "retention" | "leases">;
  readonly nowMs: number;
  /** How long a pod may take to tell an hour's total. */
  readonly graceMs: number;
}

/** Answers that have a name of their own in the metric; anything else is `other`, so that the label set stays bounded. */
const STATUSES = new Set([
  "Accepted",
  "Duplicate",
  "Expired",
  "Error",
  "ResourceNotFound",
  "ResourceNotAuthorized",
  "ResourceNotActive",
  "InvalidDimension",
  "InvalidQuantity",
  "BadArgument",
  "NoAnswer",
]);

/** What an SRE must see of the reporter (docs/operations.md): what is open, what waits, what is wrong, what was accepted. */
export function createReporterMetrics(registry: Registry, terms: Terms): ReporterMetrics {
  const make = maker(registry);
  const leader = make.gauge(METRICS.leaderStatus, "1 while this process leads.", ["name"]);
  const skew = make.gauge(METRICS.reporterClockSkewSeconds, "This node's clock less the API server's.");
  const lastAnswer = make.gauge(METRICS.reporterLastAnswer, "When Azure last answered a post; 0 for not yet.");
  const posts = make.counter(METRICS.reporterPosts, "Answers to usage events by status.", ["status"]);
  const lists = make.counter(METRICS.reporterLists, "Answers to the list of usage events.", ["result"]);
  const units = make.counter(METRICS.reporterAcceptedUnits, "Units that Azure accepted, seen by this process.", [
    "dimension",
  ]);
  const info = make.gauge(METRICS.reporterMode, "How usage is reported.", ["mode", "plan"]);
  info.set({ mode: terms.mode, plan: terms.planId }, 1);
  make.gauge(METRICS.catalogueInfo, "The catalogue in force.", ["digest"]).set({ digest: terms.catalogueDigest }, 1);
  leader.set({ name: "supercargo-reporter" }, 0);
  const showHours = hourGauges(make);
  const showAccounts = accountGauges(make);
  const showProblems = problemGauges(make);
  const showPods = podGauges(make);
  const showLimits = limitGauges(make, terms);
  return {
    leading: (isLeader) => leader.set({ name: "supercargo-reporter" }, isLeader ? 1 : 0),
    posted(answer, nowMs) {
      posts.inc({ status: STATUSES.has(answer.status) ? answer.status : "other" });
      if (answer.httpStatus > 0) lastAnswer.set(nowMs / 1000);
    },
    listed: (answer) => lists.inc({ result: listResult(answer) }),
    accepted: (slot, accepted) => units.inc({ dimension: slot.dimension }, accepted),
    cycle(seen) {
      showHours(seen);
      showAccounts(seen);
      showProblems(seen);
      showPods(seen);
      showLimits(seen);
    },
    skewMs: (skewMs) => skew.set(skewMs / 1000),
  };
}

function listResult(answer: ListAnswer): "ok" | "refused" | "failed" {
  if (answer.ok) return "ok";
  return answer.refused ? "refused" : "failed";
}

interface Maker {
  gauge(name: string, help: string, labelNames?: string[]): Gauge;
  counter(name: string, help: string, labelNames: string[]): Counter;
}
type Show = (seen: Seen) => void;

function maker(registry: Registry): Maker {
  const registers = [registry];
  return {
    gauge: (name, help, labelNames = []) => new Gauge({ name, help, labelNames, registers }),
    counter: (name, help, labelNames) => new Counter({ name, help, labelNames, registers }),
  };
}

function hourGauges(make: Maker): Show {
  const lastClosed = make.gauge(METRICS.reporterLastClosedHour, "Start of the last closed hour.");
  const oldestOpen = make.gauge(
    METRICS.reporterOldestOpenSlot,
    "Start of the oldest slot without an answer; 0 for none.",
  );
  const unposted = make.gauge(
    METRICS.reporterOldestUnposted,
    "Start of the oldest hour with usage in no slot; 0 for none.",
  );
  return ({ ledger }) => {
    lastClosed.set(secondsOf(ledger.lastClosedHour));
    oldestOpen.set(secondsOf(openSlots(ledger)[0]?.hour));
    unposted.set(secondsOf(oldestUnposted(ledger)));
  };
}

/** Dimensions come from the catalogue: at most 30. */
function accountGauges(make: Maker): Show {
  const gauge = (name: string, help: string): Gauge => make.gauge(name, help, ["dimension"]);
  const unposted = gauge(METRICS.reporterUnpostedUnits, "Units that are due and not accepted yet.");
  const dropped = gauge(METRICS.reporterDroppedUnits, "Units written off for good.");
  const over = gauge(METRICS.reporterOverAcceptedUnits, "Units accepted beyond what is due.");
  const unattributed = gauge(METRICS.reporterUnattributed, "Share of the accepted units that no agent owns.");
  const parked = make.gauge(METRICS.reporterParkedDimensions, "Dimensions that are counted but not posted.");
  return ({ ledger }) => {
    parked.set(ledger.parked.length);
    for (const view of viewAccounts(ledger)) {
      const { dimension } = view;
      unposted.set({ dimension }, view.unposted);
      dropped.set({ dimension }, view.dropped);
      over.set({ dimension }, view.overAccepted);
      unattributed.set({ dimension }, view.unattributed);
    }
  };
}

function problemGauges(make: Maker): Show {
  const problem = make.gauge(METRICS.reporterProblem, "1 while a problem lasts.", ["reason"]);
  const discrepancies = make.gauge(
    METRICS.reporterDiscrepancies,
    "Days and dimensions that differ between the ledger and Azure two days later.",
  );
  for (const reason of PROBLEM_REASONS) problem.set({ reason }, 0);
  return ({ ledger }) => {
    const found = new Set(ledger.problems.map(({ reason }) => reason));
    for (const reason of PROBLEM_REASONS) problem.set({ reason }, found.has(reason) ? 1 : 0);
    discrepancies.set(ledger.compared.length);
  };
}

function podGauges(make: Maker): Show {
  const pods = make.gauge(METRICS.reporterPods, "Pods whose usage is counted and not settled yet.");
  const quarantined = make.gauge(METRICS.reporterQuarantinedPods, "Pods with a dimension that is not counted.");
  const silent = make.gauge(METRICS.reporterSilentPods, "Pods that have told no hour's total for 2 h.");
  const checkpoint = make.gauge(METRICS.reporterCheckpointSeconds, "The longest K in force.");
  const waiting = make.gauge(METRICS.reporterStatementsWaiting, "Receipts old enough to go.", ["for"]);
  return (seen) => {
    pods.set(seen.pods.length);
    quarantined.set(seen.pods.filter((pod) => (pod.status?.quarantined ?? []).length > 0).length);
    silent.set(livePods(seen.ledger, seen.pods.map(toPodView)).filter((pod) => isSilent(pod, seen)).length);
    checkpoint.set(Math.max(0, ...seen.pods.map((pod) => checkpointSecondsOf(pod.spec))));
    waiting.set({ for: "export" }, seen.memory.retention.awaitingExport);
    waiting.set({ for: "deletion" }, seen.memory.retention.due.length);
  };
}

function limitGauges(make: Maker, terms: Terms): Show {
  const used = make.gauge(METRICS.reporterLimitUsed, "Used share of a hard limit in this period.", ["dimension"]);
  const soft = make.gauge(METRICS.reporterLimitSoft, "Share of a hard limit at which people are warned.", [
    "dimension",
  ]);
  for (const { id, hard, softPercent } of terms.plan?.dimensions ?? [])
    if (hard !== undefined) soft.set({ dimension: id }, softPercent / 100);
  return ({ memory }) => {
    used.reset();
    for (const limit of memory.leases.limits ?? [])
      used.set({ dimension: limit.soldAs }, Number(limit.used) / Number(limit.hard));
  };
}

function secondsOf(hour: string | undefined): number {
  return hour === undefined ? 0 : parseHourKey(hour) / 1000;
}
