import { Refusal } from "#core/errors.ts";
import { backoffDelayMs } from "#runtime/retry.ts";
import type { Gateway } from "../gateway.ts";
import type { CutSide, Turn } from "../turn.ts";
import type { AnswerHead, AttemptOutcome } from "../upstream/attempt.ts";
import { unusable } from "../upstream/pass.ts";
import { retryAfterMs } from "../upstream/retry-after.ts";
import { NO_VERDICT, type Verdict } from "./breaker.ts";
import { type Outlook, outlookOf, type Target, type TargetGroups } from "./choose.ts";

/** What came of one attempt at a deployment. */
export type TrialResult =
  | Exclude<AttemptOutcome, { kind: "cut" }>
  | { readonly kind: "no_credential"; readonly reason: string };

type Failed = Exclude<TrialResult, { kind: "answered" }>;

/** What a request knows of its attempts so far, all of which have failed. */
export interface Failure {
  readonly attempts: number;
  /** Those that need not be asked again before all others. */
  readonly tried: ReadonlySet<Target>;
  readonly target: Target;
  readonly result: Failed;
  /** How long the newest one wants to be left alone, or a wait by chance where it did not say. */
  readonly delayMs: number;
  readonly isDelayAsked: boolean;
  /** The shortest wait that a deployment asked for; infinite for none. */
  readonly askedMs: number;
}

export const ATTEMPTS_MAX = 3;
/** Before the first attempt, and before each other one. */
const WAITS_MAX = ATTEMPTS_MAX;
const BACKOFF = { delayMinMs: 500, delayMaxMs: 8_000 };
const RETRIABLE_STATUS: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** Whether an answer is the deployment's fault, and not what the client should see: also one that is none, or a redirect. */
export function isRetriable(status: number): boolean {
  return status < 400 || RETRIABLE_STATUS.has(status);
}

/** One failure more. */
export function toFailure(
  gateway: Pick<Gateway, "clock" | "random">,
  {
    target,
    result,
    before,
  }: { readonly target: Target; readonly result: Failed; readonly before: Failure | undefined },
): Failure {
  const attempts = (before?.attempts ?? 0) + 1;
  const askedMs = result.kind === "declined" ? retryAfterMs(result.head.headers, gateway.clock.now()) : undefined;
  return {
    attempts,
    tried: new Set([...(before?.tried ?? []), target]),
    target,
    result,
    isDelayAsked: askedMs !== undefined,
    delayMs: askedMs ?? backoffDelayMs(attempts - 1, BACKOFF, gateway.random),
    askedMs: Math.min(before?.askedMs ?? Number.POSITIVE_INFINITY, askedMs ?? Number.POSITIVE_INFINITY),
  };
}

/** What a failure says of its deployment. */
export function toVerdict({ result, delayMs, isDelayAsked }: Failure): Verdict {
  switch (result.kind) {
    case "no_credential":
      return NO_VERDICT;
    case "failed":
      return FAULT;
    case "declined": {
      const { status } = result.head;
      if (status === 429) return { kind: "pause", waitMs: delayMs, isRateLimit: true };
      if (status === 503 && isDelayAsked) return { kind: "pause", waitMs: delayMs, isRateLimit: false };
      return FAULT;
    }
  }
}

/** What an answer that reached the client says of it, whole or cut. */
export function verdictOfAnswer(cutBy: CutSide | undefined): Verdict {
  if (cutBy === undefined) return WHOLE;
  return cutBy === "upstream" ? FAULT : NO_VERDICT;
}

/** What an answer that a client should see says of it: an error of ours, or of our identity, is no fault of its own. */
export function verdictOfStatus(status: number): Verdict {
  return status >= 500 ? FAULT : WHOLE;
}

const WHOLE: Verdict = { kind: "whole" };
const FAULT: Verdict = { kind: "fault" };

/**
 * Waits until a deployment may be asked. Throws the answer for the client when there is none to wait for, or not for so long, and
 * when the request is cut meanwhile.
 */
export async function waitForTarget(
  gateway: Gateway,
  turn: Turn,
  options: { readonly groups: TargetGroups; readonly failure: Failure | undefined; readonly waits: number },
): Promise<void> {
  const { failure, waits } = options;
  const { clock, timeouts } = gateway;
  const againMs = failure?.delayMs ?? 0;
  const outlook = outlookOf(options.groups, { nowMs: clock.monotonic(), againMs });
  const { waitMs } = outlook;
  const mayWait = waits <= WAITS_MAX && (failure === undefined || isRepeatable(failure.result));
  if (!mayWait || waitMs === undefined || waitMs > timeouts.retryWaitMaxMs)
    throw failure === undefined ? noneAvailable(outlook) : toFinalRefusal(failure, outlook);
  // A timer may fire a part of a millisecond early.
  await sleepUnlessCut(gateway, turn, Math.ceil(waitMs) + 1);
}

/** Whether the same deployment may be asked again. */
function isRepeatable(result: Failed): boolean {
  switch (result.kind) {
    // A credential that is not there comes with time, not with a second look.
    case "no_credential":
      return false;
    // Who waited for minutes will not wait again; everything else here came quickly.
    case "failed":
      return result.reason !== "timeout";
    case "declined":
      return result.head.status >= 400;
  }
}

function noneAvailable({ shortestMs, isRateLimited }: Outlook): Refusal {
  if (isRateLimited) return rateLimited(shortestMs);
  return new Refusal("upstream_unavailable", "Cannot call the model as none of its deployments works at the moment", {
    retryAfterMs: shortestMs,
  });
}

/** What the client gets when the newest failure was the last one. */
export function toFinalRefusal({ result, askedMs }: Failure, outlook?: Outlook): Refusal {
  // Where all are open it is known when the next may be asked.
  const wait = outlook?.waitMs === undefined && outlook ? { retryAfterMs: outlook.shortestMs } : {};
  switch (result.kind) {
    case "no_credential":
      return new Refusal("upstream_refused_credential", "Cannot call the model as our credential for it is not there", {
        cause: new Error(result.reason),
      });
    case "failed":
      if (result.reason === "timeout")
        return new Refusal("upstream_timeout", "Cannot get an answer of the model as none began in time", wait);
      return new Refusal("upstream_error", "Cannot get an answer of the model as it cannot be reached or broke off", {
        cause: result.error,
        ...wait,
      });
    case "declined":
      return declinedRefusal(result.head, { askedMs, wait });
  }
}

function declinedRefusal(
  head: AnswerHead,
  { askedMs, wait }: { readonly askedMs: number; readonly wait: { readonly retryAfterMs?: number } },
): Refusal {
  if (head.status === 429) return rateLimited(Number.isFinite(askedMs) ? askedMs : RATE_LIMIT_WAIT_MS);
  if (head.status < 400) return unusable(head);
  return new Refusal("upstream_error", `Cannot get an answer of the model as it answered ${head.status}`, wait);
}

const RATE_LIMIT_WAIT_MS = 10_000;

function rateLimited(retryAfterMs: number): Refusal {
  return new Refusal("rate_limit_exceeded", "Cannot get an answer of the model as its rate limit is reached", {
    retryAfterMs,
  });
}

/** The answer for a request that is cut. */
export function cutRefusal(): Refusal {
  return new Refusal("draining", "Cannot finish the request as the pod is being replaced");
}

/** Waits before another attempt; throws when the request is cut meanwhile. */
async function sleepUnlessCut(gateway: Gateway, turn: Turn, delayMs: number): Promise<void> {
  const stop = new AbortController();
  turn.cutter.onCut(() => stop.abort());
  const startMs = gateway.clock.monotonic();
  try {
    await gateway.clock.sleep(delayMs, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    turn.cutter.onCut(undefined);
    turn.waitedMs += gateway.clock.monotonic() - startMs;
  }
  if (stop.signal.aborted) throw cutRefusal();
}

/** A closed set, for labels: why an attempt failed. */
export function failureReason(result: Failed): string {
  switch (result.kind) {
    case "no_credential":
      return "credential";
    case "failed":
      return result.reason;
    case "declined":
      return statusReason(result.head);
  }
}

function statusReason({ status }: AnswerHead): string {
  if (status === 401) return "401";
  if (status === 403) return "403";
  if (status === 408) return "408";
  if (status === 429) return "429";
  if (status >= 500) return "5xx";
  return status >= 400 ? "4xx" : "unusable";
}
