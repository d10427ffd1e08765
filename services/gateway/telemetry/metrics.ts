import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { METRICS } from "#core/metric-names.ts";
import type { Deployments } from "../deployments/deployments.ts";
import { createGenAiMetrics, DURATION_SECONDS, type FindModelMetrics } from "./gen-ai.ts";

/** What people and dashboards see. Every label value comes from a closed set or from the configuration. */
export interface GatewayMetrics {
  readonly requests: Counter<"route" | "code" | "reason">;
  readonly refusals: Counter<"reason">;
  readonly inFlight: Gauge;
  readonly upstreamErrors: Counter<"model" | "deployment" | "reason">;
  readonly retries: Counter<"model" | "reason">;
  readonly fallbacks: Counter<"model" | "deployment" | "reason">;
  readonly streamsCut: Counter<"side">;
  readonly guardrailChecks: Counter<"guardrail" | "phase" | "action">;
  readonly guardrailMatches: Counter<"guardrail" | "phase" | "rule">;
  readonly guardrailFailures: Counter<"guardrail" | "reason">;
  readonly rateLimited: Counter<"limit" | "unit" | "mode">;
  readonly rateLimitNear: Counter<"limit" | "unit">;
  readonly filterDown: Counter<"model" | "deployment">;
  readonly overheadSeconds: Histogram;
  readonly requestDuration: Histogram<"gen_ai_request_model" | "gen_ai_operation_name">;
  readonly eventLoopDelay: Gauge<"percentile">;
  readonly ofModel: FindModelMetrics;
}

/** From 50 µs to 250 ms. */
const OVERHEAD_SECONDS = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];

/** `grades`: how each deployment does, asked for at each scrape. */
export function createGatewayMetrics(registry: Registry, grades: Deployments["grades"] = () => []): GatewayMetrics {
  const registers = [registry];
  registerDeploymentState(registry, grades);
  const counter = counterIn(registers);
  return {
    requests: counter(METRICS.gatewayRequests, "Requests by route, status class and reason.", [
      "route",
      "code",
      "reason",
    ]),
    refusals: counter(METRICS.gatewayRefusals, "Requests refused by one of our own rules.", ["reason"]),
    rateLimited: counter(METRICS.gatewayRateLimited, "Requests over a rate limit: refused, or passed in shadow mode.", [
      "limit",
      "unit",
      "mode",
    ]),
    rateLimitNear: counter(METRICS.gatewayRateLimitNear, "Requests that left a rate limit used to 80 % or more.", [
      "limit",
      "unit",
    ]),
    inFlight: new Gauge({ name: METRICS.gatewayInFlight, help: "Requests that have begun and not ended.", registers }),
    ...attemptMetrics(registers),
    streamsCut: counter(METRICS.gatewayStreamsCut, "Answers that ended early, by who ended them.", ["side"]),
    guardrailChecks: counter(METRICS.gatewayGuardrailChecks, "Guardrails that were asked, by what it led to.", [
      "guardrail",
      "phase",
      "action",
    ]),
    guardrailMatches: counter(METRICS.gatewayGuardrailMatches, "What local rules have found, by rule.", [
      "guardrail",
      "phase",
      "rule",
    ]),
    guardrailFailures: counter(METRICS.gatewayGuardrailFailures, "Guardrails that could not tell, by reason.", [
      "guardrail",
      "reason",
    ]),
    filterDown: counter(
      METRICS.gatewayFilterDown,
      "Answers of which Azure's content filter judged nothing, as it was down (content_filter_error).",
      ["model", "deployment"],
    ),
    overheadSeconds: new Histogram({
      name: METRICS.gatewayOverheadSeconds,
      help: "Time in the gateway itself, from the request's first byte: all but waiting for the upstream.",
      buckets: OVERHEAD_SECONDS,
      registers,
    }),
    requestDuration: new Histogram({
      name: METRICS.genAiRequestDuration,
      help: "Time from request to the end of the answer.",
      labelNames: ["gen_ai_request_model", "gen_ai_operation_name"],
      buckets: DURATION_SECONDS,
      registers,
    }),
    ofModel: createGenAiMetrics(registry),
    eventLoopDelay: new Gauge({
      name: METRICS.gatewayEventLoopDelay,
      help: "How late the event loop was within the last whole minute.",
      labelNames: ["percentile"],
      registers,
    }),
  };
}

function registerDeploymentState(registry: Registry, grades: Deployments["grades"]): void {
  new Gauge({
    name: METRICS.gatewayDeploymentState,
    help: "How a deployment of a model does, as this pod sees it: 0 healthy, 1 partial, 2 outage.",
    labelNames: ["model", "deployment"],
    registers: [registry],
    collect() {
      // What left the configuration is gone.
      this.reset();
      for (const { model, deployment, grade } of grades()) this.set({ model, deployment }, grade);
    },
  });
}

/** What became of attempts at models. */
function attemptMetrics(registers: Registry[]): Pick<GatewayMetrics, "upstreamErrors" | "retries" | "fallbacks"> {
  const counter = counterIn(registers);
  return {
    upstreamErrors: counter(METRICS.gatewayUpstreamErrors, "Failed attempts, before any retry.", [
      "model",
      "deployment",
      "reason",
    ]),
    retries: counter(METRICS.gatewayRetries, "Attempts after a failed one, by why that had failed.", [
      "model",
      "reason",
    ]),
    fallbacks: counter(
      METRICS.gatewayFallbacks,
      "Attempts at another deployment than the first choice: that one had failed, or was known to be unavailable.",
      ["model", "deployment", "reason"],
    ),
  };
}

function counterIn(registers: Registry[]) {
  return <T extends string>(name: string, help: string, labelNames: readonly T[]): Counter<T> =>
    new Counter({ name, help, labelNames, registers });
}
