import type { Registry } from "prom-client";
import type { GatewayDeployment } from "#core/api/pod-config.ts";
import { METRICS } from "#core/metric-names.ts";
import {
  type CounterSeries,
  createCounterFamily,
  createHistogramFamily,
  type Family,
  type HistogramSeries,
} from "#runtime/series.ts";
import type { ModelOperation } from "../wire/openai.ts";
import type { TokenUsage } from "../wire/usage.ts";

/** What people see of one deployment of an alias, by the GenAI conventions. Money is in supercargo_usage_total alone. */
export interface ModelMetrics {
  /** Tokens of one answer; nothing reported adds 0 of unknown modality, so that its requests show without inventing tokens. */
  countTokens(usage: TokenUsage | undefined): void;
  /** From the request to the upstream until its answer was whole. */
  readonly operationSeconds: HistogramSeries;
  readonly firstChunkSeconds: HistogramSeries;
  readonly chunkSeconds: HistogramSeries;
  /** From the client's request to the first of a stream. */
  readonly firstTokenSeconds: HistogramSeries;
  readonly tokenSeconds: HistogramSeries;
}

/** Looked up once per alias, deployment and operation; the map's key is the configuration's own object. */
export type FindModelMetrics = (
  alias: string,
  deployment: GatewayDeployment,
  operation: ModelOperation,
) => ModelMetrics;

type Operation = "chat" | "embeddings";

/** Buckets of the GenAI conventions. */
export const DURATION_SECONDS = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const FIRST_TOKEN_SECONDS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const TOKEN_SECONDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

const COUNTER_LABELS = [
  "gen_ai_operation_name",
  "gen_ai_provider_name",
  "gen_ai_request_model",
  "gen_ai_token_modality",
];
const HISTOGRAM_LABELS = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "deployment"];

/** Registers the families; each is a name of the conventions in Prometheus' spelling. */
export function createGenAiMetrics(registry: Registry): FindModelMetrics {
  const families = createFamilies(registry);
  const found = new WeakMap<GatewayDeployment, Partial<Record<Operation, ModelMetrics>>>();
  return (alias, deployment, operation) => {
    const name = operation === "embeddings" ? "embeddings" : "chat";
    const known = found.get(deployment) ?? {};
    const metrics = (known[name] ??= openMetrics(families, { alias, deployment, operation: name }));
    found.set(deployment, known);
    return metrics;
  };
}

function createFamilies(registry: Registry) {
  const counter = (name: string, help: string): Family<CounterSeries> =>
    createCounterFamily({ registry, name, help, labelNames: COUNTER_LABELS });
  const histogram = (name: string, help: string, buckets: readonly number[]): Family<HistogramSeries> =>
    createHistogramFamily({ registry, name, help, labelNames: HISTOGRAM_LABELS, buckets });
  return {
    input: counter(METRICS.genAiInputTokens, "Prompt tokens. For dashboards; money is in supercargo_usage_total."),
    output: counter(METRICS.genAiOutputTokens, "Completion tokens. For dashboards, not for money."),
    cacheRead: counter(METRICS.genAiCacheReadTokens, "The part of the prompt tokens that a cache spared."),
    reasoning: counter(METRICS.genAiReasoningTokens, "The part of the completion tokens that nobody sees."),
    perInput: histogram(METRICS.genAiOperationInputTokens, "Prompt tokens of one call.", TOKENS),
    perOutput: histogram(METRICS.genAiOperationOutputTokens, "Completion tokens of one call.", TOKENS),
    operation: histogram(METRICS.genAiOperationDuration, "Time of one answered call of a model.", DURATION_SECONDS),
    firstChunk: histogram(METRICS.genAiFirstChunk, "Time to a stream's first events.", DURATION_SECONDS),
    chunk: histogram(METRICS.genAiOutputChunk, "Time between a stream's events.", DURATION_SECONDS),
    firstToken: histogram(METRICS.genAiFirstToken, "Time from request to a stream's first event.", FIRST_TOKEN_SECONDS),
    token: histogram(METRICS.genAiOutputToken, "Time per completion token behind the first.", TOKEN_SECONDS),
  };
}

interface Place {
  readonly alias: string;
  readonly deployment: GatewayDeployment;
  readonly operation: Operation;
}

function openMetrics(families: ReturnType<typeof createFamilies>, place: Place): ModelMetrics {
  const shared = {
    gen_ai_operation_name: place.operation,
    gen_ai_provider_name: providerOf(place.deployment),
    gen_ai_request_model: place.alias,
  };
  const labels = { ...shared, deployment: place.deployment.name };
  const of = (modality: "text" | "unknown") => {
    const own = { ...shared, gen_ai_token_modality: modality };
    return { input: families.input.series(own), output: families.output.series(own) };
  };
  // A counter that begins above 0 has not risen as far as an alert can see: all of them show from the first call on.
  const text = of("text");
  const unknown = of("unknown");
  const cacheRead = families.cacheRead.series({ ...shared, gen_ai_token_modality: "text" });
  const reasoning = families.reasoning.series({ ...shared, gen_ai_token_modality: "text" });
  const perInput = families.perInput.series(labels);
  const perOutput = families.perOutput.series(labels);
  return {
    countTokens(usage) {
      if (usage === undefined) {
        unknown.input.add(0);
        unknown.output.add(0);
        return;
      }
      text.input.add(usage.inputTokens);
      text.output.add(usage.outputTokens);
      cacheRead.add(usage.cachedInputTokens);
      reasoning.add(usage.reasoningTokens);
      perInput.observe(usage.inputTokens);
      perOutput.observe(usage.outputTokens);
    },
    operationSeconds: families.operation.series(labels),
    firstChunkSeconds: families.firstChunk.series(labels),
    chunkSeconds: families.chunk.series(labels),
    firstTokenSeconds: families.firstToken.series(labels),
    tokenSeconds: families.token.series(labels),
  };
}

/** `gen_ai.provider.name` of a deployment. */
export function providerOf(deployment: Pick<GatewayDeployment, "type">): string {
  return deployment.type === "AzureOpenAI" ? "azure.ai.openai" : "openai";
}
