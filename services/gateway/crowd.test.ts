import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, eventually, type GatewayWorld, startGatewayWorld } from "./test-world.ts";

let world: GatewayWorld;
beforeAll(async () => {
  world = await startGatewayWorld({ modelUrl: "http://127.0.0.1:9" });
});
afterAll(() => world?.stop());

/** More than the requests that may be in flight at once. */
const STRANGERS = 520;

describe("a crowd of strangers", () => {
  it("that sends bodies without end keeps nobody out", async () => {
    const { port } = new URL(world.gateway.url);
    const head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let answers = 0;
    const sockets = Array.from({ length: STRANGERS }, () =>
      connect(Number(port), "127.0.0.1", function (this: ReturnType<typeof connect>) {
        this.write(head);
      })
        .once("data", () => (answers += 1))
        .on("error", () => {}),
    );
    try {
      await eventually(() => (answers === STRANGERS ? true : undefined));
      const answer = await fetch(`${world.gateway.url}/v1/models`, { headers: { "api-key": API_KEY } });
      expect(answer.status).toBe(200);
      expect(await world.gateway.metrics()).toContain(`supercargo_gateway_in_flight_requests ${STRANGERS}`);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
});
