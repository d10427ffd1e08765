import type { Server } from "node:http";
import type { Duplex } from "node:stream";
import { toErrorBody } from "#core/errors.ts";
import type { Clock } from "#runtime/clock.ts";

/** Time for the answer to be read; then the connection is closed even if its client never closes its own side. */
const LINGER_MS = 2_000;

/** What cannot even be parsed as HTTP gets an answer in the same shape as everything else. */
export function answerClientErrors(server: Server, clock: Clock): void {
  server.on("clientError", (error, socket) => {
    if (!socket.writable || isReset(error)) {
      socket.destroy();
      return;
    }
    const { status, body } = answerOf(error);
    endWith(socket, status, body);
    const cancel = clock.after(LINGER_MS, () => socket.destroy());
    socket.once("close", cancel);
  });
}

function endWith(socket: Duplex, status: string, body: string): void {
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
  );
}

function answerOf(error: Error): { status: string; body: string } {
  const code = "code" in error ? error.code : "";
  if (code === "HPE_HEADER_OVERFLOW")
    return {
      status: "431 Request Header Fields Too Large",
      body: JSON.stringify(
        toErrorBody("request_too_large", "Cannot read the request as its headers must be at most 32 KiB"),
      ),
    };
  if (code === "ERR_HTTP_REQUEST_TIMEOUT")
    return {
      status: "408 Request Timeout",
      body: JSON.stringify(toErrorBody("request_timeout", "Cannot read the request as it did not arrive in time")),
    };
  return {
    status: "400 Bad Request",
    body: JSON.stringify(toErrorBody("invalid_value", "Cannot read the request as it must be HTTP/1.1")),
  };
}

function isReset(error: Error): boolean {
  return "code" in error && error.code === "ECONNRESET";
}
