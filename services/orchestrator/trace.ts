import type { IncomingHttpHeaders } from "node:http";
import { readTraceContext, type TraceContext, writeTraceparent } from "#core/trace-context.ts";
import type { Clock } from "#runtime/clock.ts";
import { newSpanId, type SpanAttributes, type SpanKind, type Tracer } from "#runtime/tracer.ts";

/** A place in a trace: spans may begin under it, and whoever is called from it is told so. */
export interface TracePlace {
  /** `traceparent` and `tracestate` for whoever is called; empty where there is no trace. */
  readonly headers: Readonly<Record<string, string>>;
  begin(span: { readonly name: string; readonly kind: SpanKind; readonly attributes: SpanAttributes }): OpenSpan;
}

/** A span in progress. */
export interface OpenSpan extends TracePlace {
  /** Once. `error` is a code of ours, never a text of people, models or tools. */
  end(result?: { readonly attributes?: SpanAttributes; readonly error?: string | undefined }): void;
}

/** The way spans leave, where a collector is configured. */
export interface Tracing {
  readonly tracer: Pick<Tracer, "end"> | undefined;
  readonly clock: Clock;
}

/**
 * The place of a request in its caller's trace. The gateway has decided whether it is recorded; where it is not, or no
 * collector is configured, the headers pass on as they came and spans cost nothing.
 */
export function openPlace(headers: IncomingHttpHeaders, tracing: Tracing): TracePlace {
  const context = readTraceContext(headers["traceparent"], headers["tracestate"]);
  if (context === undefined) return NO_TRACE;
  if (tracing.tracer === undefined || !context.isSampled) return silent(toHeaders(context));
  return recorded(context, tracing.tracer, tracing.clock);
}

/** Of a run that another process began: nobody waits in its trace any more. */
export const NO_TRACE: OpenSpan = silent({});

function silent(headers: TracePlace["headers"]): OpenSpan {
  const place: OpenSpan = { headers, begin: () => place, end: () => undefined };
  return place;
}

function recorded(context: TraceContext, tracer: Pick<Tracer, "end">, clock: Clock): TracePlace {
  return {
    headers: toHeaders(context),
    begin({ name, kind, attributes }) {
      const own = { ...context, spanId: newSpanId() };
      const startMs = clock.now();
      const started = clock.monotonic();
      return {
        ...recorded(own, tracer, clock),
        end({ attributes: more, error } = {}) {
          tracer.end({
            traceId: own.traceId,
            spanId: own.spanId,
            parentSpanId: context.spanId,
            traceState: context.state,
            name,
            kind,
            startMs,
            endMs: startMs + clock.monotonic() - started,
            attributes: { ...attributes, ...more, "error.type": error },
            error,
          });
        },
      };
    },
  };
}

function toHeaders(context: TraceContext): Record<string, string> {
  const traceparent = writeTraceparent(context);
  return context.state === undefined ? { traceparent } : { traceparent, tracestate: context.state };
}
