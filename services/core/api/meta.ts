import { z } from "zod";

/** API group and version of every Supercargo resource. */
export const GROUP = "supercargo.dev";
export const VERSION = "v1alpha1";
export const API_VERSION = `${GROUP}/${VERSION}`;

/** Extensions of the structural schema that zod passes through `.meta()`. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
  readonly reason?: "FieldValueInvalid" | "FieldValueForbidden" | "FieldValueRequired" | "FieldValueDuplicate";
}

/** Attaches CEL rules to an object or list schema. Refinements of zod never reach a CRD, these do. */
export function cel(...rules: readonly CelRule[]): { "x-kubernetes-validations": readonly CelRule[] } {
  return { "x-kubernetes-validations": rules };
}

/** A list whose items are named things: server-side apply merges by key, duplicates are refused. */
export function mapList(...keys: readonly string[]): Record<string, unknown> {
  return { "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys };
}

/** A list of unique scalars. */
export const setList = { "x-kubernetes-list-type": "set" } as const;
/** A list replaced as a whole. */
export const atomicList = { "x-kubernetes-list-type": "atomic" } as const;

/** A DNS label: the name of a thing inside a resource. */
export const nameSchema = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);

/** A dimension as the Marketplace and Prometheus labels allow it. */
export const dimensionSchema = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z][a-z0-9_]*$/);

/** A count as a decimal string: JSON numbers end at 2^53, counts must not. The length bounds the cost of CEL rules. */
export const countSchema = z
  .string()
  .max(18)
  .regex(/^(0|[1-9][0-9]{0,17})$/);

/** An instant as RFC 3339 in UTC. */
export const timeSchema = z.string().max(40).meta({ format: "date-time" });

/** An hour in UTC as YYYYMMDDhh. */
export const hourSchema = z
  .string()
  .max(10)
  .regex(/^[0-9]{10}$/);

/** One condition, in the form of the Kubernetes API conventions. */
export const conditionSchema = z.object({
  type: z.string().min(1).max(64),
  status: z.enum(["True", "False", "Unknown"]),
  reason: z.string().min(1).max(64),
  message: z.string().max(1024),
  observedGeneration: z.int().min(0).max(9_007_199_254_740_991).optional(),
  lastTransitionTime: timeSchema,
});
export type Condition = z.infer<typeof conditionSchema>;

/** The part of metadata that our code reads; everything else passes through untouched. */
export const objectMetaSchema = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  generation: z.number().optional(),
  resourceVersion: z.string().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
