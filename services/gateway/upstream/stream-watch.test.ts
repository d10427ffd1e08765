import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createStreamWatch, type StreamWatch, type StreamWatchOptions } from "./stream-watch.ts";

const chunk = (delta: object, extra: object = {}): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null }], ...extra })}\n\n`;
const details = { prompt_tokens_details: { cached_tokens: 2 }, completion_tokens_details: { reasoning_tokens: 3 } };
const usage = { prompt_tokens: 9, completion_tokens: 4, ...details };
const usageChunk = `data: ${JSON.stringify({ choices: [], usage })}\n\n`;
const filterError = { error: { code: "content_filter_error", message: "The contents are not filtered" } };
const done = "data: [DONE]\n\n";

function watchOf(blocks: readonly string[], options: StreamWatchOptions = { dropsUsageChunk: true, deltas: "chat" }) {
  const watch: StreamWatch = createStreamWatch(options);
  return { watch, passed: blocks.map((block) => Buffer.concat(watch.observe(Buffer.from(block))).toString()).join("") };
}

describe("createStreamWatch() on chat", () => {
  it("drops the injected usage chunk, keeps all other bytes, and has its numbers", () => {
    const { watch, passed } = watchOf([chunk({ content: "Hi" }, { usage: null }), usageChunk + done]);
    expect(passed).toBe(chunk({ content: "Hi" }, { usage: null }) + done);
    expect(watch.usage()).toEqual({ inputTokens: 9, cachedInputTokens: 2, outputTokens: 4, reasoningTokens: 3 });
    expect(watch.isComplete()).toBe(true);
  });

  it("keeps the usage chunk that the client asked for", () => {
    const { passed } = watchOf([usageChunk, done], { dropsUsageChunk: false, deltas: "chat" });
    expect(passed).toBe(usageChunk + done);
  });

  it("keeps Azure's frames with empty choices", () => {
    const annotation = `data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}\n\n`;
    expect(watchOf([annotation, usageChunk, done]).passed).toBe(annotation + done);
  });

  it("keeps usage that stands beside a choice", () => {
    const last = chunk({}, { usage });
    const { watch, passed } = watchOf([last, done]);
    expect(passed).toBe(last + done);
    expect(watch.usage()?.inputTokens).toBe(9);
  });

  it("is not fooled by an answer that quotes the protocol", () => {
    const quoting = chunk({
      content: 'data: [DONE]\n\n{"choices":[],"usage":{"prompt_tokens":1}} "response.completed"',
    });
    const { watch, passed } = watchOf([quoting]);
    expect(passed).toBe(quoting);
    expect(watch.isComplete()).toBe(false);
    expect(watch.usage()).toBeUndefined();
  });

  it("reads JSON with spaces", () => {
    const { watch, passed } = watchOf([
      `data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}\n\n`,
      done,
    ]);
    expect(passed).toBe(done);
    expect(watch.usage()).toEqual({ inputTokens: 3, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 });
  });

  it("adds up the bytes of text and arguments, as a cut stream is counted", () => {
    const { watch } = watchOf([
      chunk({ role: "assistant", content: "" }),
      chunk({ content: "12345678" }) + chunk({ content: "é" }),
      chunk({ tool_calls: [{ index: 0, function: { name: "f", arguments: '{"a":1}' } }] }),
    ]);
    // The quotes inside the arguments are escaped on the wire: two bytes more.
    expect(watch.deltaBytes()).toBe(8 + 2 + 9);
  });

  it.each([
    ["in each chunk", { content_filter_result: filterError }, true],
    ["at the end", { content_filter_results: filterError }, true],
    ["only as what the model wrote", { delta: { content: JSON.stringify(filterError) } }, false],
    [
      "only in a tool's arguments",
      { delta: { tool_calls: [{ function: { arguments: JSON.stringify(filterError) } }] } },
      false,
    ],
  ])("tells that Azure's filter was down, %s", (_, choice, isDown) => {
    const { watch, passed } = watchOf([chunk({ content: "Hi" }), `data: ${JSON.stringify({ choices: [choice] })}\n\n`]);
    expect(watch.isFilterDown()).toBe(isDown);
    expect(passed).toContain(JSON.stringify(choice));
  });

  it("tells the finish reason", () => {
    const { watch } = watchOf([`data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n`]);
    expect(watch.finishReasons()).toEqual(["length"]);
  });
});

describe("createStreamWatch() on any text", () => {
  // Texts that quote the protocol, with every character that JSON escapes.
  const text = fc
    .array(
      fc.constantFrom('"', "\\", "\n", "é", "[DONE]", "data: ", '"usage":{"a":1}', '"content":"x"', "abc", "{", ":"),
      {
        maxLength: 8,
      },
    )
    .map((parts) => parts.join(""));

  it("counts the bytes of its deltas alone, drops nothing and does not end before [DONE]", () => {
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), fc.boolean(), (texts, isOneBlock) => {
        const events = texts.map((each) => chunk({ content: each }));
        const { watch, passed } = watchOf(isOneBlock ? [events.join("")] : events);
        expect(passed).toBe(events.join(""));
        expect(watch.isComplete()).toBe(false);
        expect(watch.usage()).toBeUndefined();
        expect(watch.deltaBytes()).toBe(
          texts.reduce((sum, each) => sum + Buffer.byteLength(JSON.stringify(each)) - 2, 0),
        );
        watch.observe(Buffer.from(done));
        expect(watch.isComplete()).toBe(true);
      }),
    );
  });

  it("finds its way again behind a comment with half a string", () => {
    const { watch } = watchOf([`: it's "odd\n\n${chunk({ content: "abcd" })}${done}`]);
    expect(watch.deltaBytes()).toBe(4);
    expect(watch.isComplete()).toBe(true);
  });
});

describe("createStreamWatch() on responses", () => {
  const event = (type: string, rest: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
  const responses = { dropsUsageChunk: false, deltas: "responses" as const };

  it.each(["completed", "incomplete", "failed"])("ends with response.%s and takes its usage", (end) => {
    const response = {
      id: "r",
      usage: { input_tokens: 7, output_tokens: 5, input_tokens_details: { cached_tokens: 1 } },
    };
    const { watch } = watchOf([event(`response.${end}`, { response })], responses);
    expect(watch.isComplete()).toBe(true);
    expect(watch.usage()).toEqual({ inputTokens: 7, cachedInputTokens: 1, outputTokens: 5, reasoningTokens: 0 });
    expect(watch.finishReasons()).toEqual([end]);
  });

  it("tells that Azure's filter was down, and does not take a client's own metadata for it", () => {
    const created = event("response.created", { response: { metadata: filterError.error, content_filters: null } });
    const end = { content_filters: [{ source_type: "completion", content_filter_results: filterError }] };
    expect(watchOf([created], responses).watch.isFilterDown()).toBe(false);
    const { watch } = watchOf([created, event("response.completed", { response: end })], responses);
    expect(watch.isFilterDown()).toBe(true);
  });

  it("counts deltas alone, not their repetition when done", () => {
    const { watch } = watchOf(
      [
        event("response.output_text.delta", { delta: "12345678" }),
        event("response.output_text.done", { text: "12345678" }),
        event("response.function_call_arguments.done", { arguments: "{}" }),
      ],
      responses,
    );
    expect(watch.deltaBytes()).toBe(8);
    expect(watch.isComplete()).toBe(false);
  });

  it("reads usage that an event carries in several chunks' worth of other events", () => {
    const block =
      event("response.created", { response: { id: "r", usage: null } }) +
      event("response.completed", { response: { id: "r", usage: { input_tokens: 1, output_tokens: 2 } } });
    expect(watchOf([block], responses).watch.usage()).toMatchObject({ inputTokens: 1, outputTokens: 2 });
  });
});
