import type { Dispatcher } from "undici";
import type { Clock } from "#runtime/clock.ts";
import { backoffDelayMs } from "#runtime/retry.ts";
import type { CredentialHeader } from "../upstream/credentials.ts";
import { retryAfterMs } from "../upstream/retry-after.ts";
import type { CheckFailure } from "./check.ts";

/** One resource of Azure AI Content Safety. */
export interface ContentSafety {
  readonly dispatcher: Pick<Dispatcher, "request">;
  /** What stands before `/contentsafety`, without a final slash. */
  readonly basePath: string;
  readonly credential: () => CredentialHeader;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** The most time and the signal that one check has for all its calls. */
export interface CheckTime {
  /** Monotonic milliseconds. */
  readonly deadlineMs: number;
  /** Aborted at the deadline, when the request is cut, or when another call has decided. */
  readonly signal: AbortSignal;
  /** Which of the three it was. */
  readonly stoppedBy: () => "timeout" | "cut";
}

export type Operation = "shieldPrompt" | "analyze";

export type CallResult =
  | { readonly ok: true; readonly answer: unknown }
  | { readonly ok: false; readonly reason: CheckFailure };

const API_VERSION = "2024-09-01";
const ANSWER_BYTES_MAX = 64 * 1024;
const ATTEMPTS_MAX = 3;
const BACKOFF = { delayMinMs: 50, delayMaxMs: 1_000 };

/** Asks, and asks again while the service is busy or away and time is left. Nothing of body or answer is kept or told. */
export async function callContentSafety(
  service: ContentSafety,
  call: { readonly operation: Operation; readonly body: unknown },
  time: CheckTime,
): Promise<CallResult> {
  const body = JSON.stringify(call.body);
  const path = `${service.basePath}/contentsafety/text:${call.operation}?api-version=${API_VERSION}`;
  for (let attempt = 0; ; attempt += 1) {
    const credential = service.credential();
    if (!credential.ok) return { ok: false, reason: "credential" };
    const result = await attemptOnce(service, { path, body, headers: credential.headers }, time);
    if (result.ok || result.waitMs === undefined || attempt + 1 >= ATTEMPTS_MAX) return result;
    const waitMs = Math.max(result.waitMs, backoffDelayMs(attempt, BACKOFF, service.random));
    // What cannot come in time is not waited for: the client gets its answer sooner.
    if (service.clock.monotonic() + waitMs >= time.deadlineMs) return result;
    if (!(await isWaited(service.clock, waitMs, time.signal))) return { ok: false, reason: time.stoppedBy() };
  }
}

type AttemptResult =
  | { readonly ok: true; readonly answer: unknown }
  /** `waitMs`: another attempt may help, not before that. */
  | { readonly ok: false; readonly reason: CheckFailure; readonly waitMs?: number };

async function attemptOnce(
  service: ContentSafety,
  request: { readonly path: string; readonly body: string; readonly headers: Readonly<Record<string, string>> },
  time: CheckTime,
): Promise<AttemptResult> {
  try {
    const { statusCode, headers, body } = await service.dispatcher.request({
      method: "POST",
      path: request.path,
      headers: { "content-type": "application/json", accept: "application/json", ...request.headers },
      body: request.body,
      signal: time.signal,
      // The deadline is the signal's.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    if (statusCode === 200) return await readAnswer(body);
    await body.dump({ limit: ANSWER_BYTES_MAX, signal: time.signal });
    return toFailure(statusCode, retryAfterMs(headers, service.clock.now()));
  } catch {
    return time.signal.aborted
      ? { ok: false, reason: time.stoppedBy() }
      : { ok: false, reason: "unreachable", waitMs: 0 };
  }
}

async function readAnswer(body: Dispatcher.ResponseData["body"]): Promise<AttemptResult> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    if (bytes > ANSWER_BYTES_MAX) return { ok: false, reason: "unreadable_answer" };
    chunks.push(piece);
  }
  try {
    return { ok: true, answer: JSON.parse(Buffer.concat(chunks).toString("utf8")) };
  } catch {
    return { ok: false, reason: "unreadable_answer" };
  }
}

function toFailure(status: number, askedMs: number | undefined): AttemptResult {
  if (status === 429) return { ok: false, reason: "throttled", waitMs: askedMs ?? 0 };
  if (status === 408 || status >= 500) return { ok: false, reason: "server_error", waitMs: askedMs ?? 0 };
  if (status === 401 || status === 403) return { ok: false, reason: "credential" };
  return { ok: false, reason: "refused" };
}

async function isWaited(clock: Clock, waitMs: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(waitMs, signal);
    return true;
  } catch {
    return false;
  }
}
