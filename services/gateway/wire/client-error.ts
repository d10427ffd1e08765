import { randomUUID } from "node:crypto";
import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { errorHeaders, Refusal, toErrorBody } from "#core/errors.ts";
import type { Clock } from "#runtime/clock.ts";

/** A request of which not even the head could be read. */
export interface UnreadRequest {
  readonly requestId: string;
  readonly status: number;
  readonly refusal: Refusal;
}

export interface ClientErrorOptions {
  readonly clock: Clock;
  /** Writes it down, before it is answered. */
  readonly note: (unread: UnreadRequest) => void;
}

/** Time for the answer to be read; then the connection is closed even if its client never closes its own side. */
const LINGER_MS = 2_000;

/** What cannot even be parsed as HTTP gets an answer in the same shape as everything else, and is written down like everything else. */
export function answerClientErrors(server: Server, { clock, note }: ClientErrorOptions): void {
  server.on("clientError", (error, socket) => {
    if (!socket.writable || isReset(error)) {
      socket.destroy();
      return;
    }
    const unread = { requestId: randomUUID(), ...judge(error) };
    const response = responseOn(socket);
    if (response === undefined) {
      note(unread);
      endWith(socket, unread);
    } else {
      // Head and body may come in one packet: the steps before the body are then taken first.
      setImmediate(() => {
        if (!refuseBody(response, unread.refusal)) socket.destroy();
      });
    }
    const cancel = clock.after(LINGER_MS, () => socket.destroy());
    socket.once("close", cancel);
  });
}

/** The answer that a connection is busy with, where Node's own handler of this event looks for it. */
function responseOn(socket: Duplex): ServerResponse<IncomingMessage> | undefined {
  const message: unknown = Reflect.get(socket, "_httpMessage");
  return message instanceof ServerResponse ? message : undefined;
}

/**
 * The request is known and its body is read: it ends as its own steps end it. False where nobody reads, and where an answer is on its way:
 * whatever was written here would stand in its middle.
 */
function refuseBody({ req, headersSent }: ServerResponse<IncomingMessage>, refusal: Refusal): boolean {
  return !headersSent && req.listenerCount("error") > 0 && req.emit("error", refusal);
}

function endWith(socket: Duplex, { requestId, status, refusal }: UnreadRequest): void {
  const body = JSON.stringify(toErrorBody(refusal.code, refusal.message));
  const more = Object.entries(errorHeaders(refusal.code)).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${status} ${PHRASES[status]}\r\ncontent-type: application/json; charset=utf-8\r\nx-request-id: ${requestId}\r\n${more.join("")}` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

const PHRASES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};

function judge(error: Error): Pick<UnreadRequest, "status" | "refusal"> {
  const code = "code" in error ? error.code : "";
  if (code === "HPE_HEADER_OVERFLOW") {
    const message = "Cannot read the request as its headers must be at most 32 KiB";
    return { status: 431, refusal: new Refusal("request_too_large", message) };
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    const message = "Cannot read the request as it did not arrive in time";
    return { status: 408, refusal: new Refusal("request_timeout", message) };
  }
  return { status: 400, refusal: new Refusal("invalid_value", "Cannot read the request as it must be HTTP/1.1") };
}

function isReset(error: Error): boolean {
  return "code" in error && error.code === "ECONNRESET";
}
