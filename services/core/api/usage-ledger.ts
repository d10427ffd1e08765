import { z } from "zod";
import { cel, countSchema, dimensionSchema, hourSchema, mapList, objectMetaSchema, timeSchema } from "./meta.ts";

/** Bounds of one ledger: etcd takes 1.5 MiB per request, and CEL wants to know the worst case. */
export const LEDGER_BOUNDS = {
  agents: 1000,
  perAgent: 8000,
  tombstones: 4000,
  accounts: 30,
  reservations: 30,
} as const;

/** namespace/name of an AgentDeployment: the owner of a share. */
export const agentKeySchema = z
  .string()
  .min(3)
  .max(127)
  .regex(/^[a-z0-9][-a-z0-9]*\/[a-z0-9][-a-z0-9]*$/);

/** Base units of one intent that one agent owns, with the hour in which they were counted. */
export const shareSchema = z.object({
  agent: agentKeySchema,
  attributedHour: hourSchema.describe("The hour whose close counted them."),
  baseUnits: countSchema,
});
export type Share = z.output<typeof shareSchema>;

const sharesSchema = z.array(shareSchema).max(LEDGER_BOUNDS.agents).meta(mapList("agent"));

const settledSchema = z.object({ agent: agentKeySchema, dimension: dimensionSchema, total: countSchema }).meta(
  cel({
    rule: "int(self.total) >= int(oldSelf.total)",
    message: "settled may not fall",
    fieldPath: ".total",
    reason: "FieldValueInvalid",
  }),
);

const tombstoneSchema = z.object({
  uid: z.string().min(1).max(64),
  settledAt: timeSchema,
  agent: agentKeySchema.optional().describe("With totals: the PodUsage is settled, its deletion is not yet confirmed."),
  totals: z
    .array(z.object({ dimension: dimensionSchema, total: countSchema }))
    .max(32)
    .meta(mapList("dimension"))
    .optional(),
});
export type Tombstone = z.output<typeof tombstoneSchema>;

const reservationSchema = z.object({
  hour: hourSchema.describe("The slot."),
  planId: z.string().max(128),
  quantity: countSchema.describe("Units sent, fixed for ever."),
  divisor: countSchema,
  shares: sharesSchema.optional().describe("Kept until the UsageStatement is known to hold them."),
});
export type Reservation = z.output<typeof reservationSchema>;

const periodSchema = z.object({
  id: z.string().max(200).describe("Plan and start; another id means another period."),
  included: countSchema.describe("Base units that cost nothing extra."),
  edge: hourSchema.describe("The last hour before the period."),
  opening: countSchema.describe("Counted at the edge: all of it when frozen, else the settled pods' part."),
  frozen: z.enum(["Yes", "No"]),
});
export type Period = z.output<typeof periodSchema>;

const accountSchema = z.object({
  dimension: dimensionSchema.describe("The Marketplace dimension."),
  from: dimensionSchema.describe("The base dimension that it is counted in."),
  divisor: countSchema.describe("Base units per unit, when the account was opened or last closed."),
  lastSlot: hourSchema.optional().describe("The newest slot ever taken; slots rise, never fall."),
  parked: z
    .object({
      reason: z.string().min(1).max(64),
      message: z.string().max(512),
      since: timeSchema,
      planId: z.string().max(128),
      catalogueDigest: z.string().max(64),
    })
    .optional()
    .describe("Counted on, not posted, until plan or catalogue change."),
  dueClosed: countSchema.describe("Base units due from periods that are over."),
  periods: z.array(periodSchema).max(6).meta(mapList("id")),
  acceptedBefore: countSchema.describe("Base units accepted before the days listed."),
  acceptedDays: z
    .array(z.object({ day: z.string().regex(/^[0-9]{8}$/), baseUnits: countSchema }))
    .max(8)
    .meta(mapList("day")),
  reservations: z.array(reservationSchema).max(LEDGER_BOUNDS.reservations).meta(mapList("hour")),
});
export type Account = z.output<typeof accountSchema>;

const attributionSchema = z.object({
  agent: agentKeySchema,
  dimension: dimensionSchema.describe("The Marketplace dimension."),
  billed: countSchema.describe("Base units of this agent in intents so far."),
  free: countSchema.describe("Base units of this agent covered by what the plan includes."),
});
export type Attribution = z.output<typeof attributionSchema>;

export const usageLedgerSpecSchema = z
  .object({
    offerResourceId: z.string().min(1).max(1024).describe("ARM id of the extension, or `plain`."),
    mode: z
      .enum(["Marketplace", "Plain", "Silent"])
      .describe("Plain: no resource id, nothing is posted. Silent: the plan is not metered or not in the catalogue."),
    revision: countSchema.describe("+1 at every write."),
    term: z.int32().min(0).describe("Rises with every leader."),
    planId: z.string().max(128),
    catalogueDigest: z.string().max(64),
    usageResourceId: z.string().max(128).optional().describe("The GUID that Azure's list of usage events names."),
    anchor: timeSchema.describe(
      "Start of the billing cycle, cut to the hour; periods of included quantities count from it.",
    ),
    lastClosedHour: hourSchema.describe("Every hour up to this one is closed."),
    oldestOpenHour: hourSchema.optional().describe("The oldest slot whose fate is not known."),
    lastAcceptedHour: hourSchema.optional(),
    parked: z
      .array(dimensionSchema)
      .max(30)
      .meta({ "x-kubernetes-list-type": "set" })
      .describe("Dimensions that are not posted."),
    problem: z.string().max(512).optional().describe("Why nothing new is posted, for people; absent when all is well."),
    accounts: z.array(accountSchema).max(LEDGER_BOUNDS.accounts).meta(mapList("dimension")),
    settled: z
      .array(settledSchema)
      .max(LEDGER_BOUNDS.perAgent)
      .meta({
        ...mapList("agent", "dimension"),
        ...cel({
          rule: "self.size() >= oldSelf.size()",
          message: "settled entries may not vanish",
          reason: "FieldValueInvalid",
        }),
      })
      .describe("Totals of pods that are gone, per AgentDeployment and base dimension."),
    attributions: z.array(attributionSchema).max(LEDGER_BOUNDS.perAgent).meta(mapList("agent", "dimension")),
    tombstones: z.array(tombstoneSchema).max(LEDGER_BOUNDS.tombstones).meta(mapList("uid")),
  })
  .meta(
    cel(
      {
        rule: "int(self.revision) > int(oldSelf.revision)",
        message: "revision must rise with every write",
        fieldPath: ".revision",
        reason: "FieldValueInvalid",
      },
      {
        rule: "self.offerResourceId == oldSelf.offerResourceId",
        message: "offerResourceId is immutable",
        fieldPath: ".offerResourceId",
        reason: "FieldValueForbidden",
      },
    ),
  );

/**
 * The books of one offer resource: accepted, reserved and settled totals. Cluster-scoped (it outlives namespaces), no
 * status subresource, written by the reporter alone. Its name is the hash of the resource id (#runtime/offer.ts).
 */
export const usageLedgerSchema = z.object({
  apiVersion: z.string(),
  kind: z.literal("UsageLedger"),
  metadata: objectMetaSchema,
  spec: usageLedgerSpecSchema,
});
export type Ledger = z.output<typeof usageLedgerSpecSchema>;
