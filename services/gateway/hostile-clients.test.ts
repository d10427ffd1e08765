import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, chat, eventually, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "./test-world.ts";

let model: Peer;
let world: GatewayWorld;
/** Answers that wait until the test lets them go. */
const held: (() => void)[] = [];
let holds = false;

beforeAll(async () => {
  model = await startPeer((_, response) => {
    const answer = (): void => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}');
    };
    if (holds) held.push(answer);
    else answer();
  });
  world = await startGatewayWorld({ modelUrl: model.url });
});
afterAll(async () => {
  await world?.stop();
  await model?.stop();
});

const BODY = JSON.stringify(chat("x"));
const POST = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${API_KEY}\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;

/** A connection, and all that it has heard. */
function open(): { socket: Socket; text: () => string; statuses: () => string[] } {
  let heard = "";
  const socket = connect({ port: Number(new URL(world.gateway.url).port), host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {}).on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
  return {
    socket,
    text: () => heard,
    statuses: () => [...heard.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1] ?? ""),
  };
}

const isAtRest = async (): Promise<true | undefined> =>
  (await world.gateway.metrics()).includes("supercargo_gateway_in_flight_requests 0\n") ? true : undefined;

describe("a client that sends requests without waiting for answers", () => {
  it("gets them in order, each counted once", async () => {
    const { socket, statuses, text } = open();
    const added = await world.counted(async () => {
      for (let count = 0; count < 40; count += 1)
        socket.write(POST.replace("host: x", `host: x\r\nx-request-id: pipelined-${count}`));
      await eventually(() => (statuses().length === 40 ? true : undefined));
    });
    expect(new Set(statuses())).toEqual(new Set(["200"]));
    const ids = [...text().matchAll(/x-request-id: pipelined-(\d+)/g)].map((match) => Number(match[1]));
    expect(ids).toEqual(Array.from({ length: 40 }, (_, count) => count));
    expect(added["model_requests"]).toBe(40);
    socket.destroy();
  });

  it("has no more of them under way than any other client, and leaves nothing behind when it goes", async () => {
    holds = true;
    const { socket } = open();
    socket.write(POST.repeat(700));
    await eventually(() => (held.length > 0 ? true : undefined));
    const other = await fetch(`${world.gateway.url}/v1/models`, { headers: { "api-key": API_KEY } });
    expect([200, 503]).toContain(other.status);
    expect(held.length).toBeLessThanOrEqual(512);
    socket.destroy();
    holds = false;
    // Node reads no more of a connection whose answers pile up: that it is gone shows at the first of them.
    for (const answer of held.splice(0)) answer();
    await eventually(isAtRest);
    const again = await world.post("/v1/chat/completions", chat("x"));
    expect(again.status).toBe(200);
  });
});

describe("a client that", () => {
  it.each([
    ["half a head", "POST /v1/chat/completions HTTP/1.1\r\nhost"],
    ["a head and half a body", POST.slice(0, -20)],
    ["a whole request, and hangs up", POST],
  ])("sends %s and goes away leaves nothing behind", async (_, bytes) => {
    const sockets = Array.from({ length: 50 }, () => open().socket);
    for (const socket of sockets) socket.write(bytes, () => socket.destroy());
    await eventually(isAtRest);
    expect((await world.post("/v1/chat/completions", chat("x"))).status).toBe(200);
  });

  it.each([
    ["a head of 40 KiB", `GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: ${"y".repeat(40 * 1024)}\r\n\r\n`, "431"],
    ["two lengths", POST.replace("content-length", "content-length: 3\r\ncontent-length"), "400"],
    ["a length and chunks", POST.replace("content-length", "transfer-encoding: chunked\r\ncontent-length"), "400"],
    [
      "chunks that are none",
      POST.replace(/content-length: \d+/, "transfer-encoding: chunked").replace(BODY, "ZZ\r\n"),
      "400",
    ],
    ["a name with a blank", "GET /v1/models HTTP/1.1\r\nhost : x\r\n\r\n", "400"],
  ])("sends %s gets one answer, and its connection is closed", async (_, bytes, status) => {
    const { socket, statuses, text } = open();
    socket.write(bytes);
    await new Promise((resolve) => socket.once("end", resolve));
    expect(statuses()).toContain(status);
    expect(text()).toContain('"type":"invalid_request_error"');
    socket.destroy();
    await eventually(isAtRest);
  });
});
