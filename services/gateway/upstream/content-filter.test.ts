import { describe, expect, it } from "vitest";
import { hasFilterError, isFilterDown, isFilterDownAt } from "./content-filter.ts";

const down = { error: { code: "content_filter_error", message: "The contents are not filtered" } };
const safe = { hate: { filtered: false, severity: "safe" } };

const SAID: [string, object][] = [
  ["a choice's results", { choices: [{ content_filter_results: down }] }],
  ["a choice's result, as recorded", { choices: [{ content_filter_result: down, content_filter_results: {} }] }],
  ["a second choice", { choices: [{ content_filter_results: safe }, { content_filter_results: down }] }],
  ["a prompt's results", { choices: [], prompt_filter_results: [{ prompt_index: 0, content_filter_results: down }] }],
  ["a response", { content_filters: [{ source_type: "prompt" }, { content_filter_results: down }] }],
  ["an event of a response", { type: "x", response: { content_filters: [{ content_filter_results: down }] } }],
];
const NOT_SAID: [string, object][] = [
  ["results of a filter that worked", { choices: [{ content_filter_results: safe }] }],
  ["another error", { choices: [{ content_filter_results: { error: { code: "other" } } }] }],
  ["a text that says it", { choices: [{ message: { content: JSON.stringify({ content_filter_results: down }) } }] }],
  ["metadata of the client's", { metadata: { code: "content_filter_error" }, content_filters: [] }],
  ["the word alone", { choices: ["content_filter_error"] }],
];

describe("isFilterDown()", () => {
  it.each(SAID)("is told by %s", (_, body) => {
    expect(isFilterDown(Buffer.from(JSON.stringify(body)))).toBe(true);
    expect(isFilterDown(Buffer.from(JSON.stringify(body, null, 2)))).toBe(true);
  });

  it.each(NOT_SAID)("is not told by %s", (_, body) => {
    expect(isFilterDown(Buffer.from(JSON.stringify(body)))).toBe(false);
  });

  it("is told by an answer too large to be parsed, but not by a text in it", () => {
    const text = "x".repeat(100_000);
    expect(isFilterDown(Buffer.from(JSON.stringify({ text, choices: [{ content_filter_results: down }] })))).toBe(true);
    expect(isFilterDown(Buffer.from(JSON.stringify({ text: text + JSON.stringify(down) })))).toBe(false);
  });

  it("is not told by what is no JSON", () => {
    expect(
      isFilterDown(Buffer.from('{"choices":[{"content_filter_results":{"error":{"code":"content_filter_error"}}}]')),
    ).toBe(false);
  });
});

describe("hasFilterError()", () => {
  it("finds it in a piece that begins and ends anywhere", () => {
    const body = JSON.stringify({ choices: [{ content_filter_results: down, message: { content: "x" } }] });
    expect(hasFilterError(Buffer.from(body.slice(14, -14)))).toBe(true);
    expect(hasFilterError(Buffer.from(JSON.stringify(body)))).toBe(false);
  });
});

describe("isFilterDownAt()", () => {
  it("reads the event around a place, and no other", () => {
    const block = Buffer.from(
      `data: ${JSON.stringify({ metadata: down.error })}\n\ndata: ${JSON.stringify(SAID[0]?.[1])}\n\ndata: [DONE]\n\n`,
    );
    const first = block.indexOf("content_filter_error");
    const second = block.indexOf("content_filter_error", first + 1);
    expect([isFilterDownAt(block, first), isFilterDownAt(block, second)]).toEqual([false, true]);
  });
});
