import { z } from "zod";

const REQUESTS_MAX = 256;

/** A request that was taken from a client without an answer, and lands later. */
export const delayedRequestSchema = z.strictObject({
  id: z.string().min(1).max(64),
  route: z.enum(["usageEvent", "batchUsageEvent"]),
  /** Whose token it carried: it was good when the request was sent. */
  callerClientId: z.string().min(1).max(256),
  /** Instant of the emulator's clock. */
  landsAt: z.iso.datetime(),
  body: z.unknown(),
});
export type DelayedRequest = z.output<typeof delayedRequestSchema>;

/** What came of a request that landed. */
interface Landed {
  readonly id: string;
  readonly landedAt: string;
  /** The HTTP status that nobody received. */
  readonly status: number;
  readonly body: unknown;
}

/** Requests on their way: the last 256, and what came of the last 256. */
export interface DelayedRequests {
  /** False when too many are on their way. */
  hold(request: DelayedRequest): boolean;
  /** Takes out those that land until `nowMs`, earliest first. */
  takeDue(nowMs: number): readonly DelayedRequest[];
  noteLanded(landed: Landed): void;
  waiting(): readonly DelayedRequest[];
  landed(): readonly Landed[];
  /** Puts these in place of all that wait, and forgets what landed. */
  load(requests: readonly DelayedRequest[]): void;
}

export const DELAYED_REQUESTS_MAX = REQUESTS_MAX;

export function createDelayedRequests(): DelayedRequests {
  let waiting: readonly DelayedRequest[] = [];
  let landed: readonly Landed[] = [];
  return {
    hold(request) {
      if (waiting.length >= REQUESTS_MAX) return false;
      waiting = [...waiting, request].sort((a, b) => Date.parse(a.landsAt) - Date.parse(b.landsAt));
      return true;
    },
    takeDue(nowMs) {
      const due = waiting.filter((request) => Date.parse(request.landsAt) <= nowMs);
      if (due.length > 0) waiting = waiting.slice(due.length);
      return due;
    },
    noteLanded(one) {
      landed = [...landed, one].slice(-REQUESTS_MAX);
    },
    waiting: () => waiting,
    landed: () => landed,
    load(requests) {
      waiting = requests.slice(0, REQUESTS_MAX);
      landed = [];
    },
  };
}
