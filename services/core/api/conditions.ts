import { PROBLEM_REASONS } from "./usage-ledger.ts";

/**
 * Condition types and reasons of an AgentDeployment: never renamed, each documented in docs/agentdeployment.md.
 * Polarity says which status is good.
 */
export const CONDITIONS = {
  Ready: {
    polarity: "True",
    meaning: "serves and enforces the current generation",
    reasons: ["AllReady", "NotAccepted", "Progressing", "Paused", "Revoked", "NotEntitled", "PodsUnavailable"],
  },
  Accepted: {
    polarity: "True",
    meaning: "the spec is valid and everything it refers to exists and is usable",
    reasons: ["Accepted", "InvalidSpec", "SecretNotFound", "ConfigMapNotFound", "ServiceNotFound", "NotSupported"],
  },
  Progressing: {
    polarity: "False",
    meaning: "a rollout is under way",
    reasons: ["RollingOut", "Complete", "DeadlineExceeded"],
  },
  Suspended: {
    polarity: "False",
    meaning: "mode Paused or Revoked has taken effect",
    reasons: ["Paused", "Revoked", "Running"],
  },
  MeteringHealthy: {
    polarity: "True",
    meaning: "usage of the last closed hour is reported, the backlog is bounded",
    reasons: ["Posting", "NotMetered", "AwaitingFirstHour", "Backlog", "Rejected", ...PROBLEM_REASONS],
  },
  LimitNear: {
    polarity: "False",
    meaning: "a hard limit of the plan is used up to its soft limit in this period; nothing is refused yet",
    reasons: ["SoftLimitReached", "BelowSoftLimit"],
  },
} as const satisfies Record<string, { polarity: "True" | "False"; meaning: string; reasons: readonly string[] }>;
export type ConditionType = keyof typeof CONDITIONS;
export type ConditionReason<T extends ConditionType> = (typeof CONDITIONS)[T]["reasons"][number];
