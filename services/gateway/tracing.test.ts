import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Collector, startCollector } from "../../test/fakes/collector.ts";
import { chat, eventually, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "./test-world.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const CANARY = "canary-prompt-7f3a";
const usage = { prompt_tokens: 40, completion_tokens: 12 };

const toEvent = (event: object): string => `data: ${JSON.stringify(event)}\n\n`;

let collector: Collector;
let model: Peer;
let world: GatewayWorld;

beforeAll(async () => {
  collector = await startCollector();
  model = await startPeer(({ url = "" }, response, body) => {
    const own = `${url.split("/").at(-1)}-model-2026${body.includes('"stream":true') ? "-streamed" : ""}`;
    if (body.includes('"stream":true')) {
      const delta = { model: own, choices: [{ index: 0, delta: { content: CANARY }, finish_reason: "tool_calls" }] };
      const completed = { type: "response.completed", response: { model: own, usage } };
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`data: {"model":"","choices":[]}\n\n${[delta, completed].map(toEvent).join("")}data: [DONE]\n\n`);
      return;
    }
    const choices = ["stop", "length"].map((reason) => ({ message: { content: CANARY }, finish_reason: reason }));
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ model: own, choices, usage }));
  });
  world = await startGatewayWorld({
    modelUrl: model.url,
    env: { SUPERCARGO_OTLP_ENDPOINT: collector.url, SUPERCARGO_TRACE_RATIO: "0" },
  });
});

afterAll(async () => {
  await world.stop();
  await model.stop();
  collector.stop();
});

const sampled = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: "vendor=one" };
const allBytes = (): Buffer => Buffer.concat(collector.bodies);
const holds = (needle: string | Buffer): boolean => allBytes().includes(needle);

describe("traces", () => {
  it("sends a server and a client span with names and numbers, and no content", async () => {
    await (await world.post("/v1/chat/completions", chat(CANARY), sampled)).text();
    await eventually(() => (holds("chat gpt") && holds("POST chat") ? true : undefined));
    expect(collector.contentTypes[0]).toBe("application/x-protobuf");
    expect(holds(Buffer.from(TRACE, "hex"))).toBe(true);
    expect(holds(Buffer.from(SPAN, "hex"))).toBe(true);
    for (const text of [
      "azure.ai.openai",
      "gen_ai.usage.output_tokens",
      "supercargo-gateway",
      "vendor=one",
      "127.0.0.1",
    ])
      expect([text, holds(text)]).toEqual([text, true]);
    for (const secret of [CANARY, "sk-", "model-secret-1"]) expect([secret, holds(secret)]).toEqual([secret, false]);
  });

  it.each([
    ["/v1/chat/completions", {}, ["completions-model-2026", "stop", "length"]],
    ["/v1/chat/completions", { stream: true }, ["completions-model-2026-streamed", "tool_calls"]],
    ["/v1/responses", { input: CANARY }, ["responses-model-2026"]],
    ["/v1/responses", { input: CANARY, stream: true }, ["responses-model-2026-streamed", "completed"]],
    ["/v1/embeddings", { input: CANARY }, ["embeddings-model-2026"]],
  ])("says of %s %j how the model calls itself and how it ended", async (path, body, told) => {
    await (await world.post(path, { ...chat(CANARY), ...body }, sampled)).text();
    await eventually(() => (told.every(holds) ? true : undefined));
    for (const name of ["gen_ai.response.model", "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens"])
      expect([name, holds(name)]).toEqual([name, true]);
    expect(holds(CANARY)).toBe(false);
  });

  it("tells the orchestrator its own span, and the model nothing", async () => {
    await (await world.post("/v1/responses", { input: "hello" }, sampled)).text();
    const headers = world.orchestrator.requests.at(-1)?.headers;
    expect(headers?.["traceparent"]).toMatch(new RegExp(`^00-${TRACE}-(?!${SPAN})[0-9a-f]{16}-01$`));
    expect(headers?.["tracestate"]).toBe("vendor=one");
    const told = Buffer.from(String(headers?.["traceparent"]).split("-")[2] ?? "", "hex");
    await eventually(() => (holds(told) ? true : undefined));
    expect(model.requests.filter((request) => "traceparent" in request.headers)).toEqual([]);
  });

  it("records nothing of a trace that is not to be recorded, nor of one beyond the ratio", async () => {
    const quiet = "11111111111111111111111111111111";
    await (await world.post("/v1/responses", { input: "a" }, { traceparent: `00-${quiet}-${SPAN}-00` })).text();
    expect(world.orchestrator.requests.at(-1)?.headers["traceparent"]).toBe(`00-${quiet}-${SPAN}-00`);
    await (await world.post("/v1/responses", { input: "a" })).text();
    expect(world.orchestrator.requests.at(-1)?.headers["traceparent"]).toMatch(/-00$/);
    // A later one that is recorded: what went before it would have been sent with it.
    const later = "22222222222222222222222222222222";
    await (await world.post("/v1/chat/completions", chat("a"), { traceparent: `00-${later}-${SPAN}-01` })).text();
    await eventually(() => (holds(Buffer.from(later, "hex")) ? true : undefined));
    expect(holds(Buffer.from(quiet, "hex"))).toBe(false);
  });

  it("lets no request feel a collector that refuses, and counts what was lost", async () => {
    collector.status = 400;
    const answer = await world.post("/v1/chat/completions", chat("a"), sampled);
    expect(answer.status).toBe(200);
    await eventually(async () =>
      (await world.gateway.metrics()).includes('supercargo_telemetry_spans_total{result="failed"} 2')
        ? true
        : undefined,
    );
    collector.status = 200;
  });

  it("sends what waits before the process ends", async () => {
    const last = "33333333333333333333333333333333";
    await (await world.post("/v1/chat/completions", chat("a"), { traceparent: `00-${last}-${SPAN}-01` })).text();
    expect(await world.gateway.signal("SIGTERM")).toBe(0);
    expect(holds(Buffer.from(last, "hex"))).toBe(true);
  });
});
