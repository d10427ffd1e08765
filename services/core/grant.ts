import type { Control } from "./api/pod-config.ts";
import type { PlanFeatures, PlanRoute } from "./api/plan-features.ts";
import { Refusal } from "./errors.ts";

/**
 * Whether the agent may act at all; throws Refusal, for each cause another (docs/decisions/0020). A grant's `validUntil` was
 * written by the reporter's clock, which runs ahead by `clockOffsetSeconds` in a demo; so the same offset is added here.
 */
export function checkGrant(control: Control | undefined, nowMs: number): asserts control is Control {
  if (control === undefined) throw new Refusal("not_ready", "Cannot serve before a grant has arrived");
  const { entitlement, mode } = control;
  if (mode === "Revoked") throw new Refusal("not_entitled", "Cannot serve as the agent was revoked");
  if (entitlement.state === "Revoked")
    throw new Refusal("subscription_revoked", "Cannot serve as the subscription was revoked");
  if (entitlement.state === "Suspended")
    throw new Refusal("subscription_suspended", "Cannot serve as the subscription is suspended");
  if (entitlement.state === "Unknown")
    throw new Refusal(
      "unknown_plan",
      `Cannot serve as the plan must be one of this version's catalogue: current value is ${JSON.stringify(entitlement.planId)}`,
    );
  if (!(nowMs + control.clockOffsetSeconds * 1000 < validUntilMsOf(entitlement)))
    throw new Refusal("grant_expired", `Cannot serve as the grant ended at ${entitlement.validUntil}`);
}

/** Dates as numbers: every request asks twice, and a parse costs more than all other checks here. */
const parsed = new WeakMap<Control["entitlement"], number>();

function validUntilMsOf(entitlement: Control["entitlement"]): number {
  const known = parsed.get(entitlement);
  if (known !== undefined) return known;
  const validUntilMs = Date.parse(entitlement.validUntil);
  parsed.set(entitlement, validUntilMs);
  return validUntilMs;
}

/** Whether the plan allows an alias. Throws Refusal `not_entitled` of the rule `plan_models`, naming plan and models. */
export function checkPlanModel({ features, planId }: Control["entitlement"], model: string): void {
  if (allowsModel(features, model)) return;
  const allowed = `plan ${planId} allows model ${listed(features?.models)}`;
  throw new Refusal("not_entitled", `Cannot call the model as ${allowed}: current value is ${JSON.stringify(model)}`, {
    param: "model",
    rule: "plan_models",
  });
}

/** Whether the plan lets clients begin this. Throws Refusal `not_entitled` of the rule `plan_routes`. */
export function checkPlanRoute({ features, planId }: Control["entitlement"], route: PlanRoute): void {
  if (features?.routes === undefined || features.routes.includes(route)) return;
  const allowed = `plan ${planId} allows route ${listed(features.routes)}`;
  throw new Refusal("not_entitled", `Cannot begin this as ${allowed}: current value is "${route}"`, {
    rule: "plan_routes",
  });
}

/** Whether the plan allows an alias: any where it names none. */
export function allowsModel(features: PlanFeatures | undefined, model: string): boolean {
  return features?.models === undefined || features.models.includes(model);
}

/** Whether the plan allows a function of a tool: any where it names none, all of a tool that it names alone. */
export function allowsTool(
  features: PlanFeatures | undefined,
  { server, name }: { readonly server: string; readonly name: string },
): boolean {
  return (
    features?.tools === undefined || features.tools.includes(server) || features.tools.includes(`${server}/${name}`)
  );
}

function listed(names: readonly string[] = []): string {
  return names.join(", ");
}
