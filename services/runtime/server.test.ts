import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "./clock.ts";
import { type RunningServer, startServer } from "./server.ts";

let running: RunningServer | undefined;
afterEach(() => running?.stop(0));

function countConnections(): Promise<number> {
  return new Promise((resolve) => running?.server.getConnections((_, count) => resolve(count)));
}

describe("startServer()", () => {
  it("closes a connection whose client takes nothing of its answer", async () => {
    const body = Buffer.alloc(32 * 1024 * 1024);
    running = await startServer({
      handler: (_, response) => response.end(body),
      port: 0,
      host: "127.0.0.1",
      silentMs: 200,
      clock: systemClock,
    });
    const socket = connect(running.port, "127.0.0.1").on("error", () => {});
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await expect.poll(countConnections, { timeout: 2_000 }).toBe(1);
    await expect.poll(countConnections, { timeout: 3_000 }).toBe(0);
    socket.destroy();
  });

  it("holds so many connections and no more, and closes those that ask nothing to make room for one that does", async () => {
    running = await startServer({
      handler: (_, response) => response.end("x"),
      port: 0,
      host: "127.0.0.1",
      connectionsMax: 3,
      clock: systemClock,
    });
    const { url, port } = running;
    const idle = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}));
    await expect.poll(countConnections).toBeLessThanOrEqual(3);
    const ask = (): Promise<string> => fetch(url).then((answer) => answer.text(), String);
    await expect.poll(ask).toBe("x");
    for (const socket of idle) socket.destroy();
  });
});
