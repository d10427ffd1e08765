import { afterAll, beforeAll, expect, it } from "vitest";
import { chat, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "../test-world.ts";

let model: Peer;
let world: GatewayWorld;

const usage = {
  prompt_tokens: 40,
  completion_tokens: 12,
  prompt_tokens_details: { cached_tokens: 30 },
  completion_tokens_details: { reasoning_tokens: 8 },
};

beforeAll(async () => {
  model = await startPeer((_, response, body) => {
    const isSilent = body.includes("silent");
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ choices: [], ...(isSilent ? {} : { usage }) }));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
    const timer = setInterval(() => {
      clearInterval(timer);
      response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
    }, 60);
  });
  world = await startGatewayWorld({ modelUrl: model.url });
});

afterAll(async () => {
  await world.stop();
  await model.stop();
});

/** The samples whose name holds `part`, less buckets. */
async function samples(part: string): Promise<Record<string, number>> {
  const lines = (await world.gateway.metrics()).split("\n").filter((line) => line.startsWith(part));
  return Object.fromEntries(
    lines
      .filter((line) => !line.includes("_bucket"))
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))] as const),
  );
}

const SHARED = 'gen_ai_operation_name="chat",gen_ai_provider_name="azure.ai.openai",gen_ai_request_model="gpt"';
const TEXT = `{${SHARED},gen_ai_token_modality="text"}`;
const UNKNOWN = `{${SHARED},gen_ai_token_modality="unknown"}`;
const DEPLOYMENT = `{${SHARED},deployment="primary"}`;

it("counts reported tokens with their parts, and invents none where nothing was reported", async () => {
  await (await world.post("/v1/chat/completions", chat("hello"))).text();
  await (await world.post("/v1/chat/completions", chat("silent"))).text();
  expect(await samples("gen_ai_client_inference_usage")).toEqual({
    [`gen_ai_client_inference_usage_input_tokens_total${TEXT}`]: 40,
    [`gen_ai_client_inference_usage_input_tokens_total${UNKNOWN}`]: 0,
    [`gen_ai_client_inference_usage_output_tokens_total${TEXT}`]: 12,
    [`gen_ai_client_inference_usage_output_tokens_total${UNKNOWN}`]: 0,
    [`gen_ai_client_inference_usage_cache_read_input_tokens_total${TEXT}`]: 30,
    [`gen_ai_client_inference_usage_reasoning_output_tokens_total${TEXT}`]: 8,
  });
  expect(await samples("gen_ai_client_inference_operation_output_tokens")).toEqual({
    [`gen_ai_client_inference_operation_output_tokens_sum${DEPLOYMENT}`]: 12,
    [`gen_ai_client_inference_operation_output_tokens_count${DEPLOYMENT}`]: 1,
  });
});

it("times a stream by its first events, its reads and its tokens", async () => {
  await (await world.post("/v1/chat/completions", chat("hello", { stream: true }))).text();
  const found = { ...(await samples("gen_ai_server_time")), ...(await samples("gen_ai_client_operation_time")) };
  const sum = (name: string): number => found[`${name}_sum${DEPLOYMENT}`] ?? Number.NaN;
  expect(Object.entries(found).filter(([name, value]) => name.includes("_count") && value !== 1)).toEqual([]);
  expect(sum("gen_ai_client_operation_time_per_output_chunk_seconds")).toBeGreaterThan(0.02);
  expect(sum("gen_ai_server_time_per_output_token_seconds")).toBeCloseTo(
    sum("gen_ai_client_operation_time_per_output_chunk_seconds") / 11,
    2,
  );
  expect(sum("gen_ai_client_operation_time_to_first_chunk_seconds")).toBeLessThan(
    sum("gen_ai_server_time_to_first_token_seconds"),
  );
});
