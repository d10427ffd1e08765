import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  APPROVAL_USE_MS,
  approvalItemId,
  approvalName,
  type ApprovalFacts,
  type ApprovalQuestion,
  decideApproval,
  toDigestSubject,
  toRuleVersion,
} from "./approvals.ts";

const digest = "ab".repeat(32);
const other = "cd".repeat(32);
const END = 1_000_000;
const asked = { uid: "u1", digest, expiresAtMs: END };
const view = { uid: "u1", digest, expiresAtMs: END };
const yes = { verdict: "Approve", decidedBy: "ann", decidedAt: new Date(END - 1000).toISOString(), digest } as const;
const no = { ...yes, verdict: "Deny", reason: "too much" } as const;
const facts: ApprovalFacts = { asked, currentDigest: digest, view, nowMs: END - 500 };

describe("decideApproval", () => {
  it.each<[string, Partial<ApprovalFacts>, object]>([
    ["waits until somebody decides", {}, { state: "Waiting" }],
    ["is approved", { view: { ...view, decision: yes } }, { state: "Approved", decidedBy: "ann" }],
    ["is rejected, with the reason", { view: { ...view, decision: no } }, { state: "Rejected", reason: "too much" }],
    ["times out at its last instant", { nowMs: END }, { state: "TimedOut" }],
    [
      "stays approved after its time, if it was decided in time",
      { view: { ...view, decision: yes }, nowMs: END + 1 },
      { state: "Approved" },
    ],
    [
      "was decided too late",
      { view: { ...view, decision: { ...yes, decidedAt: new Date(END + 1000).toISOString() } } },
      { state: "TimedOut" },
    ],
    [
      "was decided at no readable time",
      { view: { ...view, decision: { ...yes, decidedAt: "soon" } } },
      { state: "TimedOut" },
    ],
    [
      "is not used a day after its end",
      { view: { ...view, decision: yes }, nowMs: END + APPROVAL_USE_MS },
      { state: "TimedOut" },
    ],
    [
      "is stale when the call is another",
      { view: { ...view, decision: yes }, currentDigest: other },
      { state: "Stale" },
    ],
    ["is stale when it waits and the rules change", { currentDigest: other }, { state: "Stale" }],
    ["is stale when the object says another thing", { view: { ...view, digest: other } }, { state: "Stale" }],
    [
      "is stale when the decision is about another thing",
      { view: { ...view, decision: { ...yes, digest: other } } },
      { state: "Stale" },
    ],
    [
      "stays rejected when the rules change",
      { view: { ...view, decision: no }, currentDigest: other },
      { state: "Rejected" },
    ],
    ["is rejected when the object is deleted", { view: undefined }, { state: "Rejected", decidedBy: "" }],
    [
      "is rejected when another object stands in its place",
      { view: { ...view, uid: "u2", decision: yes } },
      { state: "Rejected" },
    ],
  ])("%s", (...[, change, expected]) => {
    expect(decideApproval({ ...facts, ...change })).toMatchObject(expected);
  });
});

const anyDigest = fc.constantFrom(digest, other);
const anyTime = fc.integer({ min: END - 5000, max: END + APPROVAL_USE_MS + 5000 });
const anyFacts: fc.Arbitrary<ApprovalFacts> = fc.record({
  asked: fc.constant(asked),
  currentDigest: anyDigest,
  nowMs: anyTime,
  view: fc.option(
    fc.record({
      uid: fc.constantFrom("u1", "u2"),
      digest: anyDigest,
      expiresAtMs: fc.constant(END),
      decision: fc.option(
        fc.record({
          verdict: fc.constantFrom("Approve", "Deny"),
          decidedBy: fc.constant("ann"),
          decidedAt: fc.oneof(
            anyTime.map((ms) => new Date(ms).toISOString()),
            fc.constant("never"),
          ),
          digest: anyDigest,
        }),
        { nil: undefined },
      ),
    }),
    { nil: undefined },
  ),
});

describe("decideApproval, laws", () => {
  it("approves nothing but what a person approved: this object, this digest, in time", () => {
    fc.assert(
      fc.property(anyFacts, (any) => {
        if (decideApproval(any).state !== "Approved") return;
        expect(any.view).toMatchObject({ uid: "u1", digest, decision: { verdict: "Approve", digest } });
        expect(any.currentDigest).toBe(digest);
        expect(Date.parse(String(any.view?.decision?.decidedAt))).toBeLessThanOrEqual(END);
        expect(any.nowMs).toBeLessThan(END + APPROVAL_USE_MS);
      }),
      { numRuns: 5000 },
    );
  });

  it("never comes back from an end as time passes: an approval that nobody uses times out", () => {
    fc.assert(
      fc.property(anyFacts, fc.nat(APPROVAL_USE_MS), (any, laterMs) => {
        const before = decideApproval(any).state;
        const after = decideApproval({ ...any, nowMs: any.nowMs + laterMs }).state;
        const mayBecome = { Waiting: ["Waiting", "TimedOut"], Approved: ["Approved", "TimedOut"] };
        expect(before === "Waiting" || before === "Approved" ? mayBecome[before] : [before]).toContain(after);
      }),
      { numRuns: 5000 },
    );
  });

  it("keeps a no whatever else changes", () => {
    fc.assert(
      fc.property(anyFacts, anyDigest, anyTime, (any, currentDigest, nowMs) => {
        fc.pre(any.view?.decision?.verdict === "Deny");
        expect(decideApproval({ ...any, currentDigest, nowMs }).state).toBe("Rejected");
      }),
    );
  });
});

const text = fc.string({ maxLength: 6 });
const question: fc.Arbitrary<ApprovalQuestion> = fc.record({
  namespace: text,
  agentDeployment: text,
  agentGeneration: text,
  runId: text,
  callId: text,
  server: text,
  tool: text,
  arguments: text,
  ruleVersion: text,
});

describe("toDigestSubject", () => {
  it("differs where any part of the question does, and nowhere else", () => {
    fc.assert(
      fc.property(question, question, fc.constantFrom<keyof ApprovalQuestion>(...KEYS), (one, two, key) => {
        const changed = { ...one, [key]: two[key] };
        const same = JSON.stringify(toDigestSubject(one)) === JSON.stringify(toDigestSubject(changed));
        expect(same).toBe(one[key] === two[key]);
        const more = { ...one, actingFor: "x" };
        expect(toDigestSubject(more)).toEqual(one);
      }),
    );
  });
});

const KEYS = [
  "namespace",
  "agentDeployment",
  "agentGeneration",
  "runId",
  "callId",
  "server",
  "tool",
  "arguments",
  "ruleVersion",
] as const;

describe("names", () => {
  it("show the first digits of the digest, in object and item alike", () => {
    expect(approvalName("order-desk", digest)).toBe(`order-desk-${"ab".repeat(10)}`);
    expect(approvalItemId(digest)).toBe(`mcpr_${"ab".repeat(10)}`);
    expect(toRuleVersion(digest)).toBe(`1.${"ab".repeat(16)}`);
  });
});
