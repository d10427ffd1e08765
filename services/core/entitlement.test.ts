import { describe, expect, it } from "vitest";
import type { Grants, PodUsageSpec } from "./api/pod-usage.ts";
import { checkpointSecondsOf } from "./counted.ts";
import { COUNT_MAX } from "./ledger.ts";
import { adaptCheckpointSeconds, grantDue, type GrantTerms, toGrants } from "./entitlement.ts";

const NOW_MS = Date.UTC(2026, 10, 22, 8);
const terms: GrantTerms = {
  mode: "Marketplace",
  planId: "starter",
  plan: { features: {} },
  lifeSeconds: 86_400,
  offsetSeconds: 0,
  term: 3,
  nowMs: NOW_MS,
  checkpointSeconds: 60,
  podCount: 3,
  limited: ["d"],
};
const granted = toGrants(terms, specOf(undefined));

function specOf(grants: Grants | undefined): PodUsageSpec {
  return {
    podName: "orders-1",
    component: "gateway",
    agentDeployment: "orders",
    offerResourceId: "plain",
    checkpointSeconds: 60,
    ...(grants ? { grants } : {}),
  };
}

describe("toGrants()", () => {
  it.each([
    ["a known plan", {}, "Active"],
    ["a plan that the catalogue does not know: our mistake, not the customer's", { plan: undefined }, "Unknown"],
    ["no plan at all", { mode: "Plain" as const, planId: "", plan: undefined }, "Active"],
  ])("%s", (_what, part, state) => {
    expect(toGrants({ ...terms, ...part }, specOf(undefined)).entitlement.state).toBe(state);
  });

  it("ends a life after now, keeps leases, and never turns the clock back", () => {
    const current: Grants = { ...granted, clockOffsetSeconds: 60, leases: [{ dimension: "d", upTo: "5" }] };
    expect(toGrants({ ...terms, offsetSeconds: 30 }, specOf(current))).toEqual({
      term: 3,
      entitlement: { state: "Active", features: {}, planId: "starter", validUntil: "2026-11-23T08:00:00.000Z" },
      clockOffsetSeconds: 60,
      leases: [{ dimension: "d", upTo: "5" }],
    });
  });

  it("writes the ceilings that it is given, and frees a dimension that the plan limits no more", () => {
    const current: Grants = {
      ...granted,
      leases: [
        { dimension: "d", upTo: "5" },
        { dimension: "e", upTo: "6" },
      ],
    };
    expect(toGrants(terms, specOf(current), new Map([["d", 9n]])).leases).toEqual([
      { dimension: "d", upTo: "9" },
      { dimension: "e", upTo: COUNT_MAX.toString() },
    ]);
  });

  it("gives the ceiling 0 where the plan limits and there is no lease yet: without one a pod counts without end", () => {
    const current = { ...granted, leases: [{ dimension: "e", upTo: "7" }] };
    const two = { ...terms, limited: ["d", "e"] };
    expect(toGrants(two, specOf(current)).leases).toEqual([
      { dimension: "e", upTo: "7" },
      { dimension: "d", upTo: "0" },
    ]);
    expect(toGrants({ ...terms, limited: [] }, specOf(undefined))).not.toHaveProperty("leases");
  });

  it("says K where it is not the pod's own", () => {
    expect(toGrants(terms, specOf(granted))).not.toHaveProperty("checkpointSeconds");
    const grants = toGrants({ ...terms, podCount: 10_000 }, specOf(granted));
    expect(grants.checkpointSeconds).toBe(500);
    expect(checkpointSecondsOf(specOf(grants))).toBe(500);
    expect(checkpointSecondsOf(specOf(granted))).toBe(60);
  });
});

describe("grantDue()", () => {
  const HALF_MS = 43_200_000;
  it.each([
    ["no grant", undefined, {}, true],
    ["a fresh grant", granted, {}, false],
    ["a fresh grant of an older term", { ...granted, term: 1 }, {}, false],
    ["just before half of its life", granted, { nowMs: NOW_MS + HALF_MS }, false],
    ["after half of its life", granted, { nowMs: NOW_MS + HALF_MS + 1 }, true],
    ["another plan", granted, { planId: "business" }, true],
    ["a plan that became unknown", granted, { plan: undefined }, true],
    ["a clock that went forward", granted, { offsetSeconds: 1 }, true],
    ["a clock that seems to go back", { ...granted, clockOffsetSeconds: 9 }, {}, false],
    ["a lease of a dimension that is limited", { ...granted, leases: [{ dimension: "d", upTo: "5" }] }, {}, false],
    ["a lease of one that is not any more", { ...granted, leases: [{ dimension: "e", upTo: "5" }] }, {}, true],
    ["so many pods that K grows", granted, { podCount: 1600 }, true],
    ["more pods, but K stays", granted, { podCount: 1200 }, false],
    ["an end that cannot be read", { ...granted, entitlement: { ...granted.entitlement, validUntil: "" } }, {}, true],
  ])("%s", (...[, current, part, expected]) => {
    expect(grantDue(specOf(current), { ...terms, ...part })).toBe(expected);
  });
});

describe("adaptCheckpointSeconds()", () => {
  it.each([
    ["few pods", 60, 100, 60],
    ["the bound of 20 writes a second", 60, 1200, 60],
    ["a step within 20 %", 60, 1440, 60],
    ["a step beyond 20 %", 60, 1441, 73],
    ["ten thousand pods", 60, 10_000, 500],
    ["a little less of them", 500, 8_000, 500],
    ["much less of them", 500, 7_980, 399],
    ["so few again that the setting rules", 70, 1200, 60],
    ["more pods than any K suits", 60, 1_000_000, 3600],
  ])("%s", (_what, current, podCount, expected) => {
    expect(adaptCheckpointSeconds(current, { checkpointSeconds: 60, podCount })).toBe(expected);
  });
});
