import { SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import { ExportResultCode } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import type { FinishedSpan, SpanAttributes, SpanSender } from "./tracer.ts";

/** Loaded only where a collector is configured: the exporter of the OpenTelemetry SDK, and spans as it knows them. */
export interface OtlpOptions {
  /** Base URL of the collector: `/v1/traces` is added. */
  readonly endpoint: string;
  /** Read for each export, so that a credential that rotates is the new one. Must not throw. */
  readonly headers: () => Readonly<Record<string, string>>;
  /** Who sends: `service.name` and the like. */
  readonly resource: () => SpanAttributes;
}

/** One try of an export with what the SDK repeats inside of it. */
const EXPORT_MS_MAX = 10_000;
const SCOPE = { name: "supercargo" } as const;
const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;

/** Sends spans as OTLP over HTTP, in protobuf. */
export function createOtlpSender(options: OtlpOptions): SpanSender {
  const exporter = new OTLPTraceExporter({
    url: `${options.endpoint.replace(/\/+$/, "")}/v1/traces`,
    headers: () => Promise.resolve({ ...options.headers() }),
    timeoutMillis: EXPORT_MS_MAX,
    concurrencyLimit: 1,
  });
  return {
    send(spans) {
      const resource = resourceFromAttributes(definedOf(options.resource()));
      const readable = spans.map((span) => toReadable(span, resource));
      return new Promise((resolve, reject) => {
        exporter.export(readable, ({ code, error }) => {
          if (code === ExportResultCode.SUCCESS) resolve();
          else reject(error ?? new Error("The collector took no spans"));
        });
      });
    },
    close: () => exporter.shutdown(),
  };
}

function toReadable(span: FinishedSpan, resource: ReadableSpan["resource"]): ReadableSpan {
  const context = (spanId: string) => ({ traceId: span.traceId, spanId, traceFlags: TraceFlags.SAMPLED });
  const attributes = definedOf(span.attributes);
  return {
    name: span.name,
    kind: KINDS[span.kind],
    spanContext: () => ({
      ...context(span.spanId),
      ...(span.traceState === undefined ? {} : { traceState: keepState(span.traceState) }),
    }),
    ...(span.parentSpanId === undefined
      ? {}
      : { parentSpanContext: { ...context(span.parentSpanId), isRemote: true } }),
    startTime: toHrTime(span.startMs),
    endTime: toHrTime(span.endMs),
    duration: toHrTime(Math.max(0, span.endMs - span.startMs)),
    status:
      span.error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: span.error },
    attributes,
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** As it came: it was checked when it was read. */
function keepState(text: string) {
  const state = { set: () => state, unset: () => state, get: () => undefined, serialize: () => text };
  return state;
}

function toHrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}

function definedOf(attributes: SpanAttributes): Record<string, string | number | boolean | string[]> {
  const defined: Record<string, string | number | boolean | string[]> = {};
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined) defined[name] = typeof value === "object" ? [...value] : value;
  return defined;
}

/** `name=value,name2=value2`, the form of OTEL_EXPORTER_OTLP_HEADERS. Throws without repeating a value. */
export function parseOtlpHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const part of text.trim().split(",")) {
    const at = part.indexOf("=");
    const name = part.slice(0, at).trim();
    const value = part.slice(at + 1).trim();
    if (at < 1 || !/^[A-Za-z0-9-]+$/.test(name) || !/^[\x20-\x7e]+$/.test(value))
      throw new Error("must be NAME=VALUE, separated by commas");
    headers[name] = value;
  }
  return headers;
}
