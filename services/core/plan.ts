import { z } from "zod";
import { PLAN_MODELS_MAX, PLAN_ROUTES, PLAN_TOOL, PLAN_TOOLS_MAX } from "./api/plan-features.ts";
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

/*
 * Each value has one rule, and the rule is its error message, whatever is wrong with it. The generated JSON Schema carries
 * the same words (`errorMessage`, `keys`), so that the chart and an editor refuse with them too.
 */
const units = ruled('must be a whole number in quotes, from "0" to "999999999999999999"', (rule) =>
  z.string(rule).regex(/^(0|[1-9][0-9]{0,17})$/, rule),
);
const positive = ruled('must be a whole number in quotes, from "1" to "999999999999999999"', (rule) =>
  z.string(rule).regex(/^[1-9][0-9]{0,17}$/, rule),
);
const dimension = ruled("must be 1 to 63 lower case letters, digits and _, and begin with a letter", (rule) =>
  z.string(rule).regex(/^[a-z][a-z0-9_]{0,62}$/, rule),
);
const text = (max: number) =>
  ruled(`must be a text of 1 to ${max} characters`, (rule) =>
    z.string(rule).regex(new RegExp(`^[\\s\\S]{1,${max}}$`, "u"), rule),
  );
const choice = <const T extends readonly [string, ...string[]]>(options: T) =>
  ruled(`must be ${options.slice(0, -1).join(", ")} or ${options.at(-1)}`, (rule) => z.enum(options, { error: rule }));
const percent = ruled("must be a whole number from 1 to 100", (rule) => z.int(rule).min(1, rule).max(100, rule));
const count = ruled("must be a whole number from 1 to 1000000000", (rule) =>
  z.int(rule).min(1, rule).max(1_000_000_000, rule),
);

const catalogueDimensionSchema = only({
  /** The Marketplace dimension id, fixed after publish. It ends in a letter or digit as a UsageStatement's name does. */
  id: ruled(
    "must be 1 to 63 lower case letters, digits and _, begin with a letter and end with a letter or digit",
    (rule) => z.string(rule).regex(/^[a-z]([a-z0-9_]{0,61}[a-z0-9])?$/, rule),
  ),
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
  included: only({ quantity: units, per: choice(["Month", "Year"]) }).exactOptional(),
  /** Units of the period; use above them is sold by the next tier, or by none. */
  upTo: positive.exactOptional(),
  /** Units that are due as a whole when a period begins. */
  fee: only({ quantity: positive, per: choice(["Day", "Month", "Year"]) }).exactOptional(),
  /** Share of `hard` at which people are warned. */
  softPercent: percent.default(80),
  /** Units per period that are never exceeded. */
  hard: positive.exactOptional(),
});
export type PlanDimension = z.output<typeof planDimensionSchema>;

/** What a plan allows, beside what it sells. Absent: all of it. */
const featuresSchema = only({
  /** Agents per installation; absent: no bound. */
  agentsMax: count.exactOptional(),
  /** Requests of one AgentDeployment in a minute, over all of its gateway pods. */
  requestsPerMinute: count.exactOptional(),
  /** Aliases of models that may be called, by clients and by the agent itself. */
  models: listOf(
    "names of models",
    ruled("must be 1 to 63 lower case letters, digits and -, and begin and end with a letter or digit", (rule) =>
      z.string(rule).regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, rule),
    ),
    PLAN_MODELS_MAX,
  ).exactOptional(),
  /** What clients may begin. */
  routes: listOf("routes", choice(PLAN_ROUTES), PLAN_ROUTES.length).exactOptional(),
  /** Tools that the agent may call: all functions of one, or one function of it. */
  tools: listOf(
    "tools",
    ruled("must be the name of a tool, or tool/function", (rule) => z.string(rule).regex(PLAN_TOOL, rule)),
    PLAN_TOOLS_MAX,
  ).exactOptional(),
});

const planSchema = only({
  /** The planId that Azure injects. */
  id: ruled("must be 1 to 128 lower case letters, digits, - and _, and begin with a letter or digit", (rule) =>
    z.string(rule).regex(/^[a-z0-9][-a-z0-9_]{0,127}$/, rule),
  ),
  displayName: text(128),
  billing: choice(["Custom", "Predefined", "BYOL", "Free"]),
  dimensions: ruled("must be a list of at most 30 dimensions", (rule) =>
    z.array(planDimensionSchema, rule).max(30, rule),
  ),
  features: featuresSchema.default({}),
});
export type Plan = z.output<typeof planSchema>;

/** The whole catalogue; cross-references are checked here so that a typo stops a start, not an invoice. */
export const catalogueSchema = only({
  dimensions: ruled("must be a list of 1 to 30 dimensions", (rule) =>
    z.array(catalogueDimensionSchema, rule).min(1, rule).max(30, rule),
  ),
  plans: ruled("must be a list of 1 to 64 plans", (rule) => z.array(planSchema, rule).min(1, rule).max(64, rule)),
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

/** A list that names something: an empty one would allow nothing, so it is taken for a mistake. */
function listOf<S extends z.ZodType>(what: string, item: S, max: number): z.ZodArray<S> {
  return ruled(`must be a list of 1 to ${max} ${what}`, (rule) => z.array(item, rule).min(1, rule).max(max, rule));
}

/** A schema with one rule for all that can be wrong. */
function ruled<S extends z.ZodType>(rule: string, make: (rule: string) => S): S {
  return make(rule).meta({ errorMessage: rule });
}

/** An object that may hold these keys and no other; a typo is answered with the list. */
function only<S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  const keys = Object.keys(shape);
  const rule = `must be an object of ${keys.join(", ")}`;
  const error: z.core.$ZodErrorMap = (issue) =>
    issue.code === "unrecognized_keys"
      ? `may hold ${keys.join(", ")} only, not ${(issue.keys ?? []).toSorted().join(", ")}`
      : rule;
  return z.strictObject(shape, { error }).meta({ errorMessage: rule, keys });
}
