import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { answerClientErrors } from "./client-error.ts";

let server: Server | undefined;
afterEach(() => {
  server?.close().closeAllConnections();
});

async function listen(): Promise<number> {
  const started = createServer({ connectionsCheckingInterval: 50 }, (_, response) => response.end());
  server = started;
  started.headersTimeout = 100;
  started.requestTimeout = 100;
  // Two seconds are ten milliseconds here.
  const clock = { ...systemClock, after: (ms: number, run: () => void) => systemClock.after(ms / 200, run) };
  answerClientErrors(started, clock);
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  const address = started.address();
  return typeof address === "object" && address ? address.port : 0;
}

describe("answerClientErrors()", () => {
  it.each([
    ["no HTTP", "GARBAGE\r\n\r\n", "400 Bad Request"],
    ["a request that does not arrive", "POST / HTTP/1.1\r\nhost: x\r\n", "408 Request Timeout"],
  ])("answers %s, and closes under a client that keeps its side open", async (_, text, status) => {
    const port = await listen();
    let answer = "";
    // A server that only ends its own side would hold this connection for as long as the client likes.
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => {}).on("data", (chunk: Buffer) => (answer += chunk.toString()));
    socket.write(text);
    await new Promise((resolve) => socket.once("end", resolve));
    expect(answer).toContain(`HTTP/1.1 ${status}`);
    await expect.poll(() => countConnections(), { timeout: 1_000 }).toBe(0);
    socket.destroy();
  });
});

function countConnections(): Promise<number> {
  return new Promise((resolve) => server?.getConnections((_, count) => resolve(count)));
}
