import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "#runtime/clock.ts";
import type { Tracer } from "#runtime/tracer.ts";
import type { Caller } from "./identity/auth.ts";
import type { ModelMetrics } from "./telemetry/gen-ai.ts";
import type { OpenAIRequest } from "./wire/openai.ts";
import type { Route } from "./wire/routes.ts";
import type { Snapshot } from "./snapshot.ts";
import { openTrace, type TurnTrace } from "./telemetry/trace.ts";

/** Who ended a request before its end. */
export type CutSide = "client" | "upstream" | "drain";

/** What the audit line tells about a model's answer. */
interface Outcome {
  deployment?: string;
  attempts?: number;
  inputTokens?: number;
  cachedInputTokens?: number;
  outputTokens?: number;
  estimated?: boolean;
  /** The worst case that was held, where the plan has hard limits. */
  reservedInputTokens?: number;
  reservedOutputTokens?: number;
  reasoningTokens?: number;
  /** How each choice ended. */
  finishReasons?: readonly string[] | undefined;
  /** Azure's own filter was down: nothing judged the content. */
  contentFilter?: "down";
  /** What each guardrail said, in the order in which they were asked: `NAME=ACTION:RULE`. */
  guardrails?: string;
  cutBy?: CutSide;
  /** What the upstream's own error says it is, or our last words in a stream. */
  code?: string;
  /** Rate limits in shadow mode that would have refused: `NAME=Shadow`. */
  rateLimits?: string;
}

/** One request on its way through the steps; each step adds what it found. */
export interface Turn {
  readonly requestId: string;
  readonly traceparent: string;
  /** What other tracing systems pass along. */
  readonly tracestate: string | undefined;
  /** Where this request is recorded. */
  readonly trace: TurnTrace | undefined;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Monotonic milliseconds. */
  readonly startMs: number;
  /** Time spent on waiting for the client's body or for the upstream, until its last byte. */
  waitedMs: number;
  snapshot?: Snapshot;
  route?: Route;
  caller?: Caller;
  planId?: string;
  body?: Buffer;
  parsed?: OpenAIRequest;
  /** What the rate limits tell the client; of an answer and of a refusal. */
  rateHeaders?: Readonly<Record<string, string>>;
  /** The alias, once it is known to exist; the agent's name for its face. */
  model?: string;
  /** Of the deployment that is asked now. */
  metrics?: ModelMetrics;
  /** Monotonic milliseconds: when that deployment was asked, and when the first and the newest events of its stream came. */
  sentMs: number;
  firstEventMs: number | undefined;
  newestEventMs: number;
  readonly outcome: Outcome;
  readonly cutter: Cutter;
  /** What still keeps the answer when its upstream has ended: guardrails that ask somebody. */
  answering?: Answering;
  /** Why it ended as it did, for a label: `ok`, the code of a refusal, or one of three more. */
  reason?: string;
  isAudited: boolean;
}

/** An answer that is whole and waits to be judged. */
interface Answering {
  readonly ended: Promise<void>;
  /** Ends the wait: the client is gone, or the process is about to end. */
  cut(side: CutSide): void;
}

/** The one way in which a request is ended early: by its client, or by us when the process drains. */
interface Cutter {
  readonly cutBy: () => CutSide | undefined;
  cut(side: CutSide): void;
  /** At most one listener at a time: the part that holds the request now. Called at once when it is already cut. */
  onCut(listener: ((side: CutSide) => void) | undefined): void;
}

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** Begins a request: its id (the client's, if it is a fit one) and its trace. */
export function openTurn(
  request: IncomingMessage,
  response: ServerResponse,
  world: { readonly clock: Clock; readonly tracer?: Pick<Tracer, "ratio"> | undefined },
): Turn {
  const fresh = randomUUID();
  const { traceparent, tracestate, trace } = openTrace(request.headers, fresh, world.tracer?.ratio);
  return {
    requestId: fit(request.headers["x-request-id"], REQUEST_ID) ?? fresh,
    traceparent,
    tracestate,
    trace,
    request,
    response,
    startMs: world.clock.monotonic(),
    waitedMs: 0,
    sentMs: 0,
    firstEventMs: undefined,
    newestEventMs: 0,
    outcome: {},
    cutter: createCutter(),
    isAudited: false,
  };
}

function createCutter(): Cutter {
  let cutBy: CutSide | undefined;
  let heard: ((side: CutSide) => void) | undefined;
  return {
    cutBy: () => cutBy,
    cut(side) {
      if (cutBy !== undefined) return;
      cutBy = side;
      heard?.(side);
    },
    onCut(listener) {
      heard = listener;
      if (cutBy !== undefined) listener?.(cutBy);
    },
  };
}

function fit(value: string | string[] | undefined, pattern: RegExp): string | undefined {
  return typeof value === "string" && pattern.test(value) ? value : undefined;
}
