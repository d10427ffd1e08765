import { describe, expect, it } from "vitest";
import { estimateTokens, findUsage, toTokenUsage } from "./usage.ts";

describe("toTokenUsage()", () => {
  it.each([
    ["chat", { prompt_tokens: 5, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 3 } }, [5, 3, 2, 0]],
    ["responses", { input_tokens: 5, output_tokens: 2, input_tokens_details: { cached_tokens: 3 } }, [5, 3, 2, 0]],
    [
      "thoughts",
      { prompt_tokens: 5, completion_tokens: 9, completion_tokens_details: { reasoning_tokens: 7 } },
      [5, 0, 9, 7],
    ],
    [
      "more thoughts than there are",
      { input_tokens: 5, output_tokens: 2, output_tokens_details: { reasoning_tokens: 7 } },
      [5, 0, 2, 2],
    ],
    ["embeddings", { prompt_tokens: 5, total_tokens: 5 }, [5, 0, 0, 0]],
    ["details that are null", { prompt_tokens: 5, completion_tokens: 2, prompt_tokens_details: null }, [5, 0, 2, 0]],
    ["more cached than there is", { prompt_tokens: 5, prompt_tokens_details: { cached_tokens: 9 } }, [5, 5, 0, 0]],
  ])("reads %s", (_, value, [inputTokens, cachedInputTokens, outputTokens, reasoningTokens]) => {
    expect(toTokenUsage(value)).toEqual({ inputTokens, cachedInputTokens, outputTokens, reasoningTokens });
  });

  it.each([
    [null],
    [7],
    [{}],
    [{ prompt_tokens: -1 }],
    [{ prompt_tokens: 1.5 }],
    [{ prompt_tokens: 1e18 }],
    [{ prompt_tokens: "5" }],
    [{ prompt_tokens: 5, completion_tokens: -3 }],
    [{ prompt_tokens: 5, completion_tokens: 3.5 }],
    [{ input_tokens: 5, output_tokens: 1e12 }],
    [{ input_tokens: 5, output_tokens: "3" }],
  ])("takes %j for no usage", (value) => {
    expect(toTokenUsage(value)).toBeUndefined();
  });
});

describe("findUsage()", () => {
  it("takes the top-level one, not one that an answer holds", () => {
    const text = JSON.stringify({ usage: { prompt_tokens: 3 }, output: [{ usage: { prompt_tokens: 99 } }] });
    expect(findUsage(Buffer.from(text))?.inputTokens).toBe(3);
  });
  it("finds it in the tail of a large answer", () => {
    const tail = Buffer.from(`0.1,0.2]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}`);
    expect(findUsage(tail)?.inputTokens).toBe(8);
  });
  it("finds it in an answer above 64 KiB", () => {
    const text = JSON.stringify({ data: "x".repeat(100_000), usage: { prompt_tokens: 8 } });
    expect(findUsage(Buffer.from(text))?.inputTokens).toBe(8);
  });
  it("gives nothing where there is none", () => {
    expect(findUsage(Buffer.from('{"a":"\\"usage\\":{}"}'))).toBeUndefined();
    expect(findUsage(Buffer.from('not json "usage": null'))).toBeUndefined();
  });
});

describe("estimateTokens()", () => {
  it.each([
    [0, 0],
    [1, 1],
    [4, 1],
    [5, 2],
  ])("takes %i bytes for %i tokens", (bytes, tokens) => {
    expect(estimateTokens(bytes)).toBe(tokens);
  });
});
