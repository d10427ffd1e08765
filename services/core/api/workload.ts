import { z } from "zod";
import { atomicList, cel, mapList } from "./meta.ts";

const quantityMapSchema = z.record(z.string(), z.string().max(32));

const tolerationSchema = z.object({
  key: z.string().max(316).optional(),
  operator: z.enum(["Exists", "Equal"]).optional(),
  value: z.string().max(63).optional(),
  effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]).optional(),
  tolerationSeconds: z.int32().optional(),
});

const topologySpreadConstraintSchema = z.object({
  maxSkew: z.int32().min(1).max(100),
  topologyKey: z.string().min(1).max(316),
  whenUnsatisfiable: z.enum(["DoNotSchedule", "ScheduleAnyway"]),
});

const envSchema = z
  .object({
    name: z
      .string()
      .min(1)
      .max(128)
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/),
    value: z.string().max(4096),
  })
  .meta(
    cel({
      rule: "!self.name.startsWith('SUPERCARGO_') && !self.name.startsWith('NODE_') && !self.name.startsWith('AZURE_') && !self.name.startsWith('FOUNDRY_')",
      message: "extraEnv may not set SUPERCARGO_*, NODE_*, AZURE_* or FOUNDRY_*",
      fieldPath: ".name",
      reason: "FieldValueForbidden",
    }),
  );

const autoscalingSchema = z
  .object({
    minReplicas: z.int32().min(1).max(100),
    maxReplicas: z.int32().min(1).max(100),
    cpuUtilizationPercent: z
      .int32()
      .min(10)
      .max(100)
      .default(70)
      .describe("CPU that the container uses on average, in percent of what it requests, above which pods are added."),
  })
  .meta(
    cel({
      rule: "self.maxReplicas >= self.minReplicas",
      message: "maxReplicas must be at least minReplicas",
      fieldPath: ".maxReplicas",
      reason: "FieldValueInvalid",
    }),
  )
  .describe("Number of pods by a HorizontalPodAutoscaler; excludes replicas.");

/** Kept apart, as `.extend()` drops the rules of the schema that it extends. */
export const workloadRules = [
  {
    rule: "!(has(self.replicas) && has(self.autoscaling))",
    message: "replicas and autoscaling exclude each other",
    reason: "FieldValueInvalid",
  },
  {
    rule: "!has(self.autoscaling) || !has(self.resources) || (has(self.resources.requests) && 'cpu' in self.resources.requests)",
    message: "resources.requests.cpu must be set where autoscaling is: it is what use is measured by",
    fieldPath: ".resources",
    reason: "FieldValueInvalid",
  },
] as const;

/** How one of the two workloads of an agent runs. No PodSpec: a CRD that embeds one outgrows its limits. */
export const workloadSchema = z
  .object({
    replicas: z.int32().min(0).max(100).optional().describe("Fixed number of pods; excludes autoscaling."),
    autoscaling: autoscalingSchema.optional(),
    resources: z
      .object({ requests: quantityMapSchema.optional(), limits: quantityMapSchema.optional() })
      .optional()
      .describe("Of the main container."),
    nodeSelector: z.record(z.string(), z.string().max(63)).optional(),
    tolerations: z.array(tolerationSchema).max(16).meta(atomicList).optional(),
    topologySpreadConstraints: z.array(topologySpreadConstraintSchema).max(8).meta(atomicList).optional(),
    priorityClassName: z.string().max(253).optional(),
    podLabels: z.record(z.string(), z.string().max(63)).optional(),
    podAnnotations: z.record(z.string(), z.string().max(4096)).optional(),
    extraEnv: z.array(envSchema).max(32).meta(mapList("name")).optional(),
  })
  .meta(cel(...workloadRules));
export type Workload = z.output<typeof workloadSchema>;
