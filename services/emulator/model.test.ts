import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { request, startKit, type Kit } from "./test-kit.ts";

let kit: Kit;
let azure: OpenAI;
let plain: OpenAI;
beforeAll(async () => {
  kit = await startKit();
  azure = new OpenAI({ baseURL: `${kit.url}/openai/v1/`, apiKey: "key", maxRetries: 0 });
  plain = new OpenAI({ baseURL: `${kit.url}/v1`, apiKey: "key", maxRetries: 0 });
});
afterAll(() => kit.stop());
beforeEach(() => kit.control("reset", {}));

const MODEL = "gpt-test";
const orderTool = {
  type: "function",
  function: {
    name: "get_order",
    description: "Looks up the state of an order",
    parameters: { type: "object", properties: { order_id: { type: "string" } }, required: ["order_id"] },
  },
} as const;
const say = (content: string) => ({ model: MODEL, messages: [{ role: "user", content } as const] });

const tallySchema = z.object({ deployments: z.array(z.record(z.string(), z.unknown())) });
async function tally(): Promise<Record<string, unknown> | undefined> {
  return tallySchema.parse((await kit.control("model/tally")).body).deployments[0];
}

describe("chat completions by the openai client", () => {
  it("answers with text and usage, counted as four bytes a token", async () => {
    const answer = await azure.chat.completions.create(say("Good morning"));
    const text = answer.choices[0]?.message.content ?? "";
    expect(text).toBe("This is an emulated answer. You said: Good morning");
    expect(answer.usage).toMatchObject({
      prompt_tokens: 3,
      completion_tokens: Math.ceil(text.length / 4),
      total_tokens: 3 + Math.ceil(text.length / 4),
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0 },
    });
  });

  it("streams the same text; usage comes only when asked for, in a chunk of its own", async () => {
    for (const include_usage of [true, false]) {
      const stream = await azure.chat.completions.create({
        ...say("Grüße [[chunk 3]] [[say Grüße, 世界 and more 👋]]"),
        stream: true,
        ...(include_usage ? { stream_options: { include_usage } } : {}),
      });
      const chunks = await Array.fromAsync(stream);
      expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("Grüße, 世界 and more 👋");
      const usages = chunks.flatMap((chunk) => (chunk.usage ? [chunk] : []));
      expect(usages.map((chunk) => [chunk.choices, chunk.usage?.completion_tokens])).toEqual(
        include_usage ? [[[], 8]] : [],
      );
      expect(chunks[0]).toMatchObject({ choices: [], prompt_filter_results: [{ prompt_index: 0 }] });
      expect(chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.finish_reason)).filter(Boolean)).toEqual([
        "stop",
      ]);
    }
  });

  it("adds Azure's annotations under /openai/v1 only", async () => {
    const chunks = await Array.fromAsync(await plain.chat.completions.create({ ...say("Hi"), stream: true }));
    expect(JSON.stringify(chunks)).not.toContain("filter");
    expect(JSON.stringify(await azure.chat.completions.create(say("Hi")))).toContain("prompt_filter_results");
  });

  it("calls the tool that fits, then quotes its result", async () => {
    const asked = { ...say("Where is order 1042?"), tools: [orderTool] };
    const called = await azure.chat.completions.create(asked);
    const [call] = called.choices[0]?.message.tool_calls ?? [];
    expect(called.choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
    expect(call).toMatchObject({ type: "function", function: { name: "get_order", arguments: '{"order_id":"1042"}' } });
    const answered = await azure.chat.completions.create({
      ...asked,
      messages: [
        ...asked.messages,
        { role: "assistant", tool_calls: call ? [call] : [] },
        { role: "tool", tool_call_id: call?.id ?? "", content: '{"state":"shipped on Monday"}' },
      ],
    });
    expect(answered.choices[0]).toMatchObject({ finish_reason: "stop" });
    expect(answered.choices[0]?.message.content).toContain("shipped on Monday");
  });

  it("streams tool calls in fragments", async () => {
    const stream = await azure.chat.completions.create({
      ...say("Where is order 1042?"),
      tools: [orderTool],
      stream: true,
    });
    const parts = (await Array.fromAsync(stream)).flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    expect(parts[0]).toMatchObject({
      index: 0,
      id: expect.stringMatching(/^call_/),
      function: { name: "get_order", arguments: "" },
    });
    expect(parts.map((part) => part.function?.arguments ?? "").join("")).toBe('{"order_id":"1042"}');
    expect(parts.length).toBeGreaterThan(3);
  });

  it("repeats the answer n times and counts each", async () => {
    const answer = await azure.chat.completions.create({ ...say("[[tokens 10]]"), n: 3 });
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1, 2]);
    expect(answer.usage?.completion_tokens).toBe(30);
  });
});

describe("responses by the openai client", () => {
  it("answers with every field, usage in its own form", async () => {
    const response = await azure.responses.create({
      model: MODEL,
      input: "[[say Hello]] [[cached 2]] [[reasoning 5]]",
      instructions: "Be kind",
    });
    expect(response.output_text).toBe("Hello");
    expect(response.output.map((item) => item.type)).toEqual(["reasoning", "message"]);
    const inputTokens = Math.ceil("[[say Hello]] [[cached 2]] [[reasoning 5]]Be kind".length / 4);
    expect(response.usage).toEqual({
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: 2 },
      output_tokens: 7,
      output_tokens_details: { reasoning_tokens: 5 },
      total_tokens: inputTokens + 7,
    });
  });

  it("streams events whose types, order and numbers are right", async () => {
    const stream = await azure.responses.create({
      model: MODEL,
      input: "[[say Hello world]] [[chunk 2]]",
      stream: true,
    });
    const events = await Array.fromAsync(stream);
    expect(events.map((event) => event.type)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
    const last = events.at(-1);
    expect(last?.type === "response.completed" && last.response.usage?.output_tokens).toBe(3);
  });

  it("makes function calls, streamed too, and quotes their output", async () => {
    const tools = [
      {
        type: "function",
        strict: false,
        name: "get_order",
        description: "",
        parameters: orderTool.function.parameters,
      } as const,
    ];
    const input = [{ role: "user", content: "Where is order A-77?" } as const];
    const events = await Array.fromAsync(await azure.responses.create({ model: MODEL, input, tools, stream: true }));
    const done = events.find((event) => event.type === "response.function_call_arguments.done");
    expect(done).toMatchObject({ arguments: '{"order_id":"A-77"}' });
    const first = await azure.responses.create({ model: MODEL, input, tools });
    const [call] = first.output;
    expect(call).toMatchObject({ type: "function_call", name: "get_order", call_id: expect.stringMatching(/^call_/) });
    if (call?.type !== "function_call") throw new Error("no call");
    const output = { type: "function_call_output", call_id: call.call_id, output: "It is in Lisbon" } as const;
    const whole = await azure.responses.create({ model: MODEL, input: [...input, call, output], tools });
    const byId = await azure.responses.create({ model: MODEL, input: [output], tools, previous_response_id: first.id });
    expect([whole.output_text, byId.output_text]).toEqual([1, 2].map(() => "Here is what I found: It is in Lisbon"));
  });

  it("refuses an unknown previous response", async () => {
    const asked = azure.responses.create({ model: MODEL, input: "x", previous_response_id: "resp_none" });
    await expect(asked).rejects.toMatchObject({ status: 400, code: "previous_response_not_found" });
  });

  it("is incomplete at the output limit", async () => {
    const response = await azure.responses.create({ model: MODEL, input: "[[tokens 100]]", max_output_tokens: 16 });
    expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } });
    expect(response.usage?.output_tokens).toBe(16);
  });
});

describe("embeddings and models by the openai client", () => {
  it("gives unit vectors that are near for near texts, as base64 and as numbers", async () => {
    const input = ["refund an order", "the order refund", "weather in Paris"];
    const [a, b, c] = (await azure.embeddings.create({ model: "embed", input })).data.map((entry) => entry.embedding);
    const dot = (left: number[] = [], right: number[] = []) =>
      left.reduce((sum, value, index) => sum + value * (right[index] ?? 0), 0);
    expect(a).toHaveLength(1536);
    expect(dot(a, a)).toBeCloseTo(1, 5);
    expect(dot(a, b)).toBeGreaterThan(dot(a, c) + 0.3);
    const numbers = await azure.embeddings.create({
      model: "embed",
      input: input[0] ?? "",
      encoding_format: "float",
      dimensions: 1536,
    });
    expect(numbers.data[0]?.embedding[0]).toBeCloseTo(a?.[0] ?? Number.NaN, 6);
    expect(numbers.usage).toEqual({ prompt_tokens: 4, total_tokens: 4 });
  });

  it("lists models", async () => {
    expect((await azure.models.list()).data.map((model) => model.object)).toEqual(["model"]);
  });
});

describe("what a script asks for", () => {
  it.each([
    ["[[error 429 retry-after 2]]", 429, "rate_limit_exceeded", "2"],
    ["[[error 503]]", 503, null, null],
    ["[[content_filter]]", 400, "content_filter", null],
  ])("%s is an error of the client", async (...[text, status, code, retryAfter]) => {
    const error: unknown = await azure.chat.completions.create(say(text)).catch((cause: unknown) => cause);
    if (!(error instanceof APIError)) throw new Error("no API error");
    expect([error.status, error.code]).toEqual([status, code]);
    expect(error.headers?.get("retry-after") ?? null).toBe(retryAfter);
  });

  const down = { error: { code: "content_filter_error", message: "The contents are not filtered" } };

  it("[[content_filter answer]] is marked in a 200", async () => {
    const filtered = await azure.chat.completions.create(say("[[say Bad]] [[content_filter answer]]"));
    expect(filtered.choices[0]).toMatchObject({
      finish_reason: "content_filter",
      content_filter_results: { violence: { filtered: true } },
    });
    const response = await azure.responses.create({ model: MODEL, input: "[[say Bad]] [[content_filter answer]]" });
    expect(response).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "content_filter" },
      content_filters: [
        { source_type: "prompt", blocked: false },
        { source_type: "completion", blocked: true },
      ],
    });
  });

  it.each([
    ["error", { choices: [{ content_filter_results: down }] }],
    ["error_each_chunk", { choices: [{ content_filter_result: down }] }],
    ["error_prompt", { prompt_filter_results: [{ content_filter_results: down }] }],
  ])("[[content_filter %s]]: the filter was down, in JSON", async (rest, expected) => {
    const text = `[[say Any]] [[content_filter ${rest}]]`;
    expect(await azure.chat.completions.create(say(text))).toMatchObject(expected);
    expect(JSON.stringify(await plain.chat.completions.create(say(text)))).not.toContain("content_filter_error");
    const source = rest === "error_prompt" ? "prompt" : "completion";
    const { content_filters } = z
      .object({ content_filters: z.array(z.looseObject({ source_type: z.string() })) })
      .parse(await azure.responses.create({ model: MODEL, input: text }));
    expect(content_filters.find((one) => one.source_type === source)).toMatchObject({ content_filter_results: down });
  });

  it.each([
    ["error", "end"],
    ["error_each_chunk", "each"],
    ["error_prompt", "first"],
  ])("[[content_filter %s]]: the filter was down, in a stream: %s", async (rest, where) => {
    const request = { ...say(`[[say One two three four]] [[content_filter ${rest}]]`), stream: true as const };
    const chunks = (await Array.fromAsync(await azure.chat.completions.create(request))).map((chunk) =>
      JSON.stringify(chunk).includes("content_filter_error"),
    );
    expect(chunks.length).toBeGreaterThan(4);
    const [first, ...others] = chunks;
    const last = others.pop();
    expect({ first, others: [...new Set(others)], last }).toEqual({
      first: where === "first",
      others: [where === "each"],
      last: where === "each" || where === "end",
    });
  });

  it("[[die after n]] cuts the stream after n chunks; the tally has what was sent", async () => {
    const stream = await azure.chat.completions.create({ ...say("[[tokens 50]] [[die after 7]]"), stream: true });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const chunk of stream) seen.push(chunk.choices[0]?.delta.content ?? "");
    })();
    await expect(reading).rejects.toThrow();
    expect(await tally()).toMatchObject({
      completed: { requests: 0 },
      cut: { requests: 1, outputTokens: 7 },
      clientGone: 0,
    });
    expect(seen.join("").length).toBeLessThanOrEqual(28);
  });

  it("[[call]] forces exact calls, several in a turn, and [[next]] the rounds after their results", async () => {
    const text = '[[call a {"x":[[1]]}]] [[call b]] [[next]] [[call c {"y":"]]"}]] [[next]] [[say done]]';
    const results = [1, 2, 3].map((n) => ({ role: "tool", tool_call_id: `${n}`, content: `r${n}` }) as const);
    const ask = async (count: number) => {
      const messages = [{ role: "user", content: text } as const, ...results.slice(0, count)];
      const { message } = (await azure.chat.completions.create({ model: MODEL, messages })).choices[0] ?? {};
      return message?.content ?? message?.tool_calls?.map((call) => "function" in call && call.function);
    };
    expect(await ask(0)).toEqual([
      { name: "a", arguments: '{"x":[[1]]}' },
      { name: "b", arguments: "{}" },
    ]);
    expect(await ask(2)).toEqual([{ name: "c", arguments: '{"y":"]]"}' }]);
    expect(await ask(3)).toBe("done");
  });

  it("comes from the control API too, once and for one deployment", async () => {
    await kit.control("model/scripts", { deployment: MODEL, say: "[[say From the script]]" });
    const ask = async (model: string) =>
      (await azure.chat.completions.create({ ...say("Hi"), model })).choices[0]?.message.content;
    expect(await ask("other")).toContain("You said: Hi");
    expect(await ask(MODEL)).toBe("From the script");
    expect(await ask(MODEL)).toContain("You said: Hi");
  });

  it("[[delay ms]] paces the stream; a client that leaves ends it and is tallied by what was sent", async () => {
    const leave = new AbortController();
    const body = { ...say("[[tokens 500]] [[delay 10]]"), stream: true } as const;
    const stream = await azure.chat.completions.create(body, { signal: leave.signal });
    let chunks = 0;
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content && ++chunks === 3) leave.abort();
    await expect.poll(tally, { timeout: 2000 }).toMatchObject({ clientGone: 1, cut: { requests: 1 } });
    const { cut } = z.object({ cut: z.object({ outputTokens: z.number() }) }).parse(await tally());
    expect(cut.outputTokens).toBeGreaterThanOrEqual(3);
    expect(cut.outputTokens).toBeLessThan(100);
  });
});

describe("the tally", () => {
  it("equals the usage that clients were told, streamed or not", async () => {
    let told = 0;
    for (const stream of [true, false]) {
      const body = { ...say("[[tokens 40]] [[reasoning 9]]"), stream_options: { include_usage: true } };
      if (stream) {
        const chunks = await Array.fromAsync(await azure.chat.completions.create({ ...body, stream }));
        told += chunks.at(-1)?.usage?.total_tokens ?? 0;
      } else
        told +=
          (await azure.chat.completions.create({ ...say("[[tokens 40]] [[reasoning 9]]") })).usage?.total_tokens ?? 0;
    }
    const { completed } = z.object({ completed: z.record(z.string(), z.number()) }).parse(await tally());
    expect(completed).toMatchObject({ requests: 2, outputTokens: 98, reasoningTokens: 18 });
    expect((completed["inputTokens"] ?? 0) + (completed["outputTokens"] ?? 0)).toBe(told);
    expect((await kit.control("model/tally")).body).toMatchObject({
      requests: 2,
      inputTokens: completed["inputTokens"],
      outputTokens: 98,
    });
  });
});

describe("refusals in OpenAI's shape", () => {
  const post = (path: string, body: unknown, headers: Record<string, string> = { "api-key": "k" }) =>
    request(`${kit.url}${path}`, { method: "POST", body, headers });

  it.each([
    ["no key", "/v1/chat/completions", say("x"), {}, 401, "invalid_api_key", null],
    ["no JSON", "/v1/chat/completions", "{", undefined, 400, null, null],
    ["no messages", "/v1/chat/completions", { model: MODEL }, undefined, 400, null, "messages"],
    [
      "a wrong role",
      "/v1/chat/completions",
      { model: MODEL, messages: [{ role: "king", content: "x" }] },
      undefined,
      400,
      null,
      "messages.0.role",
    ],
    [
      "a wrong limit",
      "/openai/v1/chat/completions",
      { ...say("x"), max_tokens: "many" },
      undefined,
      400,
      null,
      "max_tokens",
    ],
    ["no input", "/v1/responses", { model: MODEL }, undefined, 400, null, "input"],
    ["empty input", "/v1/embeddings", { model: MODEL, input: [] }, undefined, 400, null, "input"],
  ])("%s", async (...[_name, path, body, headers, status, code, param]) => {
    const answer = await post(path, body, headers);
    expect(answer.status).toBe(status);
    expect(answer.body).toMatchObject({
      error: { message: expect.any(String), type: "invalid_request_error", code, param },
    });
  });

  it("a body above 16 MiB is 413", async () => {
    const answer = await post("/v1/embeddings", JSON.stringify({ model: MODEL, input: "x".repeat(16 * 1024 * 1024) }));
    expect(answer).toMatchObject({ status: 413, body: { error: { type: "invalid_request_error" } } });
  });

  it("keys and deployments can be closed lists", async () => {
    const closed = await startKit({ model: { auth: "Key", apiKeys: ["right"], deployments: ["one"] } });
    const ask = (key: string, model: string) =>
      request(`${closed.url}/v1/chat/completions`, {
        method: "POST",
        body: { ...say("x"), model },
        headers: { authorization: `Bearer ${key}` },
      });
    expect(await ask("wrong", "one")).toMatchObject({ status: 401 });
    expect(await ask("right", "two")).toMatchObject({
      status: 404,
      body: { error: { code: "model_not_found", param: "model" } },
    });
    expect(await ask("right", "one")).toMatchObject({ status: 200 });
    await closed.stop();
  });

  it("no key is needed where none is set", async () => {
    const open = await startKit({ model: { auth: "None", apiKeys: [], deployments: [] } });
    const asked = request(`${open.url}/v1/chat/completions`, { method: "POST", body: say("x") });
    expect(await asked).toMatchObject({ status: 200 });
    await open.stop();
  });

  it("a fault is an error of the model", async () => {
    await kit.control("faults", { standIn: "model", kind: "Status", status: 429, retryAfterSeconds: 1, count: 1 });
    const asked = azure.chat.completions.create(say("x"));
    await expect(asked).rejects.toMatchObject({ status: 429, code: "rate_limit_exceeded" });
  });
});
