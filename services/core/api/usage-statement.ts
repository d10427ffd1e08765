import { z } from "zod";
import { cel, countSchema, dimensionSchema, hourSchema, mapList, objectMetaSchema, timeSchema } from "./meta.ts";
import { LEDGER_BOUNDS, shareSchema } from "./usage-ledger.ts";

/** R4: fixed before the first byte is sent, and never edited: the same quantity is sent however often. */
export const intentSchema = z.object({
  offerResourceId: z.string().min(1).max(1024).describe("Sent verbatim as resourceUri."),
  hour: hourSchema.describe("The slot, YYYYMMDDhh in UTC."),
  effectiveStartTime: timeSchema.describe("The start of that hour."),
  dimension: dimensionSchema,
  planId: z.string().max(128),
  quantity: countSchema.describe("Whole units."),
  unit: z.string().max(64).describe("What one unit is."),
  divisor: countSchema.describe("Base units per unit."),
  baseUnits: countSchema.describe("quantity × divisor; the sum of the shares."),
  agents: z.string().max(200).describe("Whose usage this is, in short."),
  catalogueDigest: z.string().max(64),
  shares: z.array(shareSchema).max(LEDGER_BOUNDS.agents).meta(mapList("agent")),
});
export type Intent = z.output<typeof intentSchema>;

const attemptSchema = z.object({
  at: timeSchema,
  requestId: z.string().max(64),
  httpStatus: z.int32().min(0).describe("0: no answer."),
  status: z.string().max(64).describe("The answer's own word."),
  message: z.string().max(256).optional(),
});
export type Attempt = z.output<typeof attemptSchema>;

/** How a slot ended. shares + adjustment == accepted, in base units. */
export const outcomeSchema = z.object({
  state: z
    .enum(["Accepted", "DuplicateSame", "DuplicateOther", "Reconciled", "Unknown", "Dropped", "Settled"])
    .describe("Dropped: what was not accepted is written off. Settled: by a person's command."),
  acceptedQuantity: z
    .string()
    .max(40)
    .regex(/^[0-9]+(\.[0-9]+)?$/)
    .describe("As Azure said it; a foreign writer may have sent a fraction."),
  acceptedBaseUnits: countSchema,
  adjustmentBaseUnits: z
    .string()
    .max(20)
    .regex(/^-?(0|[1-9][0-9]{0,17})$/)
    .describe("What was accepted beyond the intent, negative if less; it is carried to later hours."),
  usageEventId: z.string().max(128).optional(),
  usageResourceId: z.string().max(128).optional(),
  resolvedBy: z.enum(["Answer", "Reconciliation", "Command"]),
  at: timeSchema.describe("When it ended; with an answer, by Azure's own clock."),
  note: z.string().max(512).optional(),
});
export type Outcome = z.output<typeof outcomeSchema>;

export const usageStatementSpecSchema = z
  .object({
    intent: intentSchema,
    state: z.enum([
      "Planned",
      "Retrying",
      "Parked",
      "Expired",
      "Accepted",
      "DuplicateSame",
      "DuplicateOther",
      "Reconciled",
      "Unknown",
      "Dropped",
      "Settled",
    ]),
    attempts: z.object({
      count: z.int32().min(0),
      first: z.array(attemptSchema).max(3).meta({ "x-kubernetes-list-type": "atomic" }),
      last: z.array(attemptSchema).max(5).meta({ "x-kubernetes-list-type": "atomic" }),
    }),
    outcome: outcomeSchema.optional(),
  })
  .meta(
    cel(
      {
        rule: "self.intent == oldSelf.intent",
        message: "intent is immutable",
        fieldPath: ".intent",
        reason: "FieldValueForbidden",
      },
      {
        rule: "!has(oldSelf.outcome) || (has(self.outcome) && self.outcome == oldSelf.outcome)",
        message: "an outcome is written once",
        reason: "FieldValueForbidden",
      },
      {
        rule: "self.attempts.count >= oldSelf.attempts.count",
        message: "attempts may not fall",
        fieldPath: ".attempts",
        reason: "FieldValueInvalid",
      },
    ),
  );

/**
 * One slot's account: what was meant, how often it was sent, what came of it, whose it is. The customer's receipt.
 * Cluster-scoped, no status subresource, written by the reporter alone.
 */
export const usageStatementSchema = z.object({
  apiVersion: z.string(),
  kind: z.literal("UsageStatement"),
  metadata: objectMetaSchema,
  spec: usageStatementSpecSchema,
});
export type UsageStatement = z.output<typeof usageStatementSchema>;
export type Statement = z.output<typeof usageStatementSpecSchema>;

/** `<hash of the resource id>-<YYYYMMDDhh>-<dimension>`: one slot, one object. */
export function statementName(offerHash: string, slot: { readonly hour: string; readonly dimension: string }): string {
  return `${offerHash}-${slot.hour}-${slot.dimension.replaceAll("_", "-")}`;
}
