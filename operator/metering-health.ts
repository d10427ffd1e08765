import type { AgentDeploymentStatus } from "#core/api/agent-deployment-status.ts";
import { PROBLEM_REASONS, type ProblemReason } from "#core/api/usage-ledger.ts";
import { HOUR_MS, parseHourKey } from "#core/time.ts";
import type { LedgerSummary, MeteringFacts } from "./metering-facts.ts";
import type { Verdict } from "./status.ts";

/** The last closed hour may have ended this long ago, the oldest open slot as well. */
const BACKLOG_MS = 2 * HOUR_MS;
const MESSAGE_MAX = 1024;

type Bad = ProblemReason | "Rejected" | "Backlog";
interface Finding {
  readonly reason: Bad;
  readonly message: string;
}

/** Which of several reasons is the condition's, the first being the one to see to first; its message holds all of them. */
const ORDER: readonly Bad[] = [
  "NoCredential",
  "PlanUnknown",
  "ClockFault",
  "UsageResourceUnclear",
  "ListRefused",
  "AwaitingConfirmation",
  "ListUnavailable",
  "PostsRefused",
  "PostsStopped",
  "Rejected",
  "UsageVanished",
  "DimensionRemoved",
  "Quarantined",
  "SilentPods",
  "ClockSkew",
  "Backlog",
  "Discrepancy",
  "ForeignWriter",
];

/** Problems of pods are told by the agent whose pods they are, from its own. */
const OF_PODS: readonly string[] = ["SilentPods", "Quarantined"] satisfies readonly ProblemReason[];

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

/**
 * Whether a limit of the plan is near. Its text holds no figure that rises with use: it changes when a limit joins or leaves,
 * so that a period brings one event.
 */
export function judgeLimits({ ledger }: MeteringFacts): Verdict<"LimitNear"> {
  const near = ledger?.nearLimits ?? [];
  if (near.length === 0)
    return { status: "False", reason: "BelowSoftLimit", message: "No limit of the plan is near in this period" };
  const texts = near.map(({ dimension, softPercent }) => `${softPercent} % of the limit of ${dimension}`);
  const message = `At least ${listed(texts)} is used in this period`;
  return { status: "True", reason: "SoftLimitReached", message: message.slice(0, MESSAGE_MAX) };
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
  const { ledger, offerResourceId } = facts;
  const found = [...podFindings(facts), ...(ledger ? ledgerFindings(facts, ledger) : [])];
  const [worst] = found.toSorted((a, b) => ORDER.indexOf(a.reason) - ORDER.indexOf(b.reason));
  if (worst) {
    const others = found.filter((finding) => finding !== worst);
    const message = [worst, ...others].map((finding) => finding.message).join("; ");
    return { status: "False", reason: worst.reason, message: message.slice(0, MESSAGE_MAX) };
  }
  if (offerResourceId === "plain") return notMetered("Installed without a Marketplace offer: nothing is billed");
  if (!ledger)
    return { status: "Unknown", reason: "AwaitingFirstHour", message: "The reporter has not opened its ledger yet" };
  if (ledger.mode !== "Marketplace") return notMetered(`The plan ${ledger.planId} is not metered`);
  return { status: "True", reason: "Posting", message: postingText(ledger) };
}

function notMetered(message: string): Verdict<"MeteringHealthy"> {
  return { status: "True", reason: "NotMetered", message };
}

function podFindings({ pods }: MeteringFacts): Finding[] {
  const found: Finding[] = [];
  if (pods.quarantined.length > 0)
    found.push({ reason: "Quarantined", message: `A counter fell or vanished: ${listed(pods.quarantined)}` });
  if (pods.silent.length > 0)
    found.push({ reason: "SilentPods", message: `No hour's total for 2 h from ${listed(pods.silent)}` });
  return found;
}

/** A plain ledger is only counted in: what is wrong with posting does not matter there. */
function ledgerFindings(facts: MeteringFacts, ledger: LedgerSummary): Finding[] {
  if (facts.offerResourceId === "plain") return [];
  const found = ledger.problems.filter(({ reason }) => !OF_PODS.includes(reason)).map(toFinding);
  if (ledger.mode !== "Marketplace") return found;
  if (ledger.parked?.length)
    found.push({
      reason: "Rejected",
      message: `Not posted until plan or catalogue change, or a command: ${ledger.parked.join(", ")}`,
    });
  return [...found, ...backlogFindings(facts.nowMs, ledger)];
}

function toFinding(problem: { readonly reason: string; readonly message: string }): Finding {
  const reason = PROBLEM_REASONS.find((known) => known === problem.reason);
  // A newer reporter may know more reasons than this operator.
  return { reason: reason ?? "Backlog", message: problem.message };
}

function backlogFindings(nowMs: number, ledger: LedgerSummary): Finding[] {
  const isLate = (hour: string | null | undefined): boolean =>
    hour !== null && hour !== undefined && nowMs - parseHourKey(hour) - HOUR_MS >= BACKLOG_MS;
  const late: string[] = [];
  if (isLate(ledger.lastClosedHour)) late.push(`the last closed hour is ${ledger.lastClosedHour}`);
  if (isLate(ledger.oldestOpenHour)) late.push(`the slot ${ledger.oldestOpenHour ?? ""} is open`);
  for (const { dimension, oldestUnpostedHour } of ledger.accounts)
    if (isLate(oldestUnpostedHour)) late.push(`${dimension} of ${oldestUnpostedHour ?? ""} is in no slot yet`);
  return late.length === 0 ? [] : [{ reason: "Backlog", message: `Usage is not posted in time: ${late.join(", ")}` }];
}

function listed(names: readonly string[]): string {
  return `${names.slice(0, 5).join(", ")}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`;
}

function postingText(ledger: LedgerSummary): string {
  return ledger.lastAcceptedHour
    ? `Closed up to hour ${ledger.lastClosedHour}, last accepted ${ledger.lastAcceptedHour}`
    : `Closed up to hour ${ledger.lastClosedHour}, nothing posted yet`;
}
