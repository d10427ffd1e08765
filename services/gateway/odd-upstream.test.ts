import { gzipSync } from "node:zlib";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, chat, deployment, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "./test-world.ts";

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
          message: `Cannot use the upstream's answer as its status must be 2xx, its content-encoding absent and its content-type JSON or an event stream: current value is 200, gzip, ${type}`,
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

describe("an orchestrator that dies in the middle of a run", () => {
  const dieOnce = (): { runs: number } => {
    const seen = { runs: 0 };
    world.orchestrator.answer = (_, response) => {
      seen.runs += 1;
      response.destroy();
    };
    return seen;
  };

  it.each([
    ["without a key: it may have refunded an order, so nobody sends it again", {}, "false"],
    ["with a key: sent again it is the same run", { "idempotency-key": "order-1" }, null],
  ])("%s", async (_, headers, shouldRetry) => {
    dieOnce();
    const answer = await world.post("/v1/responses", { input: "Refund A-1001" }, headers);
    expect([answer.status, answer.headers.get("x-should-retry")]).toEqual([502, shouldRetry]);
  });

  it("is asked once by an openai client that would repeat any other 502", async () => {
    const seen = dieOnce();
    const client = new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: API_KEY, maxRetries: 2 });
    await expect(client.responses.create({ input: "Refund A-1001" })).rejects.toThrow("Cannot reach the agent");
    expect(seen.runs).toBe(1);
  });
});
