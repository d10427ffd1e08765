import { Refusal } from "#core/errors.ts";
import type { AnswerHead, AttemptOutcome } from "./attempt.ts";
import { auditTurn } from "../telemetry/audit.ts";
import type { Gateway } from "../gateway.ts";
import type { Turn } from "../turn.ts";
import { errorCodeIn } from "../wire/answer-facts.ts";

/** What a client may see of an upstream's headers; everything else is the upstream's own business. */
const PASSED_HEADERS = [
  "content-type",
  // Of errors alone: an answer that is encoded although we asked for none is not accepted.
  "content-encoding",
  "cache-control",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "openai-processing-ms",
  "openai-version",
  "x-ms-region",
  "apim-request-id",
];

/** The headers of an answer: the passed ones, the request id, and our own time so far in microseconds. */
export function answerHeaders(gateway: Gateway, turn: Turn, head: AnswerHead): Record<string, string> {
  const headers: Record<string, string> = { "x-request-id": turn.requestId, ...turn.rateHeaders };
  for (const name of PASSED_HEADERS) {
    const value = head.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  const overheadMs = gateway.clock.monotonic() - turn.startMs - turn.waitedMs;
  headers["x-supercargo-overhead-us"] = String(Math.max(0, Math.round(overheadMs * 1000)));
  return headers;
}

/**
 * Whether an answer can be passed on and counted: a success that is not compressed, since usage is read in its bytes, and no page
 * of a proxy for people.
 */
export function isUsable({ status, headers }: AnswerHead): boolean {
  if (status < 200 || status > 299 || (headers["content-encoding"] ?? "identity") !== "identity") return false;
  const type = headers["content-type"];
  return type === undefined || /json|event-stream/i.test(type);
}

/** The answer to a client when an upstream's own cannot be used, or is a redirect, which nobody follows. */
export function unusable({ status, headers }: AnswerHead): Refusal {
  const encoding = (headers["content-encoding"] ?? "none").slice(0, 32);
  const type = (headers["content-type"] ?? "none").slice(0, 64);
  const allowed = "its status must be 2xx, its content-encoding absent and its content-type JSON or an event stream";
  return new Refusal(
    "upstream_error",
    `Cannot use the upstream's answer as ${allowed}: current value is ${status}, ${encoding}, ${type}`,
  );
}

export function isEventStream(head: AnswerHead): boolean {
  const type = head.headers["content-type"];
  return typeof type === "string" && /^text\/event-stream/i.test(type);
}

/**
 * Passes an upstream's own 4xx on as it came. Its 401 is about our identity, not the client's, and so is its 403 unless
 * `passesForbidden`; a redirect is followed by nobody. Those are refusals of ours.
 */
export function passDeclined(
  gateway: Gateway,
  turn: Turn,
  declined: Extract<AttemptOutcome, { kind: "declined" }> & { readonly passesForbidden?: boolean },
): void {
  const { head, body } = declined;
  if (head.status === 401 || (head.status === 403 && !declined.passesForbidden))
    throw new Refusal(
      "upstream_refused_credential",
      `Cannot call the upstream as it refused our credential with ${head.status}`,
    );
  if (head.status < 400) throw unusable(head);
  turn.response.writeHead(head.status, {
    ...answerHeaders(gateway, turn, head),
    "content-length": String(body.length),
  });
  const code = errorCodeIn(body);
  if (code !== undefined) turn.outcome.code = code;
  auditTurn(gateway, turn, { status: head.status });
  turn.response.end(body);
}
