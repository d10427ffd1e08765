import { describe, expect, it } from "vitest";
import type { Grants } from "./api/pod-usage.ts";
import { grantDue, type GrantTerms, toGrants } from "./entitlement.ts";

const NOW_MS = Date.UTC(2026, 10, 22, 8);
const terms: GrantTerms = {
  mode: "Marketplace",
  planId: "starter",
  planKnown: true,
  lifeSeconds: 86_400,
  offsetSeconds: 0,
  term: 3,
  nowMs: NOW_MS,
};
const granted = toGrants(terms, undefined);

describe("toGrants()", () => {
  it.each([
    ["a known plan", {}, "Active"],
    ["a plan that the catalogue does not know: our mistake, not the customer's", { planKnown: false }, "Unknown"],
    ["no plan at all", { mode: "Plain" as const, planId: "", planKnown: false }, "Active"],
  ])("%s", (_what, part, state) => {
    expect(toGrants({ ...terms, ...part }, undefined).entitlement.state).toBe(state);
  });

  it("ends a life after now, keeps leases, and never turns the clock back", () => {
    const current: Grants = { ...granted, clockOffsetSeconds: 60, leases: [{ dimension: "d", upTo: "5" }] };
    expect(toGrants({ ...terms, offsetSeconds: 30 }, current)).toEqual({
      term: 3,
      entitlement: { state: "Active", planId: "starter", validUntil: "2026-11-23T08:00:00.000Z" },
      clockOffsetSeconds: 60,
      leases: [{ dimension: "d", upTo: "5" }],
    });
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
    ["a plan that became unknown", granted, { planKnown: false }, true],
    ["a clock that went forward", granted, { offsetSeconds: 1 }, true],
    ["a clock that seems to go back", { ...granted, clockOffsetSeconds: 9 }, {}, false],
    ["an end that cannot be read", { ...granted, entitlement: { ...granted.entitlement, validUntil: "" } }, {}, true],
  ])("%s", (...[, current, part, expected]) => {
    expect(grantDue(current, { ...terms, ...part })).toBe(expected);
  });
});
