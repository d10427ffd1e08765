import { z } from "zod";
import { catalogueFlaws } from "./plan-rules.ts";

/**
 * The catalogue: the publisher's plans and what they sell, one file packaged with the chart. Only the reporter turns
 * base units into Marketplace dimensions with it; the pods know no plan. Prices stand in Partner Center. What a plan can
 * say in a sentence:
 *
 * | sentence                                                    | dimensions of the plan                                         |
 * | ----------------------------------------------------------- | -------------------------------------------------------------- |
 * | each conversation is billed                                 | `{id: chats}`                                                  |
 * | 1,000 conversations a month included, then each is billed   | `{id: chats, included: {quantity: "1000", per: Month}}`        |
 * | the next 4,000 at one price, all above at another (tiers)   | `{id: chats_t1, included: …, upTo: "5000"}` and                |
 * |                                                             | `{id: chats_t2, included: {quantity: "5000", per: Month}}`     |
 * | a base fee a month, whatever is used                        | `{id: base_fee, fee: {quantity: "1", per: Month}}`             |
 * | a base fee, pro rata when the plan changes                  | the same per Day                                               |
 * | never more than 20,000 a month, a warning at 80 %           | `hard: "20000"` beside `included` (which may be "0")           |
 * | counted and shown, never billed by us                       | `billing: BYOL`, `Free`, or `Predefined` (Azure bills pods)    |
 */

const WHOLE = 'must be a whole number in quotes, from "0" to "999999999999999999"';
const POSITIVE = 'must be a whole number in quotes, from "1" to "999999999999999999"';
const ID = "must be 1 to 63 lower case letters, digits and _, and begin with a letter";
const PLAN_ID = "must be 1 to 128 lower case letters, digits, - and _";

const units = z.string(WHOLE).regex(/^(0|[1-9][0-9]{0,17})$/, WHOLE);
const positive = z.string(POSITIVE).regex(/^[1-9][0-9]{0,17}$/, POSITIVE);
const dimension = z.string(ID).regex(/^[a-z][a-z0-9_]{0,62}$/, ID);
const text = (max: number) => {
  const rule = `must be a text of 1 to ${max} characters`;
  return z.string(rule).min(1, rule).max(max, rule);
};

const catalogueDimensionSchema = only({
  /** The Marketplace dimension id, fixed after publish. Part of a UsageStatement's name, so it ends in a letter or digit. */
  id: dimension.regex(/[a-z0-9]$/, "must end in a letter or digit"),
  /** The base dimension that it is counted in; billing_period for a fee. */
  from: dimension,
  /** What one unit is called on the receipt. */
  unit: text(64),
  /** Base units per unit sold. */
  divisor: positive,
});
export type CatalogueDimension = z.output<typeof catalogueDimensionSchema>;

const planDimensionSchema = only({
  id: dimension,
  /** Units per period that cost nothing extra. */
  included: only({ quantity: units, per: z.enum(["Month", "Year"]) }).exactOptional(),
  /** Units of the period; use above them is sold by the next tier, or by none. */
  upTo: positive.exactOptional(),
  /** Units that are due as a whole when a period begins. */
  fee: only({ quantity: positive, per: z.enum(["Day", "Month", "Year"]) }).exactOptional(),
  /** Share of `hard` at which people are warned. */
  softPercent: z.int().min(1).max(100).default(80),
  /** Units per period that are never exceeded. */
  hard: positive.exactOptional(),
});
export type PlanDimension = z.output<typeof planDimensionSchema>;

const planSchema = only({
  /** The planId that Azure injects. */
  id: z.string(PLAN_ID).regex(/^[a-z0-9][-a-z0-9_]{0,127}$/, PLAN_ID),
  displayName: text(128),
  billing: z.enum(["Custom", "Predefined", "BYOL", "Free"]),
  dimensions: z.array(planDimensionSchema).max(30),
  features: only({
    /** Agents per installation; absent: no bound. */
    agentsMax: z.int().min(1).exactOptional(),
    requestsPerMinute: z.int().min(1).exactOptional(),
  }).default({}),
});
export type Plan = z.output<typeof planSchema>;

/** The whole catalogue; cross-references are checked here so that a typo stops a start, not an invoice. */
export const catalogueSchema = only({
  dimensions: z.array(catalogueDimensionSchema).min(1).max(30),
  plans: z.array(planSchema).min(1).max(64),
}).superRefine((catalogue, context) => {
  // The rules between the parts take each part's own shape for granted.
  if (context.issues.length > 0) return;
  for (const { path, message } of catalogueFlaws(catalogue))
    context.addIssue({ code: "custom", path: [...path], message });
});
export type Catalogue = z.output<typeof catalogueSchema>;

/** The plan bought, or nothing when the catalogue does not know it. */
export function findPlan(catalogue: Catalogue, planId: string): Plan | undefined {
  return catalogue.plans.find((plan) => plan.id === planId);
}

/** An object that may hold these keys and no other; a typo is answered with the list. */
function only<S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  const keys = Object.keys(shape).join(", ");
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `may hold ${keys} only, not ${(issue.keys ?? []).join(", ")}`
        : issue.code === "invalid_type"
          ? `must be an object of ${keys}`
          : undefined,
  });
}
