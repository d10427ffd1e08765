import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Control } from "./api/pod-config.ts";
import { PLAN_ROUTES, planFeaturesSchema } from "./api/plan-features.ts";
import { type PodUsageSpec, podUsageSpecSchema } from "./api/pod-usage.ts";
import { type GrantTerms, grantDue, toGrants } from "./entitlement.ts";
import { errorHeaders, Refusal } from "./errors.ts";
import { allowsTool, checkGrant, checkPlanModel, checkPlanRoute } from "./grant.ts";
import { catalogueSchema, findPlan } from "./plan.ts";

const NOW_MS = Date.UTC(2026, 10, 25, 12);
const VALID = "2026-11-25T13:00:00Z";

/** What a check throws: its code, its rule, and whether a client may come back. */
function refusalOf(check: () => void): string {
  try {
    check();
    return "allowed";
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return `${error.code} ${error.rule} ${errorHeaders(error.code)["x-should-retry"] ?? "retry"}: ${error.message}`;
  }
}

function controlOf(entitlement: Partial<Control["entitlement"]>, rest: Partial<Control> = {}): Control {
  return {
    mode: "Running",
    revokedKeys: [],
    leases: [],
    term: 1,
    clockOffsetSeconds: 0,
    entitlement: { state: "Active", planId: "pro", validUntil: VALID, ...entitlement },
    ...rest,
  };
}

describe("checkGrant()", () => {
  it.each([
    ["a good grant", controlOf({}), "allowed"],
    ["days of grace", controlOf({ state: "GracePeriod" }), "allowed"],
    ["no grant yet", undefined, "not_ready not_ready retry: Cannot serve before a grant has arrived"],
    [
      "mode Revoked",
      controlOf({}, { mode: "Revoked" }),
      "not_entitled not_entitled false: Cannot serve as the agent was revoked",
    ],
    [
      "a revoked subscription",
      controlOf({ state: "Revoked" }),
      "subscription_revoked subscription_revoked false: Cannot serve as the subscription was revoked",
    ],
    [
      "a suspended one, whatever the grant's end",
      controlOf({ state: "Suspended", validUntil: "2020-01-01T00:00:00Z" }),
      "subscription_suspended subscription_suspended false: Cannot serve as the subscription is suspended",
    ],
    [
      "a plan that nobody knows",
      controlOf({ state: "Unknown", planId: "gold" }),
      'unknown_plan unknown_plan false: Cannot serve as the plan must be one of this version\'s catalogue: current value is "gold"',
    ],
    [
      "a grant that ran out by the reporter's clock",
      controlOf({}, { clockOffsetSeconds: 3600 }),
      "grant_expired grant_expired false: Cannot serve as the grant ended at 2026-11-25T13:00:00Z",
    ],
  ])("%s", (_what, control, expected) => {
    expect(refusalOf(() => checkGrant(control, NOW_MS))).toBe(expected);
  });
});

describe("the plan's features", () => {
  const { entitlement } = controlOf({ features: { models: ["small", "fast"], routes: ["chat"] } });

  it("name the plan and what it allows", () => {
    expect(refusalOf(() => checkPlanModel(entitlement, "large"))).toBe(
      'not_entitled plan_models false: Cannot call the model as plan pro allows model small, fast: current value is "large"',
    );
    expect(refusalOf(() => checkPlanRoute(entitlement, "agent"))).toBe(
      'not_entitled plan_routes false: Cannot begin this as plan pro allows route chat: current value is "agent"',
    );
  });

  it("bound nothing in a grant of an older reporter", () => {
    const older = controlOf({}).entitlement;
    expect(refusalOf(() => checkPlanModel(older, "large"))).toBe("allowed");
    expect(refusalOf(() => checkPlanRoute(older, "agent"))).toBe("allowed");
    expect(allowsTool(older.features, { server: "orders", name: "get" })).toBe(true);
  });
});

const MODELS = ["small", "large", "fast"] as const;
const TOOLS = ["orders", "orders/get", "crm", "crm/find", "orders-2/get"] as const;
const subset = <T>(values: readonly T[]) => fc.subarray([...values], { minLength: 1 });
const features = fc.record(
  {
    models: subset(MODELS),
    routes: subset(PLAN_ROUTES),
    tools: subset(TOOLS),
    requestsPerMinute: fc.integer({ min: 1, max: 1_000_000_000 }),
    agentsMax: fc.integer({ min: 1, max: 9 }),
  },
  { requiredKeys: [] },
);
const catalogue = fc.tuple(features, features).map((each) =>
  catalogueSchema.parse({
    dimensions: [{ id: "chats", from: "workflow_completed", unit: "chat", divisor: "1" }],
    plans: each.map((one, index) => ({
      id: `p${index}`,
      displayName: "P",
      billing: "Free",
      dimensions: [],
      features: one,
    })),
  }),
);

const spec: PodUsageSpec = {
  podName: "a",
  component: "gateway",
  agentDeployment: "orders",
  offerResourceId: "offer",
  checkpointSeconds: 60,
};
const terms: GrantTerms = {
  mode: "Marketplace",
  planId: "p0",
  plan: undefined,
  lifeSeconds: 86_400,
  offsetSeconds: 0,
  term: 1,
  nowMs: NOW_MS,
  checkpointSeconds: 60,
  podCount: 1,
  limited: [],
};

describe("law: allowed exactly when the catalogue says so", () => {
  it("from the plan through the grant to the answer", () => {
    fc.assert(
      fc.property(
        catalogue,
        fc.constantFrom("p0", "p1", "p2"),
        fc.record({
          model: fc.constantFrom(...MODELS, "other"),
          route: fc.constantFrom(...PLAN_ROUTES),
          server: fc.constantFrom("orders", "crm", "orders-2"),
          name: fc.constantFrom("get", "find"),
        }),
        (plans, planId, ask) => {
          const plan = findPlan(plans, planId);
          const stored = podUsageSpecSchema.parse({ ...spec, grants: toGrants({ ...terms, planId, plan }, spec) });
          const entitlement = stored.grants?.entitlement;
          if (!entitlement) throw new Error("A grant must be there");
          const control = controlOf(entitlement);
          const isServed = refusalOf(() => checkGrant(control, NOW_MS)) === "allowed";
          expect(isServed).toBe(planId !== "p2");
          const sold = plans.plans.find(({ id }) => id === planId)?.features ?? {};
          const has = (list: readonly string[] | undefined, ...wanted: readonly string[]): boolean =>
            list === undefined || wanted.some((one) => list.includes(one));
          expect(refusalOf(() => checkPlanModel(entitlement, ask.model)) === "allowed").toBe(
            has(sold.models, ask.model),
          );
          expect(refusalOf(() => checkPlanRoute(entitlement, ask.route)) === "allowed").toBe(
            has(sold.routes, ask.route),
          );
          expect(allowsTool(entitlement.features, ask)).toBe(has(sold.tools, ask.server, `${ask.server}/${ask.name}`));
          expect(entitlement.features?.requestsPerMinute).toBe(sold.requestsPerMinute);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("a grant is written again exactly when what the plan allows has changed", () => {
    fc.assert(
      fc.property(features, features, (before, after) => {
        const grants = toGrants({ ...terms, plan: { features: before } }, spec);
        const wanted = planFeaturesSchema.parse(after);
        const isEqual = JSON.stringify(planFeaturesSchema.parse(before)) === JSON.stringify(wanted);
        expect(grantDue({ ...spec, grants }, { ...terms, plan: { features: after } })).toBe(!isEqual);
      }),
    );
  });
});
