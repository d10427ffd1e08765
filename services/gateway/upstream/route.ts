import type { GatewayDeployment } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";
import { backoffDelayMs } from "#runtime/retry.ts";
import { createJsonSink } from "./answer.ts";
import { type AnswerHead, type Attempt, type AttemptOutcome, type Flow, type Sink, startAttempt } from "./attempt.ts";
import { createEventSink } from "./events.ts";
import type { Gateway } from "../gateway.ts";
import { providerOf } from "../telemetry/gen-ai.ts";
import { type ModelOperation, type OpenAIRequest, toUpstreamBody } from "../wire/openai.ts";
import { answerHeaders, isEventStream, isUsable, passDeclined } from "./pass.ts";
import { retryAfterMs } from "./retry-after.ts";
import { settleModel } from "../limits/settle.ts";
import { closeAttempt, openAttempt } from "../telemetry/spans.ts";
import { endpointOf, type ModelRoute, type Snapshot } from "../snapshot.ts";
import { createStreamWatch } from "./stream-watch.ts";
import type { AttemptTrace } from "../telemetry/trace.ts";
import type { Turn } from "../turn.ts";

/** A call of a model as the steps before have judged it. */
export interface ModelCall {
  readonly snapshot: Snapshot;
  readonly operation: ModelOperation;
  readonly route: ModelRoute;
  readonly request: OpenAIRequest;
}

const ATTEMPTS_MAX = 3;
const BACKOFF = { delayMinMs: 500, delayMaxMs: 8_000 };
const RETRIABLE_STATUS: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
const PATHS: Readonly<Record<ModelOperation, string>> = {
  chat: "/chat/completions",
  responses: "/responses",
  embeddings: "/embeddings",
};

/**
 * Sends a call to the deployments of its alias until one answers: the gateway is the only retry loop, and only before the
 * first byte has gone to the client. Another deployment is tried at once; the same one after the wait it asked for.
 */
export async function callModel(gateway: Gateway, turn: Turn, call: ModelCall): Promise<void> {
  const order = orderDeployments(call.route, gateway.random);
  gateway.retryBudget.noteRequest();
  let shortestWaitMs = Number.POSITIVE_INFINITY;
  for (let attempt = 0; ; attempt += 1) {
    const deployment = pick(order, attempt);
    turn.outcome.deployment = deployment.name;
    turn.outcome.attempts = attempt + 1;
    const result = await tryDeployment(gateway, turn, { call, deployment });
    if (result.kind === "answered") return;
    if (result.kind === "declined" && !RETRIABLE_STATUS.has(result.head.status))
      return passDeclined(gateway, turn, result);
    const wait = waitOf(gateway, result, attempt);
    shortestWaitMs = Math.min(shortestWaitMs, wait.askedMs);
    const isOtherLeft = attempt + 1 < order.length;
    const delayMs = isOtherLeft ? 0 : wait.delayMs;
    const isInTime = attempt + 1 < ATTEMPTS_MAX && delayMs <= gateway.timeouts.retryWaitMaxMs;
    const mayGoOn = isInTime && isRetriable(result, isOtherLeft);
    if (!mayGoOn || !gateway.retryBudget.take()) throw toFinalRefusal(result, shortestWaitMs);
    await sleepUnlessCut(gateway, turn, delayMs);
  }
}

function pick(order: readonly GatewayDeployment[], attempt: number): GatewayDeployment {
  const deployment = order[attempt % order.length];
  if (deployment === undefined) throw new Error("An alias must have a deployment");
  return deployment;
}

/** Lowest priority number first; inside one priority by weighted chance. */
export function orderDeployments(route: ModelRoute, random: () => number): readonly GatewayDeployment[] {
  const [first, ...more] = route.groups;
  if (first?.length === 1 && more.length === 0) return first;
  return route.groups.flatMap((group) => {
    const left = [...group];
    const ordered: GatewayDeployment[] = [];
    while (left.length > 0) {
      const total = left.reduce((sum, each) => sum + each.weight, 0);
      let mark = random() * total;
      const index = left.findIndex((each) => (mark -= each.weight) < 0);
      ordered.push(...left.splice(index < 0 ? left.length - 1 : index, 1));
    }
    return ordered;
  });
}

interface Trial {
  readonly call: ModelCall;
  readonly deployment: GatewayDeployment;
}

type TrialResult =
  | Exclude<AttemptOutcome, { kind: "cut" }>
  | { readonly kind: "no_credential"; readonly reason: string };

function tryDeployment(gateway: Gateway, turn: Turn, trial: Trial): Promise<TrialResult> | TrialResult {
  const { call, deployment } = trial;
  const credential = gateway.credentials.headerFor(deployment);
  if (!credential.ok) {
    noteFailure(gateway, turn, { deployment, reason: "credential" });
    return { kind: "no_credential", reason: credential.reason };
  }
  const body = toUpstreamBody(call.operation, call.request, {
    model: deployment.model,
    outputTokensMax: call.route.outputTokensMax,
  });
  const endpoint = endpointOf(call.snapshot, deployment.baseUrl);
  turn.metrics = gateway.metrics.ofModel(call.route.alias, deployment, call.operation);
  turn.sentMs = gateway.clock.monotonic();
  turn.firstEventMs = undefined;
  const span = openAttempt(turn, turn.sentMs, {
    name: call.operation === "embeddings" ? "embeddings" : "chat",
    deployment: deployment.name,
    url: deployment.baseUrl,
    provider: providerOf(deployment),
    upstreamModel: deployment.model,
  });
  const attempt = startAttempt({
    dispatcher: gateway.upstreams.pool(`${call.route.alias}/${deployment.name}`, endpoint.origin),
    method: "POST",
    path: `${endpoint.basePath}${PATHS[call.operation]}`,
    headers: {
      "content-type": "application/json",
      accept: call.request.stream ? "text/event-stream" : "application/json",
      "accept-encoding": "identity",
      "x-request-id": turn.requestId,
      ...credential.headers,
    },
    body: body.bytes,
    firstByteTimeoutMs: call.request.stream ? gateway.timeouts.streamFirstByteMs : gateway.timeouts.jsonFirstByteMs,
    idleTimeoutMs: gateway.timeouts.idleMs,
    clock: gateway.clock,
    accept: (head, flow) => acceptAnswer(gateway, turn, { trial, head, flow, usageInjected: body.usageInjected }),
    onStalled: () => turn.response.destroy(),
  });
  return outcomeOf(gateway, turn, { attempt, deployment, span });
}

async function outcomeOf(
  gateway: Gateway,
  turn: Turn,
  running: {
    readonly attempt: Attempt;
    readonly deployment: GatewayDeployment;
    readonly span: AttemptTrace | undefined;
  },
): Promise<TrialResult> {
  turn.cutter.onCut((side) => running.attempt.cut(side));
  const outcome = await running.attempt.outcome;
  turn.cutter.onCut(undefined);
  turn.waitedMs += gateway.clock.monotonic() - turn.sentMs;
  if (running.span) closeAttempt(running.span, outcome, gateway.clock.monotonic());
  if (outcome.kind === "cut") throw cutRefusal();
  if (outcome.kind === "failed") noteFailure(gateway, turn, { deployment: running.deployment, reason: outcome.reason });
  if (outcome.kind === "declined")
    noteFailure(gateway, turn, { deployment: running.deployment, reason: statusReason(outcome.head.status) });
  return outcome;
}

interface AcceptOptions {
  readonly trial: Trial;
  readonly head: AnswerHead;
  readonly flow: Flow;
  readonly usageInjected: boolean;
}

function acceptAnswer(gateway: Gateway, turn: Turn, options: AcceptOptions): Sink | undefined {
  const { head, flow, trial } = options;
  if (!isUsable(head)) return undefined;
  const common = {
    turn,
    head,
    flow,
    clock: gateway.clock,
    headers: () => answerHeaders(gateway, turn, head),
    settle: settleModel(gateway, turn, { call: trial.call, status: head.status }),
    rejectsUnfiltered: trial.call.snapshot.contentFilter?.failureMode === "Closed",
  };
  if (!isEventStream(head)) return createJsonSink(common);
  const shape = trial.call.operation === "responses" ? "responses" : "chat";
  const watch = createStreamWatch({ dropsUsageChunk: options.usageInjected, deltas: shape });
  return createEventSink({ ...common, shape, watch });
}

function isRetriable(result: TrialResult, isOtherLeft: boolean): boolean {
  // A credential that is not there comes with time, not with a second look.
  if (result.kind === "no_credential") return isOtherLeft;
  // Who waited for minutes will not wait again; everything else here came quickly.
  return !(result.kind === "failed" && result.reason === "timeout");
}

/** How long before the same deployment may be asked again: what it said (in three spellings), else full jitter. */
function waitOf(gateway: Gateway, result: TrialResult, attempt: number): { delayMs: number; askedMs: number } {
  const askedMs = result.kind === "declined" ? retryAfterMs(result.head.headers, gateway.clock.now()) : undefined;
  return {
    delayMs: askedMs ?? backoffDelayMs(attempt, BACKOFF, gateway.random),
    askedMs: askedMs ?? Number.POSITIVE_INFINITY,
  };
}

function toFinalRefusal(result: Exclude<TrialResult, { kind: "answered" }>, shortestWaitMs: number): Refusal {
  switch (result.kind) {
    case "no_credential":
      return new Refusal("upstream_refused_credential", "Cannot call the model as our credential for it is not there", {
        cause: new Error(result.reason),
      });
    case "failed":
      return result.reason === "timeout"
        ? new Refusal("upstream_timeout", "Cannot get an answer of the model as none began in time")
        : new Refusal("upstream_error", "Cannot get an answer of the model as it cannot be reached or broke off", {
            cause: result.error,
          });
    case "declined":
      if (result.head.status === 429)
        return new Refusal("rate_limit_exceeded", "Cannot get an answer of the model as its rate limit is reached", {
          retryAfterMs: Number.isFinite(shortestWaitMs) ? shortestWaitMs : RATE_LIMIT_WAIT_MS,
        });
      return new Refusal("upstream_error", `Cannot get an answer of the model as it answered ${result.head.status}`);
  }
}

const RATE_LIMIT_WAIT_MS = 10_000;

function cutRefusal(): Refusal {
  return new Refusal("draining", "Cannot finish the request as the pod is being replaced");
}

/** Waits before another attempt; throws when the request is cut meanwhile. */
async function sleepUnlessCut(gateway: Gateway, turn: Turn, delayMs: number): Promise<void> {
  const stop = new AbortController();
  turn.cutter.onCut(() => stop.abort());
  try {
    if (delayMs > 0) await gateway.clock.sleep(delayMs, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    turn.cutter.onCut(undefined);
  }
  if (stop.signal.aborted) throw cutRefusal();
}

type StatusReason = "401" | "403" | "408" | "429" | "4xx" | "5xx" | "other";

function statusReason(status: number): StatusReason {
  if (status === 401) return "401";
  if (status === 403) return "403";
  if (status === 408) return "408";
  if (status === 429) return "429";
  if (status >= 500) return "5xx";
  return status >= 400 ? "4xx" : "other";
}

function noteFailure(
  gateway: Gateway,
  turn: Turn,
  failure: { readonly deployment: GatewayDeployment; readonly reason: string },
): void {
  gateway.metrics.upstreamErrors.inc({
    model: turn.model ?? "other",
    deployment: failure.deployment.name,
    reason: failure.reason,
  });
}
