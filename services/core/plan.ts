import { z } from "zod";
import { countSchema, dimensionSchema } from "./api/meta.ts";

/**
 * The catalogue: the publisher's plans and what they sell, one file packaged with the chart. Only the reporter turns
 * base units into Marketplace dimensions with it; the pods know no plan.
 */
const catalogueDimensionSchema = z.strictObject({
  /** The Marketplace dimension id, fixed after publish. Part of a UsageStatement's name, so it ends in a letter or digit. */
  id: dimensionSchema.regex(/[a-z0-9]$/, "must end in a letter or digit"),
  /** The base dimension that it is counted in. */
  from: dimensionSchema,
  /** What one unit is called on the receipt. */
  unit: z.string().min(1).max(64),
  /** Base units per unit sold. */
  divisor: z.string().regex(/^[1-9][0-9]{0,17}$/),
});
export type CatalogueDimension = z.output<typeof catalogueDimensionSchema>;

const planDimensionSchema = z.strictObject({
  id: dimensionSchema,
  /** Units per period that cost nothing extra. */
  included: z.strictObject({ quantity: countSchema, per: z.enum(["Month", "Year"]) }).exactOptional(),
  softPercent: z.int().min(1).max(100).default(80),
  /** Units per period that are never exceeded. */
  hard: countSchema.exactOptional(),
});

const planSchema = z.strictObject({
  /** The planId that Azure injects. */
  id: z.string().min(1).max(128),
  displayName: z.string().min(1).max(128),
  billing: z.enum(["Custom", "Predefined", "BYOL", "Free"]),
  dimensions: z.array(planDimensionSchema).max(30),
  features: z
    .strictObject({
      /** Agents per installation; absent: no bound. */
      agentsMax: z.int().min(1).exactOptional(),
      requestsPerMinute: z.int().min(1).exactOptional(),
    })
    .default({}),
});
export type Plan = z.output<typeof planSchema>;

/** The whole catalogue; cross-references are checked here so that a typo stops a start, not an invoice. */
export const catalogueSchema = z
  .strictObject({
    dimensions: z.array(catalogueDimensionSchema).min(1).max(30),
    plans: z.array(planSchema).min(1).max(64),
  })
  .superRefine((catalogue, context) => {
    const ids = catalogue.dimensions.map((dimension) => dimension.id);
    reportDuplicates(ids, "dimensions", context);
    reportDuplicates(
      catalogue.plans.map((plan) => plan.id),
      "plans",
      context,
    );
    catalogue.plans.forEach((plan, p) =>
      plan.dimensions.forEach((dimension, d) => {
        if (!ids.includes(dimension.id))
          context.addIssue({
            code: "custom",
            path: ["plans", p, "dimensions", d, "id"],
            message: `must be one of dimensions (${ids.join(", ")})`,
          });
      }),
    );
  });
export type Catalogue = z.output<typeof catalogueSchema>;

/** The plan bought, or nothing when the catalogue does not know it. */
export function findPlan(catalogue: Catalogue, planId: string): Plan | undefined {
  return catalogue.plans.find((plan) => plan.id === planId);
}

function reportDuplicates(ids: readonly string[], field: string, context: z.RefinementCtx): void {
  ids.forEach((id, index) => {
    if (ids.indexOf(id) !== index)
      context.addIssue({ code: "custom", path: [field, index, "id"], message: `must be unique, ${id} stands twice` });
  });
}
