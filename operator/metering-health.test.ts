import { describe, expect, it } from "vitest";
import { CONDITIONS } from "#core/api/conditions.ts";
import { PROBLEM_REASONS, type ProblemReason } from "#core/api/usage-ledger.ts";
import { POD_USAGES, USAGE_LEDGERS } from "#runtime/kube/resources.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import type { Cache } from "./cache.ts";
import { type LedgerSummary, type MeteringFacts, observeMetering } from "./metering-facts.ts";
import { judgeLimits, judgeMetering } from "./metering-health.ts";
import type { PodView } from "./pods.ts";
import { sampleInput } from "../test/fakes/desired-input.ts";

const NOW = Date.parse("2026-11-24T12:30:00Z");
const LEDGER: LedgerSummary = {
  offerResourceId: "/offer",
  mode: "Marketplace",
  planId: "p",
  lastClosedHour: "2026112411",
  problems: [],
  accounts: [{ dimension: "tool_action" }],
};
const PLAIN: MeteringFacts = {
  ledger: undefined,
  offerResourceId: "plain",
  planId: "",
  entitlements: new Map(),
  pods: { quarantined: [], silent: [] },
  nowMs: NOW,
};

function sold(change: Partial<LedgerSummary> | undefined, facts: Partial<MeteringFacts> = {}): MeteringFacts {
  const ledger = change === undefined ? undefined : { ...LEDGER, ...change };
  return { ...PLAIN, offerResourceId: "/offer", planId: "p", ledger, ...facts };
}

function verdict(facts: MeteringFacts): string {
  const { status, reason, message } = judgeMetering(facts).verdict;
  return `${status} ${reason}: ${message}`;
}

describe("LimitNear", () => {
  it.each<[string, MeteringFacts, string]>([
    ["without an offer", PLAIN, "False BelowSoftLimit: No limit of the plan is near in this period"],
    ["of a ledger that tells of none", sold({}), "False BelowSoftLimit: No limit of the plan is near in this period"],
    ["with none near", sold({ nearLimits: [] }), "False BelowSoftLimit: No limit of the plan is near in this period"],
    [
      "with two near",
      sold({
        nearLimits: [
          { dimension: "chats", softPercent: 80 },
          { dimension: "documents", softPercent: 95 },
        ],
      }),
      "True SoftLimitReached: At least 80 % of the limit of chats, 95 % of the limit of documents is used in this period",
    ],
  ])("%s", (_name, facts, expected) => {
    const { status, reason, message } = judgeLimits(facts);
    expect(`${status} ${reason}: ${message}`).toBe(expected);
  });
});

describe("MeteringHealthy", () => {
  it.each<[string, MeteringFacts, string]>([
    ["without an offer", PLAIN, "True NotMetered: Installed without a Marketplace offer: nothing is billed"],
    [
      "before the reporter has begun",
      sold(undefined),
      "Unknown AwaitingFirstHour: The reporter has not opened its ledger yet",
    ],
    ["of a plan that is not metered", sold({ mode: "Silent" }), "True NotMetered: The plan p is not metered"],
    ["of an idle agent that posts nothing", sold({}), "True Posting: Closed up to hour 2026112411, nothing posted yet"],
    [
      "of one whose usage is posted",
      sold({ lastAcceptedHour: "2026112410" }),
      "True Posting: Closed up to hour 2026112411, last accepted 2026112410",
    ],
    [
      "with the last closed hour just less than two hours ago",
      sold({ lastClosedHour: "2026112410" }),
      "True Posting: Closed up to hour 2026112410, nothing posted yet",
    ],
    [
      "with the last closed hour too long ago",
      sold({ lastClosedHour: "2026112409" }),
      "False Backlog: Usage is not posted in time: the last closed hour is 2026112409",
    ],
    [
      "with an old slot open",
      sold({ oldestOpenHour: "2026112409" }),
      "False Backlog: Usage is not posted in time: the slot 2026112409 is open",
    ],
    [
      "with usage that no slot could take yet",
      sold({ accounts: [{ dimension: "a", oldestUnpostedHour: "2026112310" }, { dimension: "b" }] }),
      "False Backlog: Usage is not posted in time: a of 2026112310 is in no slot yet",
    ],
    [
      "with usage that waits for the next slot",
      sold({ accounts: [{ dimension: "a", oldestUnpostedHour: "2026112410" }] }),
      "True Posting: Closed up to hour 2026112411, nothing posted yet",
    ],
    [
      "with a parked dimension",
      sold({ parked: ["tool_action"] }),
      "False Rejected: Not posted until plan or catalogue change, or a command: tool_action",
    ],
    [
      "with a quarantined count of its own, even where nothing is billed",
      { ...PLAIN, pods: { quarantined: ["pod-1 tool_action"], silent: [] } },
      "False Quarantined: A counter fell or vanished: pod-1 tool_action",
    ],
    [
      "with a silent pod of its own",
      sold({}, { pods: { quarantined: [], silent: ["pod-1"] } }),
      "False SilentPods: No hour's total for 2 h from pod-1",
    ],
    [
      "with pods of others in trouble",
      sold({ problems: problems("SilentPods", "Quarantined") }),
      "True Posting: Closed up to hour 2026112411, nothing posted yet",
    ],
    [
      "of a plan that nobody knows",
      sold({ mode: "Silent", problems: problems("PlanUnknown") }),
      "False PlanUnknown: it is PlanUnknown",
    ],
    [
      "with a problem that only a newer reporter knows",
      sold({ problems: [{ reason: "Unheard", message: "what now" }] }),
      "False Backlog: what now",
    ],
    [
      "with several problems: the first to see to, and all in the message",
      sold({ parked: ["a"], problems: problems("ForeignWriter", "NoCredential") }),
      "False NoCredential: it is NoCredential; it is ForeignWriter; Not posted until plan or catalogue change, or a command: a",
    ],
    [
      "in plain mode, whatever a ledger says",
      { ...sold({ problems: problems("ClockSkew") }), offerResourceId: "plain" },
      "True NotMetered: Installed without a Marketplace offer: nothing is billed",
    ],
  ])("%s", (_what, facts, expected) => {
    expect(verdict(facts)).toBe(expected);
  });

  it.each(PROBLEM_REASONS.filter((reason) => reason !== "SilentPods" && reason !== "Quarantined"))(
    "is False with the problem %s, in every mode that may post",
    (reason) => {
      for (const mode of ["Marketplace", "Silent"] as const)
        expect(verdict(sold({ mode, problems: problems(reason) }))).toBe(`False ${reason}: it is ${reason}`);
    },
  );

  it("knows every reason that it gives", () => {
    expect(CONDITIONS.MeteringHealthy.reasons).toEqual(expect.arrayContaining([...PROBLEM_REASONS]));
  });

  it("says no more than a condition may hold", () => {
    const long = { reason: "ListUnavailable", message: "x".repeat(2000) };
    expect(judgeMetering(sold({ problems: [long] })).verdict.message).toHaveLength(1024);
  });
});

function problems(...reasons: ProblemReason[]): LedgerSummary["problems"] {
  return reasons.map((reason) => ({ reason, message: `it is ${reason}` }));
}

describe("observeMetering()", () => {
  const settings = { ...sampleInput().settings, offerResourceId: "/offer" };
  const ledger: KubeObject = {
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "UsageLedger",
    metadata: { name: "l" },
    spec: { ...LEDGER, problems: problems("ForeignWriter") },
  };

  function usage(change: Readonly<Record<string, unknown>>, offset = 0): PodView {
    const object: KubeObject = {
      apiVersion: "supercargo.dev/v1alpha1",
      kind: POD_USAGES.kind,
      metadata: { name: "uid", namespace: "n", creationTimestamp: "2026-11-24T09:00:00Z" },
      spec: {
        podName: "pod-1",
        component: "gateway",
        agentDeployment: "a",
        offerResourceId: "/offer",
        checkpointSeconds: 60,
        grants: {
          term: 1,
          entitlement: { state: "Active", planId: "p", validUntil: "2026-11-25T00:00:00Z" },
          clockOffsetSeconds: offset,
        },
      },
      status: { sequence: "1", totals: [], final: "No", ...change },
    };
    const identity = { namespace: "n", name: "pod-1", uid: "uid", component: "gateway", state: "Ready" } as const;
    return { ...identity, usage: object, enforced: undefined };
  }

  function observe(...pods: PodView[]): MeteringFacts {
    const cache: Pick<Cache, "list"> = { list: () => [ledger] };
    const caches = (ref: { plural: string }): Cache => {
      if (ref.plural !== USAGE_LEDGERS.plural) throw new Error(`asked for ${ref.plural}`);
      return { ...EMPTY_CACHE, ...cache };
    };
    return observeMetering(pods, { caches, settings, nowMs: NOW });
  }

  it("reads the ledger of the offer", () => {
    expect(observe().ledger).toMatchObject({ planId: "p", problems: [{ reason: "ForeignWriter" }] });
  });

  it.each([
    ["a pod that told the last hours", { boundaries: [{ hour: "2026112411", totals: [] }] }, 0, [], []],
    [
      "a quarantined dimension",
      { boundaries: [{ hour: "2026112411", totals: [] }], quarantined: ["a"] },
      0,
      ["pod-1 a"],
      [],
    ],
    ["a pod that was never heard", {}, 0, [], ["pod-1"]],
    ["a pod that fell silent", { boundaries: [{ hour: "2026112408", totals: [] }] }, 0, [], ["pod-1"]],
    ["a pod that said its last word", { final: "Yes" }, 0, [], []],
    ["a pod by the demo's clock", { boundaries: [{ hour: "2026112411", totals: [] }] }, 7200 + 3600, [], ["pod-1"]],
  ])("finds %s", (_what, change, offset, quarantined, silent) => {
    expect(observe(usage(change, offset)).pods).toEqual({ quarantined, silent });
  });
});

const EMPTY_CACHE: Cache = {
  get: () => undefined,
  list: () => [],
  byIndex: () => [],
  remember: () => undefined,
  seen: () => undefined,
};
