import { writeTraceparent } from "#core/trace-context.ts";
import { type FinishedSpan, newSpanId, type SpanAttributes } from "#runtime/tracer.ts";
import type { AttemptOutcome } from "../upstream/attempt.ts";
import type { Gateway } from "../gateway.ts";
import type { AttemptTrace } from "./trace.ts";
import type { Turn } from "../turn.ts";

/** Begins the span of one call of an upstream; nothing for a request that is not recorded. */
export function openAttempt(
  turn: Turn,
  startMs: number,
  target: Pick<AttemptTrace, "name" | "deployment" | "url" | "provider" | "upstreamModel">,
): AttemptTrace | undefined {
  if (turn.trace === undefined) return undefined;
  const attempt = { ...target, spanId: newSpanId(), startMs, endMs: startMs, error: undefined, status: undefined };
  turn.trace.attempts.push(attempt);
  return attempt;
}

/** What became of it. */
export function closeAttempt(attempt: AttemptTrace, outcome: AttemptOutcome, endMs: number): void {
  attempt.endMs = endMs;
  if (outcome.kind === "failed") attempt.error = outcome.reason;
  if (outcome.kind === "cut") attempt.error = "cut";
  if (outcome.kind !== "declined") return;
  attempt.status = outcome.head.status;
  attempt.error = String(outcome.head.status);
}

/** What the orchestrator is told of the trace: its parent is our call of it. */
export function traceHeaders(turn: Turn, attempt: AttemptTrace | undefined): Record<string, string> {
  const { trace, tracestate } = turn;
  const traceparent =
    trace && attempt
      ? writeTraceparent({ traceId: trace.traceId, spanId: attempt.spanId, isSampled: true })
      : turn.traceparent;
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate };
}

/** Hands the spans of a request over, once the connection and the books have both done with it. */
export function endSpans(gateway: Gateway, turn: Turn): void {
  const { trace } = turn;
  if (trace === undefined || !trace.isClosed || !turn.isAudited) return;
  const { tracer, clock } = gateway;
  if (tracer === undefined) return;
  const offsetMs = clock.now() - clock.monotonic();
  for (const attempt of trace.attempts) tracer.end(attemptSpan(turn, attempt, offsetMs));
  tracer.end(serverSpan(turn, { endMs: clock.monotonic(), offsetMs }));
}

/** Codes, numbers and configured names: never a prompt, an answer, a header or a path as it came. */
function serverSpan(turn: Turn, at: { readonly endMs: number; readonly offsetMs: number }): FinishedSpan {
  const { response } = turn;
  const name = turn.route?.name ?? "unknown";
  const method = methodOf(turn);
  const { statusCode } = response;
  const isCut = turn.outcome.cutBy !== undefined;
  const reason = reasonOf(turn);
  return {
    ...placeOf(turn),
    parentSpanId: turn.trace?.parentSpanId,
    name: `${method === "_OTHER" ? "HTTP" : method} ${name}`,
    kind: "server",
    startMs: turn.startMs + at.offsetMs,
    endMs: at.endMs + at.offsetMs,
    error: statusCode >= 500 || isCut ? reason : undefined,
    attributes: {
      "http.request.method": method,
      "http.route": name,
      "http.response.status_code": statusCode,
      "error.type": statusCode >= 400 || isCut ? reason : undefined,
      "gen_ai.request.model": turn.model,
      "supercargo.request_id": turn.requestId,
      "supercargo.plan": turn.planId,
    },
  };
}

/** From a closed set: a client may send any word. */
function methodOf({ request }: Turn): string {
  const { method = "" } = request;
  return METHODS.has(method) ? method : "_OTHER";
}

const METHODS: ReadonlySet<string> = new Set(["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"]);

function attemptSpan(turn: Turn, attempt: AttemptTrace, offsetMs: number): FinishedSpan {
  const isAnswer = attempt.error === undefined;
  return {
    ...placeOf(turn),
    spanId: attempt.spanId,
    parentSpanId: turn.trace?.spanId,
    name: `${attempt.name} ${subjectOf(turn, attempt)}`,
    kind: "client",
    startMs: attempt.startMs + offsetMs,
    endMs: attempt.endMs + offsetMs,
    error: attempt.error ?? (turn.outcome.cutBy === undefined ? undefined : `cut_by_${turn.outcome.cutBy}`),
    attributes: {
      "gen_ai.operation.name": attempt.name,
      "gen_ai.provider.name": attempt.provider,
      "gen_ai.request.model": attempt.name === "invoke_agent" ? undefined : turn.model,
      "gen_ai.agent.name": attempt.name === "invoke_agent" ? turn.snapshot?.config.agent.name : undefined,
      "supercargo.deployment": attempt.deployment,
      "supercargo.upstream.model": attempt.upstreamModel,
      ...serverOf(attempt.url),
      "http.response.status_code": attempt.status,
      "error.type": attempt.error ?? (turn.outcome.cutBy === undefined ? undefined : `cut_by_${turn.outcome.cutBy}`),
      ...(isAnswer ? answerOf(turn) : {}),
    },
  };
}

/** Of a configured set: who is called. */
function subjectOf(turn: Turn, attempt: AttemptTrace): string {
  const name = attempt.name === "invoke_agent" ? turn.snapshot?.config.agent.name : turn.model;
  return name ?? "other";
}

function answerOf({ outcome, trace }: Turn): SpanAttributes {
  return {
    "gen_ai.response.model": trace?.responseModel,
    "gen_ai.usage.input_tokens": outcome.inputTokens,
    "gen_ai.usage.cache_read.input_tokens": outcome.cachedInputTokens,
    "gen_ai.usage.output_tokens": outcome.outputTokens,
    "gen_ai.usage.reasoning.output_tokens": outcome.reasoningTokens,
    "supercargo.usage.estimated": outcome.estimated,
    "gen_ai.response.finish_reasons": outcome.finishReasons,
  };
}

function serverOf(url: string): SpanAttributes {
  const parsed = URL.parse(url);
  if (parsed === null) return {};
  const port = parsed.port === "" ? (parsed.protocol === "https:" ? 443 : 80) : Number(parsed.port);
  return { "server.address": parsed.hostname, "server.port": port };
}

function placeOf({ trace }: Turn): Pick<FinishedSpan, "traceId" | "spanId" | "traceState"> {
  return { traceId: trace?.traceId ?? "", spanId: trace?.spanId ?? "", traceState: trace?.state };
}

function reasonOf(turn: Turn): string {
  if (turn.outcome.cutBy !== undefined) return `cut_by_${turn.outcome.cutBy}`;
  return turn.reason ?? String(turn.response.statusCode);
}
