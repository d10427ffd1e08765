import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chat, deployment, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "./test-world.ts";

/** A model that answers as no model should. */
let odd: Peer;
let world: GatewayWorld;

beforeAll(async () => {
  odd = await startPeer((_, response) => response.end());
  world = await startGatewayWorld({
    modelUrl: odd.url,
    models: [{ name: "gpt", outputTokensMax: 4096, deployments: [deployment("primary", { modelUrl: odd.url })] }],
  });
});
afterAll(async () => {
  await world?.stop();
  await odd?.stop();
});

const whole = Buffer.from('{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}');
const chunk = 'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}\n\ndata: [DONE]\n\n';

describe("an upstream's answer", () => {
  it("that is an event stream without a single event is asked for again and counted once", async () => {
    let calls = 0;
    odd.answer = (_, response) => {
      calls += 1;
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(calls === 1 ? "" : chunk);
    };
    const added = await world.counted(async () => {
      const answer = await world.post("/v1/chat/completions", chat("x", { stream: true }));
      expect([answer.status, await answer.text()]).toEqual([200, "data: [DONE]\n\n"]);
    });
    expect([calls, added]).toEqual([2, { input_tokens: 2, output_tokens: 1, model_requests: 1 }]);
  });

  it.each([
    ["application/json", gzipSync(whole), {}],
    ["text/event-stream", gzipSync(Buffer.from(chunk)), { stream: true }],
  ])("of %s that is compressed against our wish is refused, not passed on uncounted", async (type, bytes, more) => {
    odd.answer = (_, response) => {
      response.writeHead(200, { "content-type": type, "content-encoding": "gzip" });
      response.end(bytes);
    };
    const added = await world.counted(async () => {
      const answer = await world.post("/v1/chat/completions", chat("x", more));
      expect(answer.status).toBe(502);
      expect(await answer.json()).toMatchObject({
        error: {
          code: "upstream_error",
          message: "Cannot use the upstream's answer as its status is 200 and its content-encoding gzip",
        },
      });
    });
    expect(added).toEqual({});
  });

  it("that is a compressed error can be read by the client", async () => {
    odd.answer = (_, response) => {
      response.writeHead(400, { "content-type": "application/json", "content-encoding": "gzip" });
      response.end(gzipSync('{"error":{"code":"content_filter"}}'));
    };
    const answer = await world.post("/v1/chat/completions", chat("x"));
    expect([answer.status, await answer.json()]).toEqual([400, { error: { code: "content_filter" } }]);
  });
});
