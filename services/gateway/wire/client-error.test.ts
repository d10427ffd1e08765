import { createServer, type RequestListener, type Server } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { receiveBody, refuseUnreadBody } from "./body.ts";
import { answerClientErrors, type UnreadRequest } from "./client-error.ts";
import { toRefusal } from "./refuse.ts";

let server: Server | undefined;
const noted: UnreadRequest[] = [];
afterEach(() => {
  server?.close().closeAllConnections();
  noted.length = 0;
});

async function listen(handler: RequestListener): Promise<number> {
  const started = createServer({ connectionsCheckingInterval: 50 }, handler);
  server = started;
  started.headersTimeout = 100;
  started.requestTimeout = 100;
  // Two seconds are ten milliseconds here.
  const clock = { ...systemClock, after: (ms: number, run: () => void) => systemClock.after(ms / 200, run) };
  answerClientErrors(started, { clock, note: (unread) => noted.push(unread) });
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  const address = started.address();
  return typeof address === "object" && address ? address.port : 0;
}

/** What comes back to a text, until the other side ends. */
async function tell(port: number, ...texts: string[]): Promise<string> {
  let answer = "";
  // A server that only ends its own side would hold this connection for as long as the client likes.
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const ended = new Promise((resolve) => socket.once("close", resolve).once("end", resolve));
  socket.on("error", () => {}).on("data", (chunk: Buffer) => (answer += chunk.toString()));
  for (const text of texts) {
    socket.write(text);
    await new Promise((resolve) => systemClock.after(20, () => resolve(undefined)));
  }
  await ended;
  await expect.poll(() => countConnections(), { timeout: 1_000 }).toBe(0);
  socket.destroy();
  return answer;
}

describe("answerClientErrors()", () => {
  it.each([
    ["no HTTP", "GARBAGE\r\n\r\n", "400 Bad Request", "invalid_value"],
    ["a request that does not arrive", "POST / HTTP/1.1\r\nhost: x\r\n", "408 Request Timeout", "request_timeout"],
    [
      "headers without end",
      `GET / HTTP/1.1\r\na: ${"x".repeat(20_000)}\r\n`,
      "431 Request Header Fields Too Large",
      "request_too_large",
    ],
  ])("answers %s, notes it once, and closes under a client that keeps its side open", async (...row) => {
    const [, text, status, code] = row;
    const answer = await tell(await listen((_, response) => response.end()), text);
    expect(answer).toContain(`HTTP/1.1 ${status}`);
    expect(noted).toMatchObject([{ status: Number(status.slice(0, 3)), refusal: { code } }]);
    expect(answer).toContain(`x-request-id: ${noted[0]?.requestId}\r\n`);
  });

  const HEAD = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
  it.each([
    ["that is no chunk", ["ZZ\r\n"], "invalid_value"],
    ["that does not arrive", ["5\r\nab"], "request_timeout"],
  ])("leaves a body %s to its request", async (_, texts, code) => {
    const refused: string[] = [];
    const port = await listen((request, response) => {
      void receiveBody(request, 100).catch((error: unknown) => {
        const refusal = toRefusal(error);
        refused.push(refusal.code);
        refuseUnreadBody({ request, response, requestId: "mine" }, refusal, systemClock);
      });
    });
    const answer = await tell(port, HEAD, ...texts);
    expect([refused, noted]).toEqual([[code], []]);
    expect(answer).toContain("x-request-id: mine\r\n");
    expect(answer.match(/HTTP\/1.1 \d/g)).toHaveLength(1);
  });

  it("writes nothing into the middle of an answer", async () => {
    const port = await listen((_, response) => void response.write("first"));
    const answer = await tell(port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "GARBAGE\r\n\r\n");
    expect(answer).toMatch(/first\r\n$/);
    expect(noted).toEqual([]);
  });
});

function countConnections(): Promise<number> {
  return new Promise((resolve) => server?.getConnections((_, count) => resolve(count)));
}
