import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import { type AgentWorld, createWorld } from "./world.ts";

let world: AgentWorld;
beforeAll(async () => {
  world = await createWorld();
  await world.start();
});
afterAll(() => world.stop());
beforeEach(() => {
  world.modelCalls.length = 0;
  world.toolCalls.length = 0;
  world.hooks.modelRefusal = undefined;
});

/** The public client, as the gateway would let it through. */
async function openai(principal = "alice@example.com"): Promise<OpenAI> {
  return new OpenAI({
    baseURL: `${world.url()}/v1`,
    apiKey: await world.token(),
    defaultHeaders: { [ACTING_FOR_HEADER]: principal },
    maxRetries: 0,
  });
}

const askOrder = 'Where is it? [[call get_order {"order_id":"A-1001"}]][[next]][[say It was delivered.]]';
const weather = {
  type: "function",
  name: "get_weather",
  description: "The weather at a place.",
  parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
  strict: null,
} as const;

describe("the openai client", () => {
  it("gets an answer with a tool call, and reads it again", async () => {
    const client = await openai();
    const response = await client.responses.create({ model: "order-desk", input: askOrder });
    expect(response.output_text).toBe("It was delivered.");
    expect(response.output.map((item) => item.type)).toEqual(["mcp_call", "message"]);
    expect(response.output[0]).toEqual({
      id: expect.stringMatching(/^mcp_/),
      type: "mcp_call",
      server_label: "orders",
      name: "get_order",
      arguments: '{"order_id":"A-1001"}',
      output: expect.stringContaining("Brass sextant"),
      error: null,
      status: "completed",
      approval_request_id: null,
    });
    expect(response.usage?.total_tokens).toBeGreaterThan(0);
    const { output_text: _, ...stored } = await client.responses.retrieve(response.id);
    const { output_text: __, _request_id: ___, ...answered } = response;
    expect({ ...stored, _request_id: undefined }).toEqual({ ...answered, _request_id: undefined });
  });

  it("shows the model instructions, tools of the lanes Automatic alone, and the tool's result", async () => {
    const client = await openai();
    await client.responses.create({ input: askOrder, instructions: "Be brief.", temperature: 0.5 });
    const [first, second] = world.modelCalls;
    expect(first?.body).toMatchObject({
      model: "default",
      stream: true,
      temperature: 0.5,
      messages: [
        { role: "system", content: "You are the order desk." },
        { role: "system", content: "Be brief." },
        { role: "user", content: askOrder },
      ],
    });
    expect(JSON.stringify(first?.body["tools"])).toMatch(/get_order.*list_orders.*refund_order/);
    expect(JSON.stringify(first?.body["tools"])).not.toContain("delete_customer");
    expect(first?.headers[ACTING_FOR_HEADER]).toBe("alice@example.com");
    expect(JSON.stringify(second?.body["messages"])).toContain("Brass sextant");
    expect(world.toolCalls).toMatchObject([
      { name: "get_order", key: expect.stringMatching(/^resp_[0-9a-f]+:call_/), actingFor: "alice@example.com" },
    ]);
  });

  it("streams events in order, numbered without a gap", async () => {
    const client = await openai();
    const stream = await client.responses.create({ input: askOrder, stream: true });
    const events = [];
    for await (const event of stream) events.push(event);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
    const types = events.map((event) => event.type).filter((type, index, all) => type !== all[index - 1]);
    expect(types).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.mcp_call.in_progress",
      "response.mcp_call_arguments.delta",
      "response.mcp_call_arguments.done",
      "response.mcp_call.completed",
      "response.output_item.done",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    const deltas = events.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : []));
    expect(deltas.length).toBeGreaterThan(1);
    expect(deltas.join("")).toBe("It was delivered.");
  });

  it("accumulates a stream with its own helper", async () => {
    const client = await openai();
    const final = await client.responses.stream({ model: "order-desk", input: askOrder }).finalResponse();
    expect(final.output_text).toBe("It was delivered.");
  });

  it("goes on from a previous response, without its instructions", async () => {
    const client = await openai();
    const first = await client.responses.create({ input: askOrder, instructions: "Be brief." });
    world.modelCalls.length = 0;
    await client.responses.create({ input: "And now? [[say Still there.]]", previous_response_id: first.id });
    expect(world.modelCalls[0]?.body["messages"]).toEqual([
      { role: "system", content: "You are the order desk." },
      { role: "user", content: askOrder },
      {
        role: "assistant",
        content: null,
        tool_calls: [
          {
            id: first.output[0]?.id,
            type: "function",
            function: { name: "get_order", arguments: '{"order_id":"A-1001"}' },
          },
        ],
      },
      { role: "tool", tool_call_id: first.output[0]?.id, content: expect.stringContaining("Brass sextant") },
      { role: "assistant", content: "It was delivered." },
      { role: "user", content: "And now? [[say Still there.]]" },
    ]);
  });

  it("hands functions of the request to the client and takes their output", async () => {
    const client = await openai();
    const input = 'Will it rain? [[call get_weather {"place":"Oslo"}]][[next]][[say Take a coat.]]';
    const first = await client.responses.create({ input, tools: [weather] });
    expect(first.status).toBe("completed");
    expect(first.tools).toEqual([weather]);
    const [call] = first.output;
    expect(call).toMatchObject({ type: "function_call", name: "get_weather", arguments: '{"place":"Oslo"}' });
    const callId = call?.type === "function_call" ? call.call_id : "";
    const second = await client.responses.create({
      previous_response_id: first.id,
      tools: [weather],
      input: [{ type: "function_call_output", call_id: callId, output: "rain" }],
    });
    expect(second.output_text).toBe("Take a coat.");
  });

  it("makes its own calls first when the model asks for both kinds at once", async () => {
    const client = await openai();
    const input = `[[call get_weather {"place":"Oslo"}]][[call get_order {"order_id":"A-1002"}]][[next]][[say Both.]]`;
    const first = await client.responses.create({ input, tools: [weather] });
    expect(first.output.map((item) => item.type)).toEqual(["mcp_call", "function_call"]);
    const call = first.output[1];
    const second = await client.responses.create({
      previous_response_id: first.id,
      tools: [weather],
      input: [
        { type: "function_call_output", call_id: call?.type === "function_call" ? call.call_id : "", output: "rain" },
      ],
    });
    expect(second.output_text).toBe("Both.");
  });

  it("offers and calls only what allowed_tools names", async () => {
    const client = await openai();
    const response = await client.responses.create({
      input: "[[call list_orders {}]][[next]][[say No list.]]",
      tools: [weather],
      tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "get_weather" }] },
    });
    expect(JSON.stringify(world.modelCalls[0]?.body["tools"])).not.toContain("list_orders");
    expect(response.output[0]).toMatchObject({ type: "mcp_call", name: "list_orders", status: "failed" });
    expect(world.toolCalls).toEqual([]);
  });

  it("keeps a function of the client and one of the agent apart when they share a name", async () => {
    const client = await openai();
    const response = await client.responses.create({
      input: '[[call orders__get_order {"order_id":"A-1003"}]][[call get_order {}]]',
      tools: [{ ...weather, name: "get_order" }],
    });
    expect(response.output).toMatchObject([
      { type: "mcp_call", server_label: "orders", name: "get_order", status: "completed" },
      { type: "function_call", name: "get_order" },
    ]);
  });

  it("sends images on, and texts of every role", async () => {
    const client = await openai();
    await client.responses.create({
      input: [
        { role: "developer", content: "Speak French." },
        {
          role: "user",
          content: [
            { type: "input_text", text: "What is this?" },
            { type: "input_image", image_url: "data:image/png;base64,AA==", detail: "auto" },
          ],
        },
      ],
    });
    expect(world.modelCalls[0]?.body["messages"]).toEqual([
      { role: "system", content: "You are the order desk." },
      { role: "system", content: "Speak French." },
      {
        role: "user",
        content: [
          { type: "text", text: "What is this?" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AA==", detail: "auto" } },
        ],
      },
    ]);
  });

  it("deletes a response", async () => {
    const client = await openai();
    const { id } = await client.responses.create({ input: "[[say Hello.]]" });
    await client.responses.delete(id);
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404, code: "response_not_found" });
  });

  it("gives no one another principal's response", async () => {
    const { id } = await (await openai()).responses.create({ input: "[[say Hello.]]" });
    const stranger = await openai("mallory@example.com");
    await expect(stranger.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
    await expect(stranger.responses.delete(id)).rejects.toMatchObject({ status: 404 });
    await expect(stranger.responses.create({ input: "x", previous_response_id: id })).rejects.toMatchObject({
      status: 404,
      param: "previous_response_id",
    });
    expect((await (await openai()).responses.retrieve(id)).output_text).toBe("Hello.");
  });

  it("forgets a response that is not stored", async () => {
    const client = await openai();
    const { id } = await client.responses.create({ input: "[[say Hello.]]", store: false });
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });
});

describe("lanes and limits", () => {
  it.each([
    [
      "delete_customer",
      '{"customer":"bob@example.com"}',
      "Refused (tool_forbidden): The agent may never call this tool",
    ],
    ["invented", "{}", "Refused (unknown_tool): The agent has no such tool"],
    ["get_order", '{"order":1}', "Refused (invalid_arguments): The arguments do not fit the tool's schema: "],
    ["get_order", "[1]", "Refused (invalid_arguments): The arguments must be one JSON object"],
  ])("refuses %s %s", async (name, args, reason) => {
    const client = await openai();
    const response = await client.responses.create({ input: `[[call ${name} ${args}]][[next]][[say Sorry.]]` });
    expect(response.output_text).toBe("Sorry.");
    const [call] = response.output;
    expect(call).toMatchObject({ type: "mcp_call", status: "failed", output: null });
    expect(JSON.stringify(call)).toContain(reason);
    expect(world.toolCalls).toEqual([]);
    const isAudited = (line: string): boolean => line.includes(response.id) && line.includes('"outcome":"Refused"');
    await expect.poll(() => world.log.filter(isAudited).length).toBe(1);
  });

  it("stops a tool at its calls per run", async () => {
    const client = await openai();
    const refund = '[[call refund_order {"order_id":"A-1002","amount_cents":100,"reason":"late"}]]';
    const response = await client.responses.create({ input: `${refund}[[next]]${refund}[[next]][[say Done.]]` });
    expect(response.output.map((item) => (item.type === "mcp_call" ? item.status : item.type))).toEqual([
      "completed",
      "failed",
      "message",
    ]);
    expect(JSON.stringify(response.output[1])).toContain("Refused (over_limit)");
    expect(world.book.refunds().filter((refund) => refund.orderId === "A-1002")).toHaveLength(1);
  });

  it("tells the model what a tool said was wrong", async () => {
    const client = await openai();
    const response = await client.responses.create({
      input: '[[call get_order {"order_id":"A-9999"}]][[next]][[say No such order.]]',
    });
    expect(response.output[0]).toMatchObject({
      status: "failed",
      error: { type: "mcp_tool_execution_error", content: [{ type: "text", text: "There is no order A-9999" }] },
    });
    expect(JSON.stringify(world.modelCalls[1]?.body["messages"])).toContain("There is no order A-9999");
  });

  it("ends incomplete at the budget of turns", async () => {
    const client = await openai();
    const response = await client.responses.create({ input: "[[call list_orders {}]][[next]]".repeat(10) });
    expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_turns" } });
    expect(world.modelCalls).toHaveLength(6);
  });

  it("ends incomplete at the budget of tool calls, which the request may lower", async () => {
    const client = await openai();
    const response = await client.responses.create({
      input: "[[call list_orders {}]][[call list_orders {}]]",
      max_tool_calls: 1,
    });
    expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_tool_calls" } });
    expect(response.output.map((item) => (item.type === "mcp_call" ? item.status : ""))).toEqual([
      "completed",
      "incomplete",
    ]);
    expect(world.toolCalls).toHaveLength(1);
  });

  it("ends incomplete when the model's output was cut", async () => {
    const client = await openai();
    const response = await client.responses.create({ input: "[[tokens 50]]", max_output_tokens: 3 });
    expect(response).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: [{ type: "message", status: "incomplete" }],
    });
  });

  it("fails with the gateway's code", async () => {
    world.hooks.modelRefusal = {
      status: 403,
      body: {
        error: { code: "hard_limit_reached", message: "Cannot serve as the month is spent", type: "x", param: null },
      },
    };
    const client = await openai();
    const response = await client.responses.create({ input: "Hello" });
    expect(response).toMatchObject({
      status: "failed",
      error: { code: "hard_limit_reached", message: "Cannot serve as the month is spent" },
    });
    const stream = await world.request("/v1/responses", { body: { input: "Hello", stream: true } });
    const text = await stream.text();
    expect(text).toMatch(/event: error\ndata: .*hard_limit_reached.*\n\nevent: response\.failed\n/);
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  it("fails when the model's stream dies in the middle", async () => {
    const client = await openai();
    const response = await client.responses.create({ input: "[[delay 20]][[tokens 50]][[die 3]]" });
    expect(response).toMatchObject({ status: "failed", error: { code: "stream_interrupted" } });
    expect(response.output).toMatchObject([{ type: "message", status: "incomplete" }]);
  });
});

describe("idempotency, leaving, counting", () => {
  it("answers a repeated Idempotency-Key with the same run, and another body with 409", async () => {
    const options = { body: { input: "[[say Once.]]" }, headers: { "idempotency-key": "order-1" } };
    const first = await (await world.request("/v1/responses", options)).json();
    const again = await (await world.request("/v1/responses", options)).json();
    expect(again).toEqual(first);
    expect(world.modelCalls).toHaveLength(1);
    const other = await world.request("/v1/responses", { ...options, body: { input: "other" } });
    expect(other.status).toBe(409);
    expect(other.headers.get("x-should-retry")).toBe("false");
    const stranger = await world.request("/v1/responses", { ...options, principal: "bob@example.com" });
    expect(Reflect.get(Object(await stranger.json()), "id")).not.toBe(Reflect.get(Object(first), "id"));
  });

  it("joins a run in progress by its key, and streams it whole", async () => {
    const options = {
      body: { input: `[[delay 20]]${askOrder}`, stream: true },
      headers: { "idempotency-key": "order-2" },
    };
    const [one, two] = await Promise.all([
      world.request("/v1/responses", options).then((answer) => answer.text()),
      world.request("/v1/responses", options).then((answer) => answer.text()),
    ]);
    const idOf = (text: string): string | undefined => /resp_[0-9a-f]+/.exec(text)?.[0];
    expect(idOf(one)).toBe(idOf(two));
    const textOf = (text: string): unknown =>
      /event: response\.completed\ndata: (.*)/.exec(text)?.[1]?.replace(/"sequence_number":\d+/, "");
    expect(textOf(one)).toBe(textOf(two));
  });

  it("cancels a run whose client leaves, and says so", async () => {
    const abort = new AbortController();
    const held = Promise.withResolvers<void>();
    world.hooks.beforeModel = () => held.resolve();
    const request = world.request("/v1/responses", {
      body: { input: "[[delay 50]][[tokens 200]]", stream: true },
      signal: abort.signal,
    });
    const reader = (await request).body?.getReader();
    const head = new TextDecoder().decode((await reader?.read())?.value);
    await held.promise;
    abort.abort();
    world.hooks.beforeModel = () => {};
    const id = /resp_[0-9a-f]+/.exec(head)?.[0] ?? "";
    await expect
      .poll(async () => Reflect.get(Object(await (await world.request(`/v1/responses/${id}`)).json()), "status"))
      .toBe("cancelled");
  });

  it("counts a completed run and each started tool call, nothing else", async () => {
    const runs = 'supercargo_usage_total{dimension="workflow_completed"}';
    const calls = 'supercargo_usage_total{dimension="tool_action"}';
    const before = { runs: await world.metric(runs), calls: await world.metric(calls) };
    const client = await openai();
    await client.responses.create({ input: askOrder });
    await client.responses.create({ input: '[[call delete_customer {"customer":"x"}]][[next]][[say No.]]' });
    await client.responses.create({ input: "[[call list_orders {}]][[next]]".repeat(10) });
    expect(await world.metric(runs)).toBe(before.runs + 2);
    expect(await world.metric(calls)).toBe(before.calls + 1 + 6);
  });

  it("logs no prompt, argument or result", async () => {
    const client = await openai();
    await client.responses.create({ input: `secret-prompt ${askOrder}` });
    const text = world.log.join("\n");
    expect(text).toContain('"audit":true');
    for (const secret of ["secret-prompt", "A-1001", "Brass sextant", "It was delivered"])
      expect(text).not.toContain(secret);
  });

  it("serves the same routes without /v1", async () => {
    const answer = await world.request("/responses", { body: { input: "[[say Hi.]]" } });
    expect(answer.status).toBe(200);
    const { id } = Object(await answer.json());
    expect((await world.request(`/responses/${id}`)).status).toBe(200);
  });
});
