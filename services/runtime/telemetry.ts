import { Counter, type Registry } from "prom-client";
import { z } from "zod";
import { METRICS } from "#core/metric-names.ts";
import type { Clock } from "./clock.ts";
import { createTracer, type SpanAttributes, type Tracer, type TracerOptions } from "./tracer.ts";
import { watchFile } from "./watched-file.ts";

/** Where spans go. Without an endpoint nothing of it is even loaded. */
export const telemetryEnvShape = {
  /** Base URL of an OTLP collector over HTTP. Empty: no traces. */
  SUPERCARGO_OTLP_ENDPOINT: z.union([z.literal(""), z.url({ protocol: /^https?$/ })]).default(""),
  /** A mounted Secret with NAME=VALUE headers for the collector. Empty: none. */
  SUPERCARGO_OTLP_HEADERS_FILE: z.string().max(4096).default(""),
  /** Share of traces that begin here and are recorded; those of others say so themselves. */
  SUPERCARGO_TRACE_RATIO: z.coerce.number().min(0).max(1).default(0.1),
};
type TelemetryEnv = z.output<z.ZodObject<typeof telemetryEnvShape>>;

export interface TelemetryOptions {
  readonly env: TelemetryEnv;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly resource: () => SpanAttributes;
}

/** A tracer to the configured collector, or nothing. A headers file that is missing or wrong costs spans, never a request. */
export async function openTracer({ env, clock, registry, resource }: TelemetryOptions): Promise<Tracer | undefined> {
  const { SUPERCARGO_OTLP_ENDPOINT: endpoint, SUPERCARGO_OTLP_HEADERS_FILE: file } = env;
  if (endpoint === "") return undefined;
  const { createOtlpSender, parseOtlpHeaders } = await import("./otlp.ts");
  const watched = file === "" ? undefined : watchFile(file, parseOtlpHeaders);
  const headers = (): Readonly<Record<string, string>> => {
    watched?.refresh();
    return watched?.current()?.value ?? {};
  };
  const sender = createOtlpSender({ endpoint, headers, resource });
  return createTracer({ ratio: env.SUPERCARGO_TRACE_RATIO, sender, clock, note: noteSpans(registry) });
}

/** The counter of what became of spans. It stands only where spans are sent. */
export function noteSpans(registry: Registry): TracerOptions["note"] {
  const spans = new Counter({
    name: METRICS.spans,
    help: "Spans by what became of them: sent, failed, dropped.",
    labelNames: ["result"],
    registers: [registry],
  });
  return (result, count) => spans.inc({ result }, count);
}
