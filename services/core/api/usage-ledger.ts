import { z } from "zod";
import { cel, countSchema, dimensionSchema, hourSchema, mapList, objectMetaSchema, timeSchema } from "./meta.ts";

/** Bounds of one ledger: etcd takes 1.5 MiB per request, and CEL wants to know the worst case. */
export const LEDGER_BOUNDS = {
  agents: 1000,
  perAgent: 8000,
  /** Per account: one of each plan that a catalogue may hold, and those that just ended. */
  periods: 66,
  tombstones: 4000,
  accounts: 30,
  reservations: 30,
} as const;

/** The owner of what no agent used: a plan's fees. */
export const INSTALLATION = "-/-";

/** The owner of a share: namespace/name of an AgentDeployment, or `-/-` for the installation. */
export const agentKeySchema = z
  .string()
  .min(3)
  .max(127)
  .regex(/^([a-z0-9][-a-z0-9]*\/[a-z0-9][-a-z0-9]*|-\/-)$/);

/** The team of an AgentDeployment: its label supercargo.dev/team. */
export const TEAM_LABEL = "supercargo.dev/team";
const teamSchema = z.string().max(63).optional().describe("The agent's label supercargo.dev/team.");

/** Base units of one intent that one agent owns, with the hour in which they were counted. */
export const shareSchema = z.object({
  agent: agentKeySchema,
  team: teamSchema,
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
  resolved: z
    .object({ state: z.enum(["Reconciled", "Unknown", "Dropped"]), acceptedBaseUnits: countSchema })
    .optional()
    .describe("What became of a dead slot. Its money is booked; the entry stays until its UsageStatement says so too."),
});
export type Reservation = z.output<typeof reservationSchema>;

const periodSchema = z.object({
  id: z
    .string()
    .max(200)
    .describe("Plan and start; another id means another period, whose quantities are whole again."),
  included: countSchema.describe("Base units that cost nothing extra."),
  upTo: countSchema.optional().describe("Base units of the period above which another tier sells."),
  fee: countSchema.optional().describe("Base units due because the period began, whatever was used."),
  until: hourSchema.optional().describe("The last hour of the period; absent: it never ends."),
  used: countSchema.describe("Base units of segments that are closed."),
});
export type Period = z.output<typeof periodSchema>;

const segmentSchema = z.object({
  period: z.string().max(200).describe("The id of its period. A plan that is left and bought again has several."),
  edge: hourSchema.describe("The last hour before the segment."),
  opening: countSchema.describe("Counted at the edge: all of it when frozen, else the settled pods' part."),
  frozen: z.enum(["Yes", "No"]),
  seen: countSchema
    .optional()
    .describe(
      "Not frozen: counted at the edge as far as it was known; stands when a pod's boundaries are past the edge.",
    ),
});
export type Segment = z.output<typeof segmentSchema>;

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
    .describe("Counted on, not posted, until plan or catalogue change, or a command."),
  unparked: z
    .object({ by: z.string().max(80), reason: z.string().max(300), at: timeSchema })
    .optional()
    .describe("Who last let the dimension go by command, and why."),
  dueClosed: countSchema.describe("Base units due from periods that are over."),
  periods: z.array(periodSchema).max(LEDGER_BOUNDS.periods).meta(mapList("id")).describe("Periods that are not over."),
  segments: z
    .array(segmentSchema)
    .max(8)
    .meta(mapList("edge"))
    .describe("Stretches of hours under one period, in order; each ends where the next opens."),
  acceptedBefore: countSchema.describe("Base units accepted before the days listed."),
  acceptedDays: z
    .array(
      z.object({
        day: z.string().regex(/^[0-9]{8}$/),
        baseUnits: countSchema,
        answeredAt: timeSchema
          .optional()
          .describe("When Azure last answered for a slot of this day, by its own clock."),
      }),
    )
    .max(8)
    .meta(mapList("day")),
  reservations: z.array(reservationSchema).max(LEDGER_BOUNDS.reservations).meta(mapList("hour")),
  dropped: countSchema.describe("Base units written off: they died unbooked and late usage is dropped (R10)."),
  backlog: countSchema.describe("Base units that were due when the last hour was closed, and went into no slot."),
  oldestUnpostedHour: hourSchema
    .optional()
    .describe("The oldest hour of the backlog; absent when it is below one unit."),
  usualHour: countSchema.describe(
    "Base units of an ordinary hour, a decaying maximum: a backlog is spread by it (R10).",
  ),
  overAccepted: countSchema
    .optional()
    .describe(
      "Base units accepted, reserved or dropped beyond what is due; nothing is posted until use has caught up.",
    ),
});
export type Account = z.output<typeof accountSchema>;

const attributionSchema = z.object({
  agent: agentKeySchema,
  team: teamSchema,
  dimension: dimensionSchema.describe("The Marketplace dimension."),
  billed: countSchema.describe("Base units of this agent in intents so far."),
  free: countSchema.describe("Base units of this agent that are covered by what the plan includes, or written off."),
});
export type Attribution = z.output<typeof attributionSchema>;

/** Why usage is not counted, posted or confirmed as it should be. Closed: the operator and the alerts know each. */
export const PROBLEM_REASONS = [
  /** This node's clock is more than 60 s off; over 5 min nothing is closed (R9). */
  "ClockSkew",
  /** Azure calls fresh usage expired: one of the clocks is wrong, nothing is closed. */
  "ClockFault",
  /** The catalogue does not know the plan bought: usage is counted, not posted. */
  "PlanUnknown",
  /** Azure's list of usage events does not answer. */
  "ListUnavailable",
  /** Azure's list refuses the extension's identity. */
  "ListRefused",
  /** The ledger was rolled back, or a day is in doubt: nothing new is posted until Azure's list has confirmed it. */
  "AwaitingConfirmation",
  /** Azure's list names several usage resources and the ledger knows none of them. */
  "UsageResourceUnclear",
  /** No token for the metering API. */
  "NoCredential",
  /** Azure refuses posts (401, 403, not active) for 30 min or more. */
  "PostsRefused",
  /** A slot has had no definite answer for 2 h or more. */
  "PostsStopped",
  /** Somebody else posts for this resource; seen within 48 h. */
  "ForeignWriter",
  /** A day compared at D + 2 differs between the ledger and Azure. */
  "Discrepancy",
  /** A live pod has not published an hour boundary for 2 h. */
  "SilentPods",
  /** A pod's counter fell or vanished: that dimension of the pod is not counted. */
  "Quarantined",
  /** More was accepted than is due: a PodUsage was deleted by hand, the ledger restored, or somebody else posted. */
  "UsageVanished",
  /** Usage is owed in a dimension that the plan does not sell any more. */
  "DimensionRemoved",
] as const;
export type ProblemReason = (typeof PROBLEM_REASONS)[number];

const problemSchema = z.object({
  reason: z.enum(PROBLEM_REASONS),
  message: z.string().min(1).max(512),
  since: timeSchema,
});
export type Problem = z.output<typeof problemSchema>;

const nearLimitSchema = z.object({
  dimension: dimensionSchema.describe("The Marketplace dimension that sets the limit."),
  softPercent: z.int32().min(1).max(100).describe("The share of it that is used at least."),
});
export type NearLimit = z.output<typeof nearLimitSchema>;

const planChangeSchema = z.object({
  fromPlanId: z.string().max(128).describe("The plan of the hours up to and including `hour`."),
  hour: hourSchema.describe("The hour in which the new plan was first seen."),
  marks: z
    .array(z.object({ agent: agentKeySchema, dimension: dimensionSchema, total: countSchema }))
    .max(LEDGER_BOUNDS.perAgent)
    .meta(mapList("agent", "dimension"))
    .describe("Base units counted at that moment: the old plan's; what is beyond them belongs to the new plan."),
});
export type PlanChange = z.output<typeof planChangeSchema>;

const comparedSchema = z.object({
  day: z.string().regex(/^[0-9]{8}$/),
  dimension: dimensionSchema,
  state: z.string().max(32).describe("Azure's reconStatus, or Unequal where only the quantities differ."),
  accepted: z.string().max(40).describe("Units that the ledger holds for the day."),
  submitted: z.string().max(40).describe("Units that Azure says were submitted."),
  processed: z.string().max(40).describe("Units that Azure has processed."),
});
export type Compared = z.output<typeof comparedSchema>;

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
    formerUsageResourceIds: z
      .array(z.string().max(128))
      .max(8)
      .meta({ "x-kubernetes-list-type": "set" })
      .optional()
      .describe("GUIDs of the same resource id, before the extension was deleted and made again."),
    anchor: timeSchema.describe(
      "Start of the billing cycle, cut to the hour; periods of included quantities count from it.",
    ),
    confirmation: z
      .object({ listedAt: timeSchema.optional().describe("Azure's clock at the first list.") })
      .optional()
      .describe(
        "Present while nothing new may be posted: the ledger was just made, or found rolled back. Azure's list must be read twice, an hour apart, and hold nothing that the ledger does not know.",
      ),
    lastClosedHour: hourSchema.describe("Every hour up to this one is closed."),
    oldestOpenHour: hourSchema.optional().describe("The oldest slot whose fate is not known."),
    lastAcceptedHour: hourSchema.optional(),
    parked: z
      .array(dimensionSchema)
      .max(30)
      .meta({ "x-kubernetes-list-type": "set" })
      .describe("Dimensions that are not posted."),
    problems: z
      .array(problemSchema)
      .max(16)
      .meta(mapList("reason"))
      .describe("What is wrong, for people and alerts; empty when all is well."),
    nearLimits: z
      .array(nearLimitSchema)
      .max(LEDGER_BOUNDS.accounts)
      .meta(mapList("dimension"))
      .optional()
      .describe(
        "Hard limits of the plan that are used up to their soft limit in this period. They refuse nothing yet.",
      ),
    planChange: planChangeSchema.optional().describe("A change of plan whose hour is not closed yet."),
    compared: z
      .array(comparedSchema)
      .max(8)
      .meta(mapList("day", "dimension"))
      .describe("Days that differ between the ledger and Azure when compared two days later."),
    comparedDay: z
      .string()
      .regex(/^[0-9]{8}$/)
      .optional()
      .describe("The newest UTC day that was compared with what Azure processed."),
    exportedMonths: z
      .array(z.string().regex(/^[0-9]{4}-(0[1-9]|1[0-2])$/))
      .max(36)
      .meta({ "x-kubernetes-list-type": "set" })
      .describe("Months whose statements were exported: they may be deleted when they are old enough."),
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
