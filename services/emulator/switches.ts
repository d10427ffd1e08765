import { z } from "zod";

/**
 * What Azure does not document, as switches. Each default is what documents or recordings say (`from`: the letters of
 * docs/emulator.md), and where they say nothing the harder case for a client. Where a behaviour touches money a client
 * must be right under every value. Meanings stand here once; the table of the page is tested against them.
 */
export const switchesSchema = z.strictObject({
  parsing: z
    .enum(["Lenient", "Strict"])
    .default("Lenient")
    .meta({ description: "Strict demands ISO 8601 UTC times and camelCase keys", from: "C" }),
  tokenRefusalStatus: z
    .union([z.literal(403), z.literal(401)])
    .default(403)
    .meta({ description: "HTTP status for a missing, bad or expired token", from: "D, U" }),
  notOwnedInBatch: z.enum(["Item", "WholeCall"]).default("Item").meta({
    description: "An item of a resource that the caller does not own is refused alone, or the call gets 403",
    from: "U",
  }),
  malformedInBatch: z.enum(["Item", "WholeCall"]).default("Item").meta({
    description: "A malformed item is refused alone, or the call gets 400 and nothing is booked",
    from: "U",
  }),
  sameHourInBatch: z.enum(["Accepted", "Item", "WholeCall"]).default("Accepted").meta({
    description: "Two dimensions of one resource and hour in one batch: both booked, the later refused, or 400",
    from: "U",
  }),
  sameSlotInBatch: z.enum(["Duplicate", "Item", "WholeCall"]).default("Duplicate").meta({
    description: "Two items of one slot in one batch: the later is a Duplicate, is refused, or the call gets 400",
    from: "I",
  }),
  checkOrder: z.enum(["ResourceFirst", "TimeFirst"]).default("ResourceFirst").meta({
    description:
      "Whether an event that is too old says so before what is wrong with its resource, dimension or quantity",
    from: "I",
  }),
  unconfirmedBodies: z.enum(["Envelope", "Bare"]).default("Envelope").meta({
    description: "Refused items whose body nobody has published: with an `error` like that of Expired, or without one",
    from: "U",
  }),
  recreatedStatus: z
    .enum(["BadArgument", "Error"])
    .default("BadArgument")
    .meta({ description: "The batch status of `Invalid usage state.`", from: "I" }),
  recreatedWaitSeconds: z
    .int()
    .min(0)
    .max(604_800)
    .default(86_400)
    .meta({ description: "How long a re-created resource refuses usage", from: "D" }),
  formerPlan: z.enum(["EarlierHours", "Refused", "Accepted"]).default("EarlierHours").meta({
    description: "Events of the former plan after a change of plan: only for hours that began before it, never, always",
    from: "U",
  }),
  afterExpiry: z.enum(["Expired", "Duplicate"]).default("Expired").meta({
    description: "What a repeat of a booked slot gets after 24 h. Expired cannot tell booked from lost",
    from: "U",
  }),
  expiryComparedTo: z
    .enum(["EffectiveStartTime", "StartOfHour", "EndOfHour"])
    .default("EffectiveStartTime")
    .meta({ description: "What is compared with 24 h", from: "D, U" }),
  futureToleranceSeconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(0)
    .meta({ description: "How far in the future an event may begin", from: "U" }),
  slotHasDimension: z
    .boolean()
    .default(true)
    .meta({ description: "Whether two dimensions of one hour are two slots. Older documents: no", from: "D" }),
  slotHasPlan: z
    .boolean()
    .default(false)
    .meta({ description: "Whether two plans of one hour and dimension are two slots", from: "D, U" }),
  dimensionIgnoresCase: z
    .boolean()
    .default(false)
    .meta({ description: "Whether the case of a dimension does not matter", from: "U" }),
  uriIgnoresCase: z
    .boolean()
    .default(true)
    .meta({ description: "Whether the case of a resource URI does not matter", from: "U" }),
  quantityDecimals: z
    .union([z.literal("All"), z.int().min(0).max(15)])
    .default("All")
    .meta({
      description: "How many decimal places (0 to 15) of a quantity are booked; All: the binary double as sent",
      from: "W, U",
    }),
  requestsPerMinuteMax: z.int().min(0).max(1_000_000).default(0).meta({
    description: "Requests of one identity per minute of system time; beyond it 429. 0: no limit",
    from: "U",
  }),
  rateLimitRetryAfterSeconds: z
    .int()
    .min(0)
    .max(3600)
    .default(0)
    .meta({ description: "`Retry-After` of that 429; 0: none", from: "U" }),
  answersCarryResourceId: z
    .boolean()
    .default(true)
    .meta({ description: "Whether answers about an extension hold the GUID `resourceId`", from: "W, U" }),
  answersUriCase: z
    .enum(["AsSent", "Lower"])
    .default("AsSent")
    .meta({ description: "How answers write the resource URI", from: "W" }),
  duplicateMessageTime: z.enum(["Now", "Zero"]).default("Now").meta({
    description: "`messageTime` of a Duplicate item; Zero is 0001-01-01T00:00:00, as documents show",
    from: "W",
  }),
  listAllowed: z
    .boolean()
    .default(true)
    .meta({ description: "Whether an extension's identity may read the list at all; else 403", from: "C, U" }),
  listShows: z
    .enum(["OwnResources", "AllResources", "Nothing"])
    .default("OwnResources")
    .meta({ description: "Whose rows the caller sees", from: "I" }),
  listDelaySeconds: z
    .int()
    .min(0)
    .max(604_800)
    .default(0)
    .meta({ description: "How long after its booking an event shows in the list", from: "U" }),
  listStartCutsDay: z
    .boolean()
    .default(true)
    .meta({ description: "Whether a time of day in `usageStartDate` hides the row of that day", from: "U" }),
  listDayOf: z
    .enum(["EffectiveStartTime", "MessageTime"])
    .default("EffectiveStartTime")
    .meta({ description: "Which time decides the day of a row", from: "U" }),
  listCountsRepeats: z
    .boolean()
    .default(false)
    .meta({ description: "Whether `submittedQuantity` also holds what was refused as Duplicate", from: "U" }),
  listCountIs: z
    .enum(["Events", "Quantity"])
    .default("Events")
    .meta({ description: "What `submittedCount` counts", from: "U" }),
  listOfferType: z.string().max(64).default("").meta({ description: "`offerType` of a container offer", from: "U" }),
  reconDelaySeconds: z
    .int()
    .min(0)
    .max(2_592_000)
    .default(86_400)
    .meta({ description: "How long after the last booking a row leaves `Submitted`", from: "I" }),
  reconOutcome: z.enum(["Accepted", "Rejected", "Mismatch", "TestHeaders", "DryRun"]).default("Accepted").meta({
    description: "What a row becomes then: all processed; nothing processed; Mismatch: half of it",
    from: "D",
  }),
  identityOutlivesResource: z
    .boolean()
    .default(true)
    .meta({ description: "Whether IMDS still knows an identity whose resources are all deleted", from: "U" }),
  contentSafetyCharacters: z.enum(["Utf16Units", "CodePoints"]).default("Utf16Units").meta({
    description: "What Content Safety counts against its limit of 10,000 characters",
    from: "U",
  }),
});

export type Switches = z.output<typeof switchesSchema>;

export const defaultSwitches: Switches = switchesSchema.parse({});
