import { z } from "zod";

/** The stand-ins and the routes of each, by the names that faults, logs and request counts use. */
export const ROUTES = {
  metering: ["usageEvent", "batchUsageEvent", "usageEvents"],
  model: ["chat", "responses", "embeddings", "models"],
  issuer: ["discovery", "jwks", "token"],
  imds: ["token", "versions", "instance", "attested"],
  contentSafety: ["shieldPrompt", "analyze"],
} as const;

export type StandIn = keyof typeof ROUTES;

/** Seven days: a fault of the emulator's time ends by itself. */
const LASTS_SECONDS_MAX = 604_800;
const FAULTS_MAX = 1000;

/** Which requests a fault strikes: by place, and how often or how long. */
const target = {
  standIn: z.enum(["metering", "model", "issuer", "imds", "contentSafety"]),
  route: z.string().max(64).optional(),
  /** Requests that pass before it strikes. */
  skip: z.int().min(0).max(1_000_000).optional(),
  /** Requests that it strikes: 1 if nothing else ends it. */
  count: z.int().min(1).max(1_000_000).optional(),
  /** How long it strikes, in seconds of the emulator's clock: an outage. */
  forSeconds: z.int().min(1).max(LASTS_SECONDS_MAX).optional(),
  /** The same as an instant of the emulator's clock. */
  until: z.iso.datetime().optional(),
};

const kinds = [
  z
    .strictObject({ kind: z.literal("DropRequest"), ...target })
    .describe("The connection closes before anything is done."),
  z
    .strictObject({ kind: z.literal("DropAnswer"), ...target })
    .describe("All is done (the events are booked), then the connection closes without an answer."),
  z
    .strictObject({ kind: z.literal("DelayedRequest"), afterSeconds: z.int().min(1).max(LASTS_SECONDS_MAX), ...target })
    .describe(
      "The connection closes, and the request lands `afterSeconds` of the emulator's clock later: judged and booked then, whatever the client did since.",
    ),
  z
    .strictObject({ kind: z.literal("Latency"), delayMs: z.int().min(1).max(600_000), ...target })
    .describe("The answer starts late, by milliseconds of real time."),
  z
    .strictObject({
      kind: z.literal("Status"),
      status: z.int().min(400).max(599),
      retryAfterSeconds: z.int().min(0).max(86_400).optional(),
      ...target,
    })
    .describe("This HTTP status, with `Retry-After` if asked for; nothing is done."),
  z
    .strictObject({ kind: z.literal("TruncatedJson"), ...target })
    .describe("All is done, then half of the JSON is sent as if it were whole."),
  z
    .strictObject({ kind: z.literal("CutAnswer"), ...target })
    .describe("All is done, then the connection closes in the middle of the body."),
  z
    .strictObject({ kind: z.literal("ShuffledResults"), ...target })
    .describe("All is booked, the results of a batch come in reverse order."),
  z
    .strictObject({ kind: z.literal("MissingResults"), missing: z.int().min(1).max(25).default(1), ...target })
    .describe("All is booked, the last `missing` results of a batch are left out."),
  z
    .strictObject({
      kind: z.literal("ItemStatus"),
      itemStatus: z.string().regex(/^[A-Za-z]{1,64}$/, "must be 1 to 64 letters"),
      dimension: z.string().min(1).max(256).optional(),
      booked: z.boolean().default(false),
      ...target,
    })
    .describe(
      "The items of a batch, or those of one `dimension`, get this status, be it one that nobody knows. They are not booked, or with `booked: true` they are.",
    ),
  z
    .strictObject({ kind: z.literal("ForeignWriter"), quantity: z.number().positive(), ...target })
    .describe("Another writer books `quantity` into the slot of the first item just before it."),
  z
    .strictObject({
      kind: z.literal("StrangeDuplicate"),
      variant: z.enum(["NoAcceptedMessage", "OtherDimension", "OtherHour"]),
      ...target,
    })
    .describe(
      "A Duplicate without its `acceptedMessage`, or with that of another dimension or hour: `variant` is `NoAcceptedMessage`, `OtherDimension` or `OtherHour`.",
    ),
  z
    .strictObject({
      kind: z.literal("StrangeAnalysis"),
      variant: z.enum(["Empty", "OneMissing", "Texts"]),
      ...target,
    })
    .describe(
      "Content Safety answers 200 without its fields, without the last document or category, or with texts for booleans and numbers: `variant` is `Empty`, `OneMissing` or `Texts`.",
    ),
] as const;

interface KindPlace {
  readonly standIn: StandIn;
  readonly routes: readonly string[];
}

/** The kinds that make sense in some routes only, and are not used up by others. */
const PLACES: Readonly<Record<string, KindPlace>> = {
  DelayedRequest: { standIn: "metering", routes: ["usageEvent", "batchUsageEvent"] },
  ForeignWriter: { standIn: "metering", routes: ["usageEvent", "batchUsageEvent"] },
  StrangeDuplicate: { standIn: "metering", routes: ["usageEvent", "batchUsageEvent"] },
  ShuffledResults: { standIn: "metering", routes: ["batchUsageEvent"] },
  MissingResults: { standIn: "metering", routes: ["batchUsageEvent"] },
  ItemStatus: { standIn: "metering", routes: ["batchUsageEvent"] },
  StrangeAnalysis: { standIn: "contentSafety", routes: ROUTES.contentSafety },
};

export const faultSchema = z.discriminatedUnion("kind", kinds).superRefine((fault, context) => {
  const place = PLACES[fault.kind];
  const routes: readonly string[] = place?.routes ?? ROUTES[fault.standIn];
  if (place && fault.standIn !== place.standIn)
    context.addIssue({ code: "custom", path: ["standIn"], message: `must be ${place.standIn} for ${fault.kind}` });
  else if (fault.route !== undefined && !routes.includes(fault.route))
    context.addIssue({ code: "custom", path: ["route"], message: `must be one of ${routes.join(", ")}` });
});

export type Fault = z.output<typeof faultSchema>;
type FaultKind = Fault["kind"];

/** The faults that strike one request, at most one of each kind. */
export interface StruckFaults {
  find<K extends FaultKind>(kind: K): Extract<Fault, { kind: K }> | undefined;
}

export interface Faults {
  /** Adds a fault at an instant of the emulator's clock; false when there are too many. */
  add(fault: Fault, nowMs: number): boolean;
  /** The first waiting fault of each kind for this request; each loses one of its count. */
  take(request: { readonly standIn: StandIn; readonly route: string; readonly nowMs: number }): StruckFaults;
  /** Those that still strike. */
  list(nowMs: number): readonly Fault[];
  /** Puts these in place of all that wait. */
  load(faults: readonly Fault[]): void;
}

export function createFaults(): Faults {
  let waiting: readonly Fault[] = [];
  const endAt = (nowMs: number): void => {
    waiting = waiting.filter((fault) => fault.until === undefined || nowMs < Date.parse(fault.until));
  };
  return {
    add(fault, nowMs) {
      endAt(nowMs);
      if (waiting.length >= FAULTS_MAX) return false;
      waiting = [...waiting, withEnd(fault, nowMs)];
      return true;
    },
    take(request) {
      endAt(request.nowMs);
      const struck = new Map<FaultKind, Fault>();
      waiting = waiting.flatMap((fault) => {
        if (!isHit(fault, request)) return [fault];
        if (fault.skip) return [{ ...fault, skip: fault.skip - 1 }];
        if (struck.has(fault.kind)) return [fault];
        struck.set(fault.kind, fault);
        if (fault.count === undefined) return [fault];
        return fault.count > 1 ? [{ ...fault, count: fault.count - 1 }] : [];
      });
      return { find: (kind) => findKind([...struck.values()], kind) };
    },
    list(nowMs) {
      endAt(nowMs);
      return waiting;
    },
    load(faults) {
      waiting = faults.slice(0, FAULTS_MAX);
    },
  };
}

/** A fault as it waits: with an instant in place of a length, and one strike if nothing else ends it. */
function withEnd(fault: Fault, nowMs: number): Fault {
  const { forSeconds, ...rest } = fault;
  if (forSeconds !== undefined) return { ...rest, until: new Date(nowMs + forSeconds * 1000).toISOString() };
  return fault.until === undefined ? { ...rest, count: fault.count ?? 1 } : rest;
}

function isHit(fault: Fault, request: { readonly standIn: StandIn; readonly route: string }): boolean {
  const routes = PLACES[fault.kind]?.routes;
  if (fault.standIn !== request.standIn || (routes && !routes.includes(request.route))) return false;
  return fault.route === undefined || fault.route === request.route;
}

function findKind<K extends FaultKind>(faults: readonly Fault[], kind: K): Extract<Fault, { kind: K }> | undefined {
  return faults.find((fault): fault is Extract<Fault, { kind: K }> => fault.kind === kind);
}
