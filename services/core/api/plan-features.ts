import { z } from "zod";
import { atomicList } from "./meta.ts";

/** What clients may begin: a call of a model on each of three routes, and a run of the agent. */
export const PLAN_ROUTES = ["chat", "responses", "embeddings", "agent"] as const;
export type PlanRoute = (typeof PLAN_ROUTES)[number];

export const PLAN_MODELS_MAX = 64;
export const PLAN_TOOLS_MAX = 128;
/** TOOL, or TOOL/FUNCTION. */
export const PLAN_TOOL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\/[a-zA-Z0-9_-]{1,64})?$/;

/**
 * What the plan allows, as a grant carries it. Absent: all of it. One value to server-side apply: what the operator wrote
 * first must not outlive a plan that says nothing of it.
 */
export const planFeaturesSchema = z
  .object({
    requestsPerMinute: z
      .int32()
      .min(1)
      .max(1_000_000_000)
      .optional()
      .describe("Requests of this AgentDeployment in a minute, over all of its gateway pods."),
    models: z
      .array(z.string().max(63))
      .max(PLAN_MODELS_MAX)
      .meta(atomicList)
      .optional()
      .describe("Aliases of models that may be called."),
    routes: z
      .array(z.enum(PLAN_ROUTES))
      .max(PLAN_ROUTES.length)
      .meta(atomicList)
      .optional()
      .describe("What clients may begin."),
    tools: z
      .array(z.string().max(128))
      .max(PLAN_TOOLS_MAX)
      .meta(atomicList)
      .optional()
      .describe("Tools, or TOOL/FUNCTION, that the agent may call."),
  })
  .meta({ "x-kubernetes-map-type": "atomic" });
export type PlanFeatures = z.output<typeof planFeaturesSchema>;
