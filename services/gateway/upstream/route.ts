import type { GatewayDeployment } from "#core/api/pod-config.ts";
import { BEGUN, NO_VERDICT } from "../deployments/breaker.ts";
import { chooseTarget, type Target } from "../deployments/choose.ts";
import {
  ATTEMPTS_MAX,
  cutRefusal,
  type Failure,
  failureReason,
  isRetriable,
  toFailure,
  toFinalRefusal,
  toVerdict,
  type TrialResult,
  verdictOfAnswer,
  verdictOfStatus,
  waitForTarget,
} from "../deployments/retry.ts";
import { createJsonSink } from "./answer.ts";
import { type AnswerHead, type Attempt, type Flow, type Sink, startAttempt } from "./attempt.ts";
import { createEventSink } from "./events.ts";
import type { Gateway } from "../gateway.ts";
import { createGuardedJsonSink } from "../guardrails/output/json-sink.ts";
import { outputCheck } from "../guardrails/output/output.ts";
import { createStreamGuard } from "../guardrails/output/stream-guard.ts";
import { providerOf } from "../telemetry/gen-ai.ts";
import { type ModelOperation, type OpenAIRequest, toUpstreamBody } from "../wire/openai.ts";
import { answerHeaders, isEventStream, isUsable, passDeclined } from "./pass.ts";
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
  const { deployments, clock, random } = gateway;
  const groups = deployments.of(call.route);
  gateway.retryBudget.noteRequest();
  let failure: Failure | undefined;
  let waits = 0;
  for (;;) {
    const target = chooseTarget(groups, { nowMs: clock.monotonic(), random, tried: failure?.tried });
    if (target === undefined) {
      waits += 1;
      await waitForTarget(gateway, turn, { groups, failure, waits });
      failure = failure && { ...failure, tried: new Set() };
      continue;
    }
    const trial: Trial = { call, deployment: target.deployment, target, epoch: deployments.admit(target) };
    noteAttempt(gateway, turn, { target, failure });
    let result: TrialResult;
    try {
      result = await tryDeployment(gateway, turn, trial);
    } catch (error) {
      deployments.judge(target, trial.epoch, NO_VERDICT);
      throw error;
    }
    failure = endTrial(gateway, turn, { trial, result, before: failure });
    if (failure === undefined) return;
  }
}

interface TrialEnd {
  readonly trial: Trial;
  readonly result: TrialResult;
  readonly before: Failure | undefined;
}

/** Judges the deployment. Nothing when the client has its answer, else the failure that another attempt may follow; throws when none may. */
function endTrial(gateway: Gateway, turn: Turn, { trial, result, before }: TrialEnd): Failure | undefined {
  const { target, epoch } = trial;
  if (result.kind === "answered") {
    gateway.deployments.judge(target, epoch, verdictOfAnswer(turn.outcome.cutBy));
    return undefined;
  }
  if (result.kind === "declined" && !isRetriable(result.head.status)) {
    gateway.deployments.judge(target, epoch, verdictOfStatus(result.head.status));
    passDeclined(gateway, turn, result);
    return undefined;
  }
  const failure = toFailure(gateway, { target, result, before });
  gateway.deployments.judge(target, epoch, toVerdict(failure));
  if (failure.attempts >= ATTEMPTS_MAX || !gateway.retryBudget.take()) throw toFinalRefusal(failure);
  return failure;
}

/** For the audit record and for people: which deployment is asked, and why not the one before. */
function noteAttempt(
  gateway: Gateway,
  turn: Turn,
  { target, failure }: { readonly target: Target; readonly failure: Failure | undefined },
): void {
  turn.outcome.deployment = target.deployment.name;
  turn.outcome.attempts = (failure?.attempts ?? 0) + 1;
  if (failure === undefined && target.rank === 0) return;
  const { metrics } = gateway;
  const model = turn.model ?? "other";
  if (failure !== undefined) metrics.retries.inc({ model, reason: failureReason(failure.result) });
  if (failure?.target !== target)
    metrics.fallbacks.inc({
      model,
      deployment: target.deployment.name,
      reason: failure === undefined ? "unavailable" : "failed",
    });
}

interface Trial {
  readonly call: ModelCall;
  readonly deployment: GatewayDeployment;
  readonly target: Target;
  /** Belongs to what its deployment is judged by. */
  readonly epoch: number;
}

function tryDeployment(gateway: Gateway, turn: Turn, trial: Trial): Promise<TrialResult> | TrialResult {
  const { call, deployment } = trial;
  const credential = gateway.credentials.headerFor(deployment);
  if (!credential.ok) {
    const result = { kind: "no_credential", reason: credential.reason } as const;
    noteFailure(gateway, turn, { deployment, result });
    return result;
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
    firstByteTimeoutMs: firstByteTimeoutOf(gateway, call),
    idleTimeoutMs: gateway.timeouts.idleMs,
    clock: gateway.clock,
    accept: (head, flow) => acceptAnswer(gateway, turn, { trial, head, flow, usageInjected: body.usageInjected }),
    onStalled: () => turn.response.destroy(),
  });
  return outcomeOf(gateway, turn, { attempt, deployment, span });
}

function firstByteTimeoutOf({ timeouts }: Gateway, { route, request }: ModelCall): number {
  return route.firstByteTimeoutMs ?? (request.stream ? timeouts.streamFirstByteMs : timeouts.jsonFirstByteMs);
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
  if (turn.answering !== undefined) {
    turn.cutter.onCut(turn.answering.cut);
    await turn.answering.ended;
  }
  turn.cutter.onCut(undefined);
  turn.waitedMs += gateway.clock.monotonic() - turn.sentMs;
  if (running.span) closeAttempt(running.span, outcome, gateway.clock.monotonic());
  if (outcome.kind === "cut") throw cutRefusal();
  if (outcome.kind !== "answered") noteFailure(gateway, turn, { deployment: running.deployment, result: outcome });
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
  gateway.deployments.judge(trial.target, trial.epoch, BEGUN);
  const common = {
    turn,
    head,
    flow,
    clock: gateway.clock,
    headers: () => answerHeaders(gateway, turn, head),
    settle: settleModel(gateway, turn, { call: trial.call, status: head.status }),
    rejectsUnfiltered: trial.call.snapshot.contentFilter?.failureMode === "Closed",
  };
  const check = outputCheck(gateway, turn, trial.call);
  if (!isEventStream(head)) return check === undefined ? createJsonSink(common) : createGuardedJsonSink(common, check);
  const shape = trial.call.operation === "responses" ? "responses" : "chat";
  const watch = createStreamWatch({ dropsUsageChunk: options.usageInjected, deltas: shape });
  const guard = check && createStreamGuard(check);
  return createEventSink({ ...common, shape, watch, guard });
}

function noteFailure(
  gateway: Gateway,
  turn: Turn,
  failure: { readonly deployment: GatewayDeployment; readonly result: Failure["result"] },
): void {
  gateway.metrics.upstreamErrors.inc({
    model: turn.model ?? "other",
    deployment: failure.deployment.name,
    reason: failureReason(failure.result),
  });
}
