import { z } from "zod";

/**
 * What Azure does not document, as switches: each name says what it changes, each default is the harder case for a client.
 * Where a behaviour touches money a client must be right under every value.
 */
export const switchesSchema = z.strictObject({
  /** Strict demands ISO 8601 UTC times and camelCase keys; Lenient takes what public clients send. */
  parsing: z.enum(["Strict", "Lenient"]).default("Lenient"),
  /** HTTP status for a missing, bad or expired token. Documents say 403. */
  tokenRefusalStatus: z.union([z.literal(401), z.literal(403)]).default(403),
  /** A batch item of a resource that the caller does not own: refuse that item, or answer 403 for the whole call. */
  notOwnedInBatch: z.enum(["Item", "WholeCall"]).default("Item"),
  /** A malformed batch item: refuse that item, or answer 400 for the whole call and book nothing. */
  malformedInBatch: z.enum(["Item", "WholeCall"]).default("Item"),
  /** The batch status of `Invalid usage state.`. */
  recreatedStatus: z.enum(["BadArgument", "Error"]).default("BadArgument"),
  /** How long a re-created resource refuses usage, in seconds of the emulator's clock. */
  recreatedWaitSeconds: z.int().min(0).max(604_800).default(86_400),
  /** How far `effectiveStartTime` may lie in the future, in seconds. */
  futureToleranceSeconds: z.int().min(0).max(86_400).default(0),
  /** What is compared with 24 hours: the start time of the event or the end of its hour. */
  expiryComparedTo: z.enum(["EffectiveStartTime", "EndOfHour"]).default("EffectiveStartTime"),
  /** What a repeat of a booked slot gets after 24 h: Expired (a client cannot tell booked from lost), or Duplicate. */
  afterExpiry: z.enum(["Expired", "Duplicate"]).default("Expired"),
  /** After a change of plan, events of the former plan: only for hours that began before it, never, or always. */
  formerPlan: z.enum(["EarlierHours", "Refused", "Accepted"]).default("EarlierHours"),
  /** Whether two dimensions of one hour are two slots. Older documents leave the dimension out. */
  slotHasDimension: z.boolean().default(true),
  /** Whether two plans of one hour and dimension are two slots. By the documents they are not. */
  slotHasPlan: z.boolean().default(false),
  /** Whether dimension names are compared without regard to case. */
  dimensionIgnoresCase: z.boolean().default(false),
  /** Whether answers about an extension carry the GUID `resourceId`. Recorded for other offer types only. */
  answersCarryResourceId: z.boolean().default(true),
  /** `messageTime` of a Duplicate item: the time of the answer (recorded), or 0001-01-01T00:00:00 (documents). */
  duplicateMessageTime: z.enum(["Now", "Zero"]).default("Now"),
  /** Whose rows the list shows. */
  listShows: z.enum(["OwnResources", "AllResources"]).default("OwnResources"),
  /** Seconds after booking until an event shows in the list. */
  listDelaySeconds: z.int().min(0).max(604_800).default(0),
  /** Whether a time of day in `usageStartDate` hides the row of that day. */
  listStartCutsDay: z.boolean().default(true),
  /** Seconds after booking until a row leaves `Submitted`. */
  reconDelaySeconds: z.int().min(0).max(2_592_000).default(86_400),
  /** What a row becomes then. Rejected: nothing processed; Mismatch: half of the quantity processed. */
  reconOutcome: z.enum(["Accepted", "Rejected", "Mismatch"]).default("Accepted"),
});

export type Switches = z.output<typeof switchesSchema>;

export const defaultSwitches: Switches = switchesSchema.parse({});
