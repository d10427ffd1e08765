import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requestTexts, type TextsSource } from "./request-texts.ts";

const of = (operation: "chat" | "responses" | "embeddings", body: object, source: TextsSource = "client") =>
  requestTexts(operation, Buffer.from(JSON.stringify(body)), source);
const texts = (prompts: string[], documents: string[] = []) => ({ prompts, documents });

describe("requestTexts() of chat", () => {
  const conversation = [
    { role: "system", content: "s" },
    { role: "developer", content: "d" },
    { role: "user", content: "u", name: "ann" },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }],
    },
    {
      role: "tool",
      tool_call_id: "c",
      content: [
        { type: "text", text: "r1" },
        { type: "text", text: "r2" },
      ],
    },
    { role: "function", name: "g", content: "r3" },
    { role: "assistant", content: "a" },
  ];

  it("has every word of a client, and tool results one by one", () => {
    expect(of("chat", { messages: conversation })).toEqual(
      texts(["s", "d", "u", "ann", "f", "{}", "a"], ["r1\nr2", "g\nr3"]),
    );
  });

  it("has of the orchestrator what users and tools have said", () => {
    expect(of("chat", { messages: conversation }, "orchestrator")).toEqual(texts(["u", "ann"], ["r1\nr2", "g\nr3"]));
  });

  it("has what a client writes beside the conversation, and the tools of both", () => {
    const tools = [{ type: "function", function: { name: "f", description: "t" } }];
    const body = {
      messages: [{ role: "user", content: "u" }],
      tools,
      prediction: { type: "content", content: "p" },
      response_format: { type: "json_schema", json_schema: { name: "n", schema: { description: "x" } } },
    };
    expect(of("chat", body)).toEqual(texts(["u", "p"], [JSON.stringify(tools), "n\nx"]));
    expect(of("chat", body, "orchestrator")).toEqual(texts(["u"], [JSON.stringify(tools)]));
  });

  it("has no links, no bytes and no blank text", () => {
    const content = [
      { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
      { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
      { type: "file", file: { file_data: "AAAA", filename: "report.pdf" } },
      { type: "text", text: " \n" },
    ];
    expect(of("chat", { messages: [{ role: "user", content }] })).toEqual(texts(["report.pdf"]));
  });

  it("takes a role that nobody knows for a client's", () => {
    expect(of("chat", { messages: [{ role: "oracle", content: "o" }, { content: "n" }, "bare"] })).toEqual(
      texts(["o", "n", "bare"]),
    );
  });
});

describe("requestTexts() of responses", () => {
  const input = [
    { role: "user", content: [{ type: "input_text", text: "u" }] },
    { type: "message", role: "assistant", content: [{ type: "output_text", text: "a" }] },
    { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
    { type: "function_call_output", call_id: "c", output: "r" },
    { type: "mcp_call", output: "m" },
    { type: "reasoning", summary: [{ type: "summary_text", text: "why" }], encrypted_content: "AAAA" },
  ];

  it("has a text, and items by whose words they are", () => {
    expect(of("responses", { input: "u", instructions: "i" })).toEqual(texts(["u", "i"]));
    expect(of("responses", { input })).toEqual(texts(["u", "a", "f", "{}", "why"], ["r", "m"]));
    expect(of("responses", { input, instructions: "i" }, "orchestrator")).toEqual(texts(["u"], ["r", "m"]));
  });
});

describe("requestTexts() of embeddings", () => {
  it.each([
    ["text", ["text"]],
    [
      ["a", "b"],
      ["a", "b"],
    ],
    [[[1, 2]], []],
  ])("%j", (input, prompts) => {
    expect(of("embeddings", { input })).toEqual(texts(prompts));
  });
});

describe("a body of any shape", () => {
  it("is read without harm, and refused only for a key that stands twice", () => {
    fc.assert(
      fc.property(fc.object({ withNullPrototype: false }), fc.anything(), (body, messages) => {
        const text = JSON.stringify({ ...body, messages, input: messages });
        expect(() => requestTexts("chat", Buffer.from(text), "client")).not.toThrow();
        expect(() => requestTexts("responses", Buffer.from(text), "orchestrator")).not.toThrow();
        const doubled = Buffer.from(`${text.slice(0, -1)}${text === "{}" ? "" : ","}"zz":1,"zz":{"\\\\":":"}}`);
        expect(() => requestTexts("chat", doubled, "client")).toThrow("each key must stand once");
      }),
    );
  });

  it.each(['{"messages":[{"content":"a","content":"b"}]}', '{"messages":[],"messages":[1]}', '{"a\\"":1,"a\\"":2}'])(
    "%s is refused",
    (text) => {
      expect(() => requestTexts("chat", Buffer.from(text), "client")).toThrow("each key must stand once");
    },
  );

  it("of 4 MB is read whole", () => {
    const content = 'x\\"y '.repeat(700_000);
    const body = Buffer.from(JSON.stringify({ messages: [{ role: "user", content }] }));
    expect(body.length).toBeGreaterThan(4_000_000);
    expect(requestTexts("chat", body, "client").prompts[0]?.length).toBe(content.length);
  });
});
