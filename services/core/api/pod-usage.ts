import { z } from "zod";
import {
  atomicList,
  cel,
  countSchema,
  dimensionSchema,
  hourSchema,
  mapList,
  nameSchema,
  objectMetaSchema,
  timeSchema,
} from "./meta.ts";
import { planFeaturesSchema } from "./plan-features.ts";

/** Base dimensions of one pod: the closed list plus what its agent declares. */
const DIMENSIONS_MAX = 32;

/** The data plane's switch, written by the operator (field manager supercargo-operator). */
export const controlSpecSchema = z.object({
  mode: z.enum(["Running", "Constrained", "Paused", "Revoked"]),
  configDigest: z.string().max(64).optional().describe("SHA-256 of the config this pod should run with."),
  revokedKeys: z
    .array(z.string().regex(/^[0-9a-f]{64}$/))
    .max(64)
    .meta({ "x-kubernetes-list-type": "set" })
    .optional()
    .describe("Hashes of API keys that are refused before the config catches up."),
});

export const entitlementSchema = z.object({
  state: z.enum(["Active", "GracePeriod", "Suspended", "Revoked", "Unknown"]),
  planId: z.string().max(128).describe("The plan bought; empty in plain mode."),
  validUntil: timeSchema.describe("After this instant the pod refuses: a grant that nobody renews ends by itself."),
  features: planFeaturesSchema.optional().describe("What the plan allows; what is absent is not bounded."),
});

const leaseSchema = z.object({
  dimension: dimensionSchema,
  upTo: countSchema.describe("Ceiling on the pod's cumulative total; not an amount."),
});

/** What a pod may use, written by the reporter (field manager supercargo-reporter); the first one by the operator. */
export const grantsSchema = z.object({
  term: z.int32().min(0),
  entitlement: entitlementSchema,
  clockOffsetSeconds: z.int32().min(0).default(0),
  checkpointSeconds: z
    .int32()
    .min(5)
    .max(3600)
    .optional()
    .describe("K in force instead of spec.checkpointSeconds: grows with the number of pods."),
  leases: z.array(leaseSchema).max(DIMENSIONS_MAX).meta(mapList("dimension")).optional(),
});

const identityRule = (field: string) => ({
  rule: `self.${field} == oldSelf.${field}`,
  message: `${field} is immutable`,
  fieldPath: `.${field}`,
  reason: "FieldValueForbidden" as const,
});

export const podUsageSpecSchema = z
  .object({
    podName: z.string().min(1).max(253),
    component: z.enum(["gateway", "orchestrator"]),
    agentDeployment: nameSchema,
    offerResourceId: z.string().max(1024).describe("ARM id of the extension; `plain` where nothing is billed."),
    checkpointSeconds: z.int32().min(5).max(3600).describe("K: how often the sidecar publishes."),
    control: controlSpecSchema.optional(),
    grants: grantsSchema.optional(),
  })
  .meta(
    cel(
      identityRule("podName"),
      identityRule("component"),
      identityRule("agentDeployment"),
      identityRule("offerResourceId"),
    ),
  );

/** R1: base units since the pod began, whole and in strings; no total may fall. */
const totalSchema = z
  .object({
    dimension: dimensionSchema,
    total: countSchema.describe("Base units since the pod began, over all epochs."),
    last: countSchema.describe("The counter's value at the newest scrape of this epoch."),
  })
  .meta(
    cel({
      rule: "int(self.total) >= int(oldSelf.total)",
      message: "total may not fall",
      fieldPath: ".total",
      reason: "FieldValueInvalid",
    }),
  );

const boundarySchema = z.object({
  hour: hourSchema.describe("The hour that ended at this boundary."),
  totals: z
    .array(z.object({ dimension: dimensionSchema, total: countSchema }))
    .max(DIMENSIONS_MAX)
    .meta(atomicList),
});

export const podUsageStatusSchema = z
  .object({
    epoch: z.string().max(64).optional(),
    sequence: countSchema,
    totals: z
      .array(totalSchema)
      .max(DIMENSIONS_MAX)
      .meta({
        ...mapList("dimension"),
        ...cel({
          rule: "oldSelf.all(o, self.exists(n, n.dimension == o.dimension))",
          message: "a dimension may not vanish",
          reason: "FieldValueInvalid",
        }),
      }),
    boundaries: z.array(boundarySchema).max(26).meta(atomicList).optional(),
    final: z.enum(["Yes", "No"]).default("No").describe("Yes: the pod ended and this is all."),
    reportedAt: timeSchema.optional(),
    quarantined: z.array(dimensionSchema).max(DIMENSIONS_MAX).meta({ "x-kubernetes-list-type": "set" }).optional(),
    leases: z
      .array(
        z.object({
          dimension: dimensionSchema,
          want: countSchema.describe("The total that the pod needs for what it does now."),
          ack: countSchema.describe("The ceiling in force: a lower one only once no call in flight can end above it."),
        }),
      )
      .max(DIMENSIONS_MAX)
      .meta(mapList("dimension"))
      .optional(),
    enforced: z
      .object({
        configDigest: z.string().max(64),
        controlDigest: z.string().max(64),
        mode: z
          .string()
          .max(16)
          .optional()
          .describe("The mode that the service applies; absent before the first control."),
      })
      .optional()
      .describe("What the service runs with: digests of config and control, and the mode."),
  })
  .meta(
    cel({
      rule: "int(self.sequence) >= int(oldSelf.sequence)",
      message: "sequence may not fall",
      fieldPath: ".sequence",
      reason: "FieldValueInvalid",
    }),
  );

/**
 * Cumulative usage of one pod; its name is the pod's UID. Never owned by a pod: it holds money. R2: the sidecar writes its
 * status and nothing else, and is refused every other object.
 */
export const podUsageSchema = z.object({
  apiVersion: z.string(),
  kind: z.literal("PodUsage"),
  metadata: objectMetaSchema,
  spec: podUsageSpecSchema,
  status: podUsageStatusSchema.optional(),
});
export type PodUsage = z.output<typeof podUsageSchema>;
export type PodUsageSpec = z.output<typeof podUsageSpecSchema>;
export type PodUsageStatus = z.output<typeof podUsageStatusSchema>;
export type Grants = z.output<typeof grantsSchema>;
export type Entitlement = z.output<typeof entitlementSchema>;
