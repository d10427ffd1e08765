import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Emulator, startEmulator } from "../emulator/app.ts";
import { API_KEY, eventually, type GatewayWorld, MODEL_KEY, SERVICE_TOKEN, startGatewayWorld } from "./test-world.ts";

let emulator: Emulator;
let world: GatewayWorld;
let client: OpenAI;

beforeAll(async () => {
  emulator = await startEmulator({ model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: ["gpt-5-mini"] } });
  world = await startGatewayWorld({ modelUrl: emulator.url });
  client = new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
});

afterAll(async () => {
  await world?.stop();
  await emulator?.stop();
});

describe("a model through the gateway, with the openai client", () => {
  it("answers a chat completion and counts what the model reported", async () => {
    let reported: unknown;
    const added = await world.counted(async () => {
      const answer = await client.chat.completions.create({
        model: "gpt",
        messages: [{ role: "user", content: "[[say Héllo there]] [[cached 4]]" }],
      });
      expect(answer.choices[0]?.message.content).toBe("Héllo there");
      expect(answer._request_id).toMatch(/^[0-9a-f-]{36}$/);
      reported = answer.usage;
    });
    expect(added).toEqual({ input_tokens: 9, cached_input_tokens: 4, output_tokens: 3, model_requests: 1 });
    expect(reported).toMatchObject({ prompt_tokens: 9, completion_tokens: 3 });
  });

  it("streams a chat completion without a usage chunk that nobody asked for, and counts it", async () => {
    const added = await world.counted(async () => {
      const stream = await client.chat.completions.create({
        model: "gpt",
        messages: [{ role: "user", content: "[[tokens 20]]" }],
        stream: true,
      });
      let text = "";
      for await (const chunk of stream) {
        expect(chunk.usage ?? null).toBeNull();
        text += chunk.choices[0]?.delta.content ?? "";
      }
      expect(text).toBe("tok ".repeat(20));
    });
    expect(added).toEqual({ input_tokens: 4, output_tokens: 20, model_requests: 1 });
  });

  it("lets through the usage chunk that the client asked for", async () => {
    const stream = await client.chat.completions.create({
      model: "gpt",
      messages: [{ role: "user", content: "[[tokens 3]]" }],
      stream: true,
      stream_options: { include_usage: true },
    });
    const usages = [];
    for await (const chunk of stream) if (chunk.usage) usages.push(chunk.usage.completion_tokens);
    expect(usages).toEqual([3]);
  });

  it("answers and streams responses of an alias", async () => {
    const added = await world.counted(async () => {
      const answer = await client.responses.create({ model: "gpt", input: "[[say Hi]]" });
      expect(answer.output_text).toBe("Hi");
      const stream = await client.responses.create({ model: "gpt", input: "[[tokens 5]]", stream: true });
      const types = [];
      for await (const event of stream) types.push(event.type);
      expect(types.at(-1)).toBe("response.completed");
    });
    expect(added).toMatchObject({ output_tokens: 6, model_requests: 2 });
  });

  it("answers embeddings", async () => {
    const added = await world.counted(async () => {
      const answer = await client.embeddings.create({
        model: "gpt",
        input: "four byte text..",
        encoding_format: "float",
      });
      expect(answer.data[0]?.embedding.length).toBeGreaterThan(0);
    });
    expect(added).toEqual({ input_tokens: 4, model_requests: 1 });
  });

  it("lists the aliases and nothing else", async () => {
    const models = await client.models.list();
    expect(models.data.map((model) => model.id)).toEqual(["gpt"]);
  });

  it("writes one audit line per call, without content or credentials", async () => {
    const secret = "the-prompt-of-a-person";
    const answer = await client.chat.completions.create({
      model: "gpt",
      messages: [{ role: "user", content: `[[say ok]] ${secret}` }],
    });
    const line = await eventually(() => world.gateway.audit().find((each) => each["requestId"] === answer._request_id));
    expect(line).toMatchObject({
      agent: "shop/orders",
      route: "chat",
      callerKind: "key",
      principal: "orders team",
      actor: "team",
      planId: "pro",
      model: "gpt",
      deployment: "primary",
      decision: "allow",
      status: 200,
      outputTokens: 1,
      estimated: false,
    });
    expect(line["bodySha256"]).toMatch(/^[0-9a-f]{64}$/);
    const log = JSON.stringify(world.gateway.lines);
    for (const hidden of [secret, API_KEY, MODEL_KEY, SERVICE_TOKEN]) expect(log).not.toContain(hidden);
  });
});

describe("the agent through the gateway", () => {
  it("passes a run to the orchestrator with our token and the caller's principal, and counts one agent request", async () => {
    const added = await world.counted(async () => {
      const answer = await client.responses.create({ model: "orders", input: "Where is order 7?" });
      expect(answer.id).toBe("resp_1");
    });
    expect(added).toEqual({ agent_requests: 1 });
    const seen = world.orchestrator.requests.at(-1);
    expect(seen).toMatchObject({ method: "POST", url: "/v1/responses" });
    expect(JSON.parse(seen?.body ?? "")).toEqual({ model: "orders", input: "Where is order 7?" });
    expect(Object.keys(seen?.headers ?? {}).sort()).toEqual([
      "authorization",
      "connection",
      "content-length",
      "content-type",
      "host",
      "traceparent",
      "x-request-id",
      "x-supercargo-acting-for",
    ]);
    expect(seen?.headers).toMatchObject({
      authorization: `Bearer ${SERVICE_TOKEN}`,
      "x-supercargo-acting-for": "orders%20team",
    });
  });
});
