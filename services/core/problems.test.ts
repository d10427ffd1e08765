import { describe, expect, it } from "vitest";
import { type Ledger, PROBLEM_REASONS } from "./api/usage-ledger.ts";
import type { PodView } from "./counted.ts";
import { catalogueSchema } from "./plan.ts";
import { findProblems, type Knowledge, mergeProblems, type Waiting } from "./problems.ts";
import { rebuildLedger } from "./reconcile.ts";
import { HOUR_MS, parseHourKey, toIso } from "./time.ts";

const BORN = "2026112208";
const NOW_MS = parseHourKey("2026112212") + 600_000;
const CATALOGUE = catalogueSchema.parse({
  dimensions: [
    { id: "d", from: "base", unit: "u", divisor: "10" },
    { id: "other", from: "other", unit: "u", divisor: "1" },
  ],
  plans: [
    { id: "p", displayName: "P", billing: "Custom", dimensions: [{ id: "d" }] },
    { id: "q", displayName: "Q", billing: "Custom", dimensions: [{ id: "other" }] },
    { id: "free", displayName: "Free", billing: "Free", dimensions: [{ id: "d" }] },
  ],
});

function book(change: Partial<Ledger> = {}, account: Partial<Ledger["accounts"][number]> = {}): Ledger {
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "", term: 1 };
  const ledger = rebuildLedger(
    { ...birth, nowMs: parseHourKey(BORN), catalogue: CATALOGUE, plan: CATALOGUE.plans[0] },
    [],
  );
  return { ...ledger, ...change, accounts: ledger.accounts.map((entry) => ({ ...entry, ...account })) };
}

function pod(change: Partial<PodView> = {}): PodView {
  const boundaries = [{ hour: "2026112211", totals: new Map() }];
  return {
    uid: "u",
    agent: "shop/orders",
    createdMs: parseHourKey(BORN),
    reportedMs: 0,
    final: false,
    totals: new Map(),
    boundaries,
    ...change,
  };
}

function waits(change: Partial<Waiting>): Partial<Knowledge> {
  return { waiting: [{ dimension: "d", hour: BORN, attempts: 1, firstMs: NOW_MS, why: "NoAnswer", ...change }] };
}

const calm: Knowledge = {
  nowMs: NOW_MS,
  skewMs: 0,
  clockFaultUntilMs: 0,
  catalogue: CATALOGUE,
  list: undefined,
  waiting: [],
  foreignMs: 0,
  pods: [pod()],
  graceMs: 125_000,
};

const silentMs = 2 * HOUR_MS + 125_000;
const seen = (ageMs: number): Partial<Ledger> => ({
  problems: [{ reason: "ForeignWriter", message: "m", since: toIso(NOW_MS - ageMs) }],
});
const compared = [
  { day: "20261119", dimension: "d", state: "Mismatch", accepted: "4", submitted: "4", processed: "2" },
];

describe("findProblems()", () => {
  it.each<[string, Partial<Knowledge>, Ledger, readonly string[]]>([
    ["nothing when all is well", {}, book(), []],
    ["a clock 60 s off", { skewMs: -60_000 }, book(), []],
    ["a clock more than 60 s off", { skewMs: -60_001 }, book(), ["ClockSkew"]],
    ["a clock that Azure calls wrong", { clockFaultUntilMs: NOW_MS + 1 }, book(), ["ClockFault"]],
    ["an unknown plan", {}, book({ planId: "x", mode: "Silent" }), ["PlanUnknown"]],
    ["no plan in plain mode", {}, book({ planId: "", mode: "Plain" }), []],
    ["what the list said", { list: { reason: "ListRefused", message: "m" } }, book(), ["ListRefused"]],
    ["a first post without a token", waits({ why: "NoCredential", attempts: 2 }), book(), []],
    ["posts without a token", waits({ why: "NoCredential", attempts: 3 }), book(), ["NoCredential"]],
    ["a refusal of 29 min", waits({ why: "Refused", firstMs: NOW_MS - 29 * 60_000 }), book(), []],
    ["a refusal of 30 min", waits({ why: "Refused", firstMs: NOW_MS - 30 * 60_000 }), book(), ["PostsRefused"]],
    ["no answer for less than 2 h", waits({ firstMs: NOW_MS - 2 * HOUR_MS + 1 }), book(), []],
    ["no answer for 2 h", waits({ firstMs: NOW_MS - 2 * HOUR_MS }), book(), ["PostsStopped"]],
    [
      "a refusal of 2 h",
      waits({ why: "Refused", firstMs: NOW_MS - 2 * HOUR_MS }),
      book(),
      ["PostsRefused", "PostsStopped"],
    ],
    ["somebody else's event", { foreignMs: NOW_MS }, book(), ["ForeignWriter"]],
    ["somebody else's event of another leader's time", {}, book(seen(47 * HOUR_MS)), ["ForeignWriter"]],
    ["somebody else's event of 48 h ago", {}, book(seen(48 * HOUR_MS)), []],
    ["a day that differs at Azure", {}, book({ compared }), ["Discrepancy"]],
    [
      "a pod silent for 2 h and the grace",
      { pods: [pod({ boundaries: [], createdMs: NOW_MS - silentMs })] },
      book(),
      [],
    ],
    [
      "a pod silent for longer",
      { pods: [pod({ boundaries: [], createdMs: NOW_MS - silentMs - 1 })] },
      book(),
      ["SilentPods"],
    ],
    ["a pod that is final", { pods: [pod({ boundaries: [], final: true })] }, book(), []],
    [
      "a pod that is settled",
      { pods: [pod({ boundaries: [] })] },
      book({ tombstones: [{ uid: "u", settledAt: toIso(0) }] }),
      [],
    ],
    ["a quarantined counter", { pods: [pod({ quarantined: ["base"] })] }, book(), ["Quarantined"]],
    ["more accepted than due", {}, book({}, { overAccepted: "1" }), ["UsageVanished"]],
    ["a unit owed that the plan does not sell", {}, book({ planId: "q" }, { backlog: "10" }), ["DimensionRemoved"]],
    [
      "a unit owed under a plan that is not metered",
      {},
      book({ planId: "free", mode: "Silent" }, { backlog: "10" }),
      ["DimensionRemoved"],
    ],
    ["less than a unit owed that the plan does not sell", {}, book({ planId: "q" }, { backlog: "9" }), []],
    ["a backlog of what the plan sells", {}, book({}, { backlog: "900" }), []],
  ])("%s", (_what, known, ledger, expected) => {
    const found = findProblems(ledger, { ...calm, ...known });
    expect(found.map(({ reason }) => reason)).toEqual(expected);
    for (const { reason, message } of found) {
      expect(PROBLEM_REASONS).toContain(reason);
      expect(message).not.toBe("");
    }
  });

  it("says when closing has stopped, and names what it means, at most three", () => {
    const many = ["a", "b", "c", "d", "e"].map((name) => pod({ uid: name, agent: `n/${name}`, boundaries: [] }));
    const found = findProblems(book(), { ...calm, skewMs: 300_001, pods: many });
    expect(found.map(({ message }) => message)).toEqual([
      "This node's clock is more than 5 min off the API server's: nothing is closed",
      "No hour boundary for 2 h from pods of n/a, n/b, n/c and 2 more",
    ]);
  });

  it("says a reason once", () => {
    const known = {
      ...waits({ why: "NoCredential", attempts: 3 }),
      list: { reason: "NoCredential" as const, message: "m" },
    };
    expect(findProblems(book(), { ...calm, ...known })).toHaveLength(1);
  });
});

describe("mergeProblems()", () => {
  const skew = { reason: "ClockSkew" as const, message: "m", since: toIso(0) };

  it("is the same list while nothing changes, so that nothing is written", () => {
    const current = [skew];
    expect(mergeProblems(current, [{ reason: "ClockSkew", message: "m" }], 5)).toBe(current);
  });

  it("keeps since when the message changes, starts anew after a pause, and forgets what is over", () => {
    expect(mergeProblems([skew], [{ reason: "ClockSkew", message: "n" }], 5)).toEqual([{ ...skew, message: "n" }]);
    expect(mergeProblems([skew], [], 5)).toEqual([]);
    expect(mergeProblems([], [{ reason: "ClockSkew", message: "m" }], 5)).toEqual([{ ...skew, since: toIso(5) }]);
  });
});
