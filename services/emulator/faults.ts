import { z } from "zod";

/** The stand-ins and the routes of each, by the names that faults, logs and request counts use. */
const ROUTES = {
  metering: ["usageEvent", "batchUsageEvent", "usageEvents"],
  model: ["chat", "responses", "embeddings", "models"],
  issuer: ["discovery", "jwks", "token"],
  imds: ["token"],
} as const;

export type StandIn = keyof typeof ROUTES;

/** A fault strikes the next `count` requests of a stand-in, or of one of its routes. */
const target = {
  standIn: z.enum(["metering", "model", "issuer", "imds"]),
  route: z.string().max(64).optional(),
  count: z.int().min(1).max(1_000_000).default(1),
};

export const faultSchema = z
  .discriminatedUnion("kind", [
    /** The connection closes before anything is done. */
    z.strictObject({ kind: z.literal("DropRequest"), ...target }),
    /** All is done (an event is booked), then the connection closes without an answer. */
    z.strictObject({ kind: z.literal("DropAnswer"), ...target }),
    /** The answer starts late. */
    z.strictObject({ kind: z.literal("Latency"), delayMs: z.int().min(1).max(600_000), ...target }),
    /** Another status, nothing done. */
    z.strictObject({
      kind: z.literal("Status"),
      status: z.int().min(400).max(599),
      retryAfterSeconds: z.int().min(0).max(86_400).optional(),
      ...target,
    }),
    /** All is done, then the JSON of the answer is cut in half. */
    z.strictObject({ kind: z.literal("TruncatedJson"), ...target }),
    /** Batch: the results come in reverse order. */
    z.strictObject({ kind: z.literal("ShuffledResults"), ...target }),
    /** Batch: all is booked, the last `missing` results are left out. */
    z.strictObject({ kind: z.literal("MissingResults"), missing: z.int().min(1).max(25).default(1), ...target }),
    /** Metering: another writer books `quantity` into the slot of the first item just before it. */
    z.strictObject({ kind: z.literal("ForeignWriter"), quantity: z.number().positive(), ...target }),
  ])
  .superRefine((fault, context) => {
    const routes: readonly string[] = ROUTES[fault.standIn];
    if (fault.route !== undefined && !routes.includes(fault.route))
      context.addIssue({ code: "custom", path: ["route"], message: `must be one of ${routes.join(", ")}` });
    const meteringOnly = ["ShuffledResults", "MissingResults", "ForeignWriter"].includes(fault.kind);
    if (meteringOnly && fault.standIn !== "metering")
      context.addIssue({ code: "custom", path: ["standIn"], message: `must be metering for ${fault.kind}` });
  });

type Fault = z.output<typeof faultSchema>;
type FaultKind = Fault["kind"];

/** The faults that strike one request, at most one of each kind. */
export interface StruckFaults {
  find<K extends FaultKind>(kind: K): Extract<Fault, { kind: K }> | undefined;
}

export interface Faults {
  /** Adds a fault; false when there are too many. */
  add(fault: Fault): boolean;
  /** The first waiting fault of each kind for this request; each loses one of its count. */
  take(standIn: StandIn, route: string): StruckFaults;
  list(): readonly Fault[];
  clear(): void;
}

const FAULTS_MAX = 1000;

export function createFaults(): Faults {
  let waiting: Fault[] = [];
  return {
    add(fault) {
      if (waiting.length >= FAULTS_MAX) return false;
      waiting.push(fault);
      return true;
    },
    take(standIn, route) {
      const struck = new Map<FaultKind, Fault>();
      waiting = waiting.flatMap((fault) => {
        const hits = fault.standIn === standIn && (fault.route === undefined || fault.route === route);
        if (!hits || struck.has(fault.kind)) return [fault];
        struck.set(fault.kind, fault);
        return fault.count > 1 ? [{ ...fault, count: fault.count - 1 }] : [];
      });
      return { find: (kind) => findKind([...struck.values()], kind) };
    },
    list: () => waiting,
    clear() {
      waiting = [];
    },
  };
}

function findKind<K extends FaultKind>(faults: readonly Fault[], kind: K): Extract<Fault, { kind: K }> | undefined {
  return faults.find((fault): fault is Extract<Fault, { kind: K }> => fault.kind === kind);
}
