import { encodeActingFor } from "#core/acting-for.ts";
import { Refusal } from "#core/errors.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import { createJsonSink } from "./answer.ts";
import { type AnswerHead, type AttemptOutcome, type Flow, type Sink, startAttempt } from "./attempt.ts";
import { createEventSink } from "./events.ts";
import type { Gateway } from "../gateway.ts";
import { answerHeaders, isEventStream, isUsable, passDeclined } from "./pass.ts";
import { settleAgent } from "../limits/settle.ts";
import { endpointOf } from "../snapshot.ts";
import { closeAttempt, openAttempt, traceHeaders } from "../telemetry/spans.ts";
import { createStreamWatch } from "./stream-watch.ts";
import type { Turn } from "../turn.ts";

/** A call of the agent itself, on its way to the orchestrator. */
export interface AgentCall {
  readonly method: "GET" | "POST" | "DELETE";
  /** Path and query. */
  readonly target: string;
  readonly body: Buffer | null;
  /** A new run: counted as an agent request once it is accepted. */
  readonly isRun: boolean;
}

/** The orchestrator restarts in place (strategy Recreate): a refused connection is tried again for a short while. */
const CONNECTS_MAX = 3;
const CONNECT_DELAY_MS = 300;

/**
 * Passes a call on to the orchestrator with our token and the caller's verified principal. Repeated only when no connection
 * was had: a run that may have begun is never started twice.
 */
export async function callAgent(gateway: Gateway, turn: Turn, call: AgentCall): Promise<void> {
  const mayHaveBegun = isUnrepeatable(turn, call);
  for (let connect = 1; ; connect += 1) {
    const outcome = await tryOrchestrator(gateway, turn, call);
    if (outcome.kind === "answered") return;
    if (outcome.kind === "declined") return passOwnError(gateway, turn, outcome);
    if (outcome.kind === "cut" || turn.cutter.cutBy() !== undefined)
      throw new Refusal("draining", "Cannot finish the request as the pod is being replaced", { mayHaveBegun });
    gateway.metrics.upstreamErrors.inc({
      model: turn.model ?? "other",
      deployment: "orchestrator",
      reason: outcome.reason,
    });
    if (outcome.isSent || outcome.reason === "timeout" || connect >= CONNECTS_MAX)
      throw toRefusal(outcome, mayHaveBegun);
    await gateway.clock.sleep(CONNECT_DELAY_MS * connect);
  }
}

function toRefusal({ reason, isSent, error }: Extract<AttemptOutcome, { kind: "failed" }>, isRun: boolean): Refusal {
  if (reason === "timeout")
    return new Refusal("upstream_timeout", "Cannot get an answer of the agent as none began in time", {
      mayHaveBegun: isRun,
    });
  return new Refusal("upstream_error", "Cannot reach the agent's orchestrator", {
    cause: error,
    mayHaveBegun: isRun && isSent,
  });
}

async function tryOrchestrator(gateway: Gateway, turn: Turn, call: AgentCall): Promise<AttemptOutcome> {
  const token = gateway.serviceToken();
  if (turn.snapshot === undefined || turn.caller === undefined)
    throw new Error("An agent call must follow the steps before it");
  if (token === undefined) throw new Refusal("not_ready", "Cannot call the agent before our own token is there");
  const { config } = turn.snapshot;
  const endpoint = endpointOf(turn.snapshot, config.orchestrator.url);
  const sentMs = gateway.clock.monotonic();
  const span = openAttempt(turn, sentMs, {
    name: "invoke_agent",
    deployment: "orchestrator",
    url: config.orchestrator.url,
    provider: undefined,
    upstreamModel: undefined,
  });
  const attempt = startAttempt({
    dispatcher: gateway.upstreams.pool("orchestrator", endpoint.origin),
    method: call.method,
    path: `${endpoint.basePath}${call.target}`,
    headers: {
      ...(call.body === null ? {} : { "content-type": "application/json" }),
      authorization: `Bearer ${token}`,
      [ACTING_FOR_HEADER]: encodeActingFor(turn.caller.principal),
      "x-request-id": turn.requestId,
      ...traceHeaders(turn, span),
      ...idempotencyKey(turn),
    },
    body: call.body,
    firstByteTimeoutMs: gateway.timeouts.agentFirstByteMs,
    idleTimeoutMs: gateway.timeouts.idleMs,
    clock: gateway.clock,
    accept: (head, flow) => acceptAnswer(gateway, turn, { call, head, flow }),
    onStalled: () => turn.response.destroy(),
  });
  turn.cutter.onCut((side) => attempt.cut(side));
  const outcome = await attempt.outcome;
  turn.cutter.onCut(undefined);
  turn.waitedMs += gateway.clock.monotonic() - sentMs;
  if (span) closeAttempt(span, outcome, gateway.clock.monotonic());
  return outcome;
}

interface AcceptOptions {
  readonly call: AgentCall;
  readonly head: AnswerHead;
  readonly flow: Flow;
}

/** Tokens of the run are counted where the orchestrator calls the model, through this gateway: never again here. */
function acceptAnswer(gateway: Gateway, turn: Turn, options: AcceptOptions): Sink | undefined {
  const { head, flow } = options;
  if (!isUsable(head)) return undefined;
  const { isRun } = options.call;
  const mayHaveBegun = isUnrepeatable(turn, options.call);
  const books = settleAgent(gateway, turn, { isRun, mayHaveBegun, status: head.status });
  const common = {
    turn,
    head,
    flow,
    clock: gateway.clock,
    headers: () => answerHeaders(gateway, turn, head),
    settle: books.settle,
    // Its model calls have passed through here already.
    rejectsUnfiltered: false,
    beforeFirstByte: () => books.count(),
  };
  if (!isEventStream(head)) return createJsonSink(common);
  const watch = createStreamWatch({ dropsUsageChunk: false, deltas: "none" });
  return createEventSink({ ...common, shape: "responses", watch });
}

/** Errors of our own orchestrator pass whole, 5xx too: it speaks the same table. Only a 401 is about us. */
function passOwnError(gateway: Gateway, turn: Turn, declined: Extract<AttemptOutcome, { kind: "declined" }>): void {
  passDeclined(gateway, turn, { ...declined, passesForbidden: true });
}

/** A run without a key: whoever sends it again begins another one. */
function isUnrepeatable(turn: Turn, call: Pick<AgentCall, "isRun">): boolean {
  return call.isRun && !("idempotency-key" in idempotencyKey(turn));
}

function idempotencyKey(turn: Turn): Record<string, string> {
  const value = turn.request.headers["idempotency-key"];
  return typeof value === "string" && /^[\x21-\x7e]{1,256}$/.test(value) ? { "idempotency-key": value } : {};
}
