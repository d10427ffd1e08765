import type { IncomingMessage, ServerResponse } from "node:http";
import { Refusal } from "#core/errors.ts";
import type { Clock } from "#runtime/clock.ts";
import { toAnswer } from "./refuse.ts";

/** Reads a JSON body of at most `limitBytes`. Throws Refusal 413 (by `content-length` before a byte is read) or 415. */
export async function receiveBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  checkMediaType(request);
  const announced = Number(request.headers["content-length"] ?? 0);
  if (announced > limitBytes) throw tooLarge(limitBytes, announced);
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let isDone = false;
    const stop = (error: Error): void => {
      isDone = true;
      request.off("data", onData);
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > limitBytes) stop(tooLarge(limitBytes, size));
      else chunks.push(chunk);
    };
    const onEnd = (): void => {
      isDone = true;
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size));
    };
    const onClose = (): void => {
      if (!isDone) stop(new Refusal("request_timeout", "Cannot read the request body as it was cut off"));
    };
    // None is taken off again: they end with the request, and each way off costs as much as reading a small body.
    request.on("data", onData).on("end", onEnd).on("error", stop).on("close", onClose);
  });
}

/** How much of a refused body is read and dropped, and for how long, so that the client can read the answer. */
const DROPPED_BYTES_MAX = 64 * 1024 * 1024;
const DROPPING_MS_MAX = 10_000;

/**
 * Answers before the body has arrived. Node would close the socket under a client that still sends, which then sees a reset and
 * no answer: the whole answer goes out, then a bounded amount of the body is read and dropped, and only then it ends.
 */
export function refuseUnreadBody(
  turn: { readonly request: IncomingMessage; readonly response: ServerResponse; readonly requestId: string },
  refusal: Refusal,
  clock: Clock,
): void {
  const { request, response } = turn;
  const answer = toAnswer(refusal, turn.requestId);
  response.writeHead(answer.status, { ...answer.headers, connection: "close" });
  response.write(answer.body);
  let dropped = 0;
  const end = (): void => {
    cancel();
    request.off("data", onData);
    response.end();
  };
  const cancel = clock.after(DROPPING_MS_MAX, end);
  const onData = (chunk: Buffer): void => {
    dropped += chunk.length;
    if (dropped > DROPPED_BYTES_MAX) end();
  };
  request.on("data", onData).once("end", end).once("error", end).once("close", end);
  request.resume();
}

function checkMediaType(request: IncomingMessage): void {
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity")
    throw new Refusal(
      "unsupported_media_type",
      `Cannot read the request body as content-encoding must be absent or identity: current value is ${shorten(encoding)}`,
    );
  const type = request.headers["content-type"] ?? "application/json";
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new Refusal(
      "unsupported_media_type",
      `Cannot read the request body as content-type must be application/json: current value is ${shorten(type)}`,
    );
}

function tooLarge(limitBytes: number, bytes: number): Refusal {
  return new Refusal(
    "request_too_large",
    `Cannot accept the request body as it must be at most ${limitBytes} bytes: current size is ${bytes} or more`,
  );
}

function shorten(text: string): string {
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
}
