import { describe, expect, it } from "vitest";
import { errorCodeIn, finishReasonsOf, modelIn, readAnswer } from "./answer-facts.ts";

const usage = { prompt_tokens: 3, completion_tokens: 5 };
const choice = (reason: unknown): object => ({ message: { content: "a" }, finish_reason: reason });
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const filler = "x".repeat(70 * 1024);

describe("readAnswer()", () => {
  it.each([
    ["chat", { model: "gpt-5-mini-2025-08-07", choices: [choice("stop")], usage }, ["stop"]],
    ["choices", { model: "m", choices: [choice("stop"), choice("length")], usage }, ["stop", "length"]],
    ["choices that have not ended", { model: "m", choices: [choice(null)], usage }, undefined],
    ["a response", { object: "response", model: "m", status: "incomplete", output: [] }, ["incomplete"]],
    ["embeddings", { object: "list", model: "m", data: [], usage }, undefined],
    ["words of a person in a reason's place", { model: "m", choices: [choice("tell me a secret")] }, ["other"]],
    ["a large answer", { model: "m", choices: [{ message: filler, finish_reason: "stop" }], usage }, ["stop"]],
    ["no object", ["model"], undefined],
  ])("finds how %s ended", (_, answer, expected) => {
    expect(readAnswer(bytes(answer), undefined).finishReasons).toEqual(expected);
  });

  it.each([
    ["small", { choices: [{ message: '"model":"said"' }], model: "m-1" }, "m-1"],
    ["large", { data: filler, text: '"model":"said"', model: "text-embedding-3-small" }, "text-embedding-3-small"],
    ["odd", { model: "what the model wrote: a secret" }, undefined],
    ["empty", { model: "" }, undefined],
  ])("finds the model's own name in a %s answer, where somebody wants it", (_, answer, expected) => {
    const trace = { responseModel: undefined };
    readAnswer(bytes(answer), trace);
    expect(trace.responseModel).toBe(expected);
  });

  it("reads usage all the same", () => {
    expect(readAnswer(bytes({ choices: [], usage }), undefined).usage).toMatchObject({ inputTokens: 3 });
    expect(readAnswer(bytes({ text: filler, usage }), undefined).usage).toMatchObject({ outputTokens: 5 });
  });
});

describe("modelIn()", () => {
  it("passes over the empty name of Azure's first event", () => {
    expect(modelIn(Buffer.from('data: {"model":""}\n\ndata: {"model": "gpt-4.1"}\n\n'))).toBe("gpt-4.1");
    expect(modelIn(Buffer.from('data: {"model":"un'))).toBeUndefined();
  });
});

describe("finishReasonsOf(), errorCodeIn()", () => {
  it("take names alone", () => {
    expect(finishReasonsOf([])).toBeUndefined();
    expect(finishReasonsOf(["tool_calls", "x".repeat(33), 7])).toEqual(["tool_calls", "other", "other"]);
    expect(errorCodeIn(bytes({ error: { code: "content_filter" } }))).toBe("content_filter");
    expect(errorCodeIn(bytes({ error: { code: "you said: a secret" } }))).toBeUndefined();
    expect(errorCodeIn(Buffer.from("no JSON"))).toBeUndefined();
  });
});
