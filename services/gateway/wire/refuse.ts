import type { ServerResponse } from "node:http";
import { type ErrorCode, errorEntry, errorHeaders, Refusal, toErrorBody } from "#core/errors.ts";

/** What a thrown thing means to the client; anything unexpected is hidden behind `internal_error`. */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal("internal_error", "Cannot answer the request because of an internal error", { cause: error });
}

/** An answer ready to be written: the status, headers and body of a refusal. */
export interface RefusalAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

/** The refusal in OpenAI's shape, with what tells a client whether to come back. */
export function toAnswer(refusal: Refusal, requestId: string): RefusalAnswer {
  const body = Buffer.from(JSON.stringify(toErrorBody(refusal.code, refusal.message, refusal.param)));
  return {
    status: errorEntry(refusal.code).status,
    headers: {
      "content-type": "application/json; charset=utf-8",
      "content-length": String(body.length),
      "x-request-id": requestId,
      ...errorHeaders(refusal.code, refusal),
    },
    body,
  };
}

/** Writes a whole refusal; does nothing when an answer has begun or the client has left. */
export function writeRefusal(response: ServerResponse, refusal: Refusal, headers: Record<string, string>): void {
  if (response.headersSent || response.destroyed) return;
  const answer = toAnswer(refusal, headers["x-request-id"] ?? "");
  response.writeHead(answer.status, { ...answer.headers, ...headers });
  response.end(answer.body);
}

/** Events that tell a client of a stream that it was cut: the `openai` SDK throws on either. */
export function interruptedEvents(shape: "chat" | "responses", code: ErrorCode, facts: ResponseFacts): Buffer {
  const message = "Cannot finish the stream as it was interrupted";
  if (shape === "chat") return Buffer.from(`data: ${JSON.stringify(toErrorBody(code, message))}\n\n`);
  const error = { type: "error", code, message, param: null, sequence_number: facts.sequenceNumber + 1 };
  const failed = {
    type: "response.failed",
    sequence_number: facts.sequenceNumber + 2,
    response: { ...facts.response, status: "failed", error: { code, message } },
  };
  return Buffer.from(
    `event: error\ndata: ${JSON.stringify(error)}\n\nevent: response.failed\ndata: ${JSON.stringify(failed)}\n\n`,
  );
}

/** What the stream had told of itself before it was cut. */
export interface ResponseFacts {
  readonly sequenceNumber: number;
  readonly response: Readonly<Record<string, unknown>>;
}
