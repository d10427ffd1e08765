import type { Account, Ledger, Problem, ProblemReason } from "./api/usage-ledger.ts";
import { livePods, type PodView } from "./counted.ts";
import { type Catalogue, findPlan } from "./plan.ts";
import { HOUR_MS, parseHourKey, toIso } from "./time.ts";

/** A problem as it is found now; since when it lasts stands in the ledger. */
export interface Finding {
  readonly reason: ProblemReason;
  readonly message: string;
}

/** An intent that was sent and has no definite answer yet. */
export interface Waiting {
  readonly dimension: string;
  readonly hour: string;
  readonly attempts: number;
  readonly firstMs: number;
  readonly why: "NoAnswer" | "Refused" | "NoCredential";
}

/** What the reporter knows besides the ledger. */
export interface Knowledge {
  readonly nowMs: number;
  /** This machine's clock less the API server's. */
  readonly skewMs: number;
  /** Azure judged our clock wrong; nothing is closed before. */
  readonly clockFaultUntilMs: number;
  readonly catalogue: Catalogue;
  /** Why Azure's list was not compared. */
  readonly list: Finding | undefined;
  readonly waiting: readonly Waiting[];
  /** When somebody else's event was last found; 0 for never. */
  readonly foreignMs: number;
  readonly pods: readonly PodView[];
  /** Pods that are being settled are silent because they are gone. */
  readonly graceMs: number;
}

/** R9: above the first an alarm, above the second nothing is closed. */
const SKEW_ALARM_MS = 60_000;
export const SKEW_MAX_MS = 300_000;
/** A first failure pages nobody. */
const CREDENTIAL_ATTEMPTS = 3;
const REFUSED_MS = HOUR_MS / 2;
const STOPPED_MS = 2 * HOUR_MS;
const SILENT_MS = 2 * HOUR_MS;
const FOREIGN_MS = 48 * HOUR_MS;
const NAMED_MAX = 3;

/** All that is wrong, in the order of PROBLEM_REASONS. Messages change only with what they name, never with the time. */
export function findProblems(ledger: Ledger, known: Knowledge): Finding[] {
  return [
    ...clockProblems(known),
    ...planProblems(ledger, known),
    ...(known.list ? [known.list] : []),
    ...postProblems(known),
    ...bookProblems(ledger, known),
    ...podProblems(ledger, known),
  ].filter((finding, index, all) => all.findIndex(({ reason }) => reason === finding.reason) === index);
}

/**
 * The problems to write: one per reason, each with the moment it was first found. The same list when nothing changed, so
 * that a lasting problem costs one write.
 */
export function mergeProblems(current: Problem[], found: readonly Finding[], nowMs: number): Problem[] {
  const known = new Map(current.map((problem) => [problem.reason, problem]));
  const merged = found.map(({ reason, message }) => {
    const text = message.slice(0, 512);
    const same = known.get(reason);
    return same?.message === text ? same : { reason, message: text, since: same?.since ?? toIso(nowMs) };
  });
  const isSame = merged.length === current.length && merged.every((problem) => known.get(problem.reason) === problem);
  return isSame ? current : merged;
}

function clockProblems(known: Knowledge): Finding[] {
  const skewMs = Math.abs(known.skewMs);
  const stopped = "more than 5 min off the API server's: nothing is closed";
  const alarm = "more than 60 s off the API server's";
  return [
    ...when(skewMs > SKEW_ALARM_MS, "ClockSkew", `This node's clock is ${skewMs > SKEW_MAX_MS ? stopped : alarm}`),
    ...when(
      known.nowMs < known.clockFaultUntilMs,
      "ClockFault",
      "Azure calls fresh usage expired: our clock or its clock is wrong, and nothing is closed",
    ),
  ];
}

function planProblems(ledger: Ledger, known: Knowledge): Finding[] {
  if (ledger.mode === "Plain") return [];
  const plan = findPlan(known.catalogue, ledger.planId);
  const unknown = `The catalogue does not know the plan ${ledger.planId}: usage is counted, not posted`;
  if (!plan) return [{ reason: "PlanUnknown", message: unknown }];
  const sold = new Set(plan.billing === "Custom" ? plan.dimensions.map((dimension) => dimension.id) : []);
  const owed = ledger.accounts.filter(
    (account) => !sold.has(account.dimension) && BigInt(account.backlog) >= BigInt(account.divisor),
  );
  return when(owed.length > 0, "DimensionRemoved", `The plan ${plan.id} does not sell what is owed: ${named(owed)}`);
}

function postProblems(known: Knowledge): Finding[] {
  const { waiting, nowMs } = known;
  const slots = (of: readonly Waiting[]): string => listed(of.map((slot) => `${slot.hour} ${slot.dimension}`));
  const tokenless = waiting.filter((slot) => slot.why === "NoCredential" && slot.attempts >= CREDENTIAL_ATTEMPTS);
  const refused = waiting.filter((slot) => slot.why === "Refused" && nowMs - slot.firstMs >= REFUSED_MS);
  const stopped = waiting.filter((slot) => nowMs - slot.firstMs >= STOPPED_MS);
  return [
    ...when(tokenless.length > 0, "NoCredential", "The extension's identity gives no token for the metering API"),
    ...when(refused.length > 0, "PostsRefused", `Azure has refused these slots for 30 min: ${slots(refused)}`),
    ...when(stopped.length > 0, "PostsStopped", `No definite answer for 2 h on these slots: ${slots(stopped)}`),
  ];
}

function bookProblems(ledger: Ledger, known: Knowledge): Finding[] {
  const seen = ledger.problems.find((problem) => problem.reason === "ForeignWriter");
  const foreignMs = Math.max(known.foreignMs, seen ? Date.parse(seen.since) : 0);
  const over = ledger.accounts.filter((account) => account.overAccepted !== undefined);
  const compared = ledger.compared.map((entry) => `${entry.day} ${entry.dimension} ${entry.state}`);
  return [
    ...when(
      foreignMs > 0 && known.nowMs - foreignMs < FOREIGN_MS,
      "ForeignWriter",
      "Somebody else has posted usage for this resource within 48 h",
    ),
    ...when(compared.length > 0, "Discrepancy", `Azure's books differ from the ledger: ${listed(compared)}`),
    ...when(
      over.length > 0,
      "UsageVanished",
      `More was accepted than is due, nothing is posted until use has caught up: ${named(over)}`,
    ),
  ];
}

function podProblems(ledger: Ledger, known: Knowledge): Finding[] {
  const live = livePods(ledger, known.pods);
  const silent = live.filter((pod) => isSilent(pod, known));
  const quarantined = live.flatMap((pod) => (pod.quarantined ?? []).map((dimension) => `${pod.agent} ${dimension}`));
  return [
    ...when(silent.length > 0, "SilentPods", `No hour boundary for 2 h from pods of ${listed(agentsOf(silent))}`),
    ...when(
      quarantined.length > 0,
      "Quarantined",
      `A counter fell or vanished and is not counted any more: ${listed([...new Set(quarantined)].toSorted())}`,
    ),
  ];
}

/** A live pod should have said what it had counted at the end of every hour, a grace after it. */
export function isSilent(pod: PodView, at: { readonly nowMs: number; readonly graceMs: number }): boolean {
  const newest = pod.boundaries.at(-1)?.hour;
  const spokenMs = newest === undefined ? pod.createdMs : Math.max(pod.createdMs, parseHourKey(newest) + HOUR_MS);
  return !pod.final && at.nowMs - spokenMs > SILENT_MS + at.graceMs;
}

function agentsOf(pods: readonly PodView[]): string[] {
  return [...new Set(pods.map((pod) => pod.agent))].toSorted();
}

function named(accounts: readonly Account[]): string {
  return listed(accounts.map((account) => account.dimension));
}

function listed(names: readonly string[]): string {
  const more = names.length - NAMED_MAX;
  return names.slice(0, NAMED_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function when(condition: boolean, reason: ProblemReason, message: string): Finding[] {
  return condition ? [{ reason, message }] : [];
}
