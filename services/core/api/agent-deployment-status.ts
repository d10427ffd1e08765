import { z } from "zod";
import { atomicList, conditionSchema, countSchema, hourSchema, mapList, timeSchema } from "./meta.ts";

const workloadStatusSchema = z.object({
  replicas: z.int32().optional(),
  readyReplicas: z.int32().optional(),
});

const usageSchema = z.object({
  dimension: z.string().max(63),
  windowStart: timeSchema.optional(),
  used: countSchema,
  included: countSchema.optional(),
  overage: countSchema.optional(),
  percent: z.int32().optional(),
});

/** Every field can be rebuilt from what is seen now; nothing is remembered here alone. */
export const agentDeploymentStatusSchema = z.object({
  observedGeneration: z.int().min(-1).max(9_007_199_254_740_991).optional(),
  lastHandledReconcileAt: z.string().max(64).optional(),
  conditions: z.array(conditionSchema).max(32).meta(mapList("type")).optional(),
  endpoint: z.string().max(2048).optional(),
  plan: z.object({ id: z.string().max(128), state: z.string().max(64), since: timeSchema.optional() }).optional(),
  usage: z.array(usageSchema).max(64).meta(mapList("dimension")).optional(),
  usageSummary: z.string().max(128).optional(),
  metering: z
    .object({
      lastAcceptedHour: hourSchema.optional(),
      pendingHours: z.int32().optional(),
      rejected: z.int32().optional(),
    })
    .optional(),
  configHash: z.string().max(64).optional(),
  enforced: z.object({ pods: z.int32(), total: z.int32() }).optional(),
  references: z
    .array(z.object({ kind: z.string().max(63), name: z.string().max(253), hash: z.string().max(64) }))
    .max(128)
    .meta(atomicList)
    .optional(),
  inventory: z
    .array(z.object({ apiVersion: z.string().max(128), kind: z.string().max(63), name: z.string().max(253) }))
    .max(128)
    .meta(atomicList)
    .optional(),
  gateway: workloadStatusSchema.optional(),
  orchestrator: workloadStatusSchema.optional(),
});
export type AgentDeploymentStatus = z.output<typeof agentDeploymentStatusSchema>;
