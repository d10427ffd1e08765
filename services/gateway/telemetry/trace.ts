import { isSampledBy, readTraceContext, type TraceContext, writeTraceparent } from "#core/trace-context.ts";
import type { IncomingHttpHeaders } from "node:http";

/** What is noted of a request that is recorded, until it is over. */
export interface TurnTrace {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly state: string | undefined;
  readonly attempts: AttemptTrace[];
  /** What the model calls itself in its answer. */
  responseModel: string | undefined;
  /** Both the connection and the books must have done with a request before its spans are true. */
  isClosed: boolean;
}

/** One call of an upstream. Times are monotonic milliseconds. */
export interface AttemptTrace {
  readonly spanId: string;
  readonly name: string;
  readonly startMs: number;
  endMs: number;
  readonly deployment: string;
  /** Where it went. */
  readonly url: string;
  readonly provider: string | undefined;
  readonly upstreamModel: string | undefined;
  /** Why it failed, a label; nothing when it answered. */
  error: string | undefined;
  status: number | undefined;
}

/** The headers that a request takes along, and what is noted of it if it is recorded. */
export interface OpenedTrace {
  readonly traceparent: string;
  readonly tracestate: string | undefined;
  readonly trace: TurnTrace | undefined;
}

/**
 * The client's trace, or one whose id follows from `fresh` (a UUID): whoever has the request id can find it. Without a tracer
 * the client's headers pass as they are, as the standard asks of those who take no part; `ratio` decides for traces of our own.
 */
export function openTrace(headers: IncomingHttpHeaders, fresh: string, ratio: number | undefined): OpenedTrace {
  const parent = readTraceContext(headers["traceparent"], headers["tracestate"]);
  if (ratio === undefined) return pass(parent, fresh, true);
  if (parent?.isSampled ?? isSampledBy(ratio, toTraceId(fresh))) return record(parent, fresh);
  return pass(parent, fresh, false);
}

function record(parent: TraceContext | undefined, fresh: string): OpenedTrace {
  const traceId = parent?.traceId ?? toTraceId(fresh);
  const spanId = toSpanId(fresh);
  const state = parent?.state;
  return {
    traceparent: writeTraceparent({ traceId, spanId, isSampled: true }),
    tracestate: state,
    trace: {
      traceId,
      spanId,
      parentSpanId: parent?.spanId,
      state,
      attempts: [],
      responseModel: undefined,
      isClosed: false,
    },
  };
}

/** On as it came. */
function pass(parent: TraceContext | undefined, fresh: string, isSampled: boolean): OpenedTrace {
  const context = parent ?? { traceId: toTraceId(fresh), spanId: toSpanId(fresh), isSampled };
  return { traceparent: writeTraceparent(context), tracestate: parent?.state, trace: undefined };
}

function toTraceId(uuid: string): string {
  return uuid.slice(0, 8) + uuid.slice(9, 13) + uuid.slice(14, 18) + toSpanId(uuid);
}

function toSpanId(uuid: string): string {
  return uuid.slice(19, 23) + uuid.slice(24);
}
