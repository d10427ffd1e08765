import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createChatReader, type ModelAnswer, ModelError } from "./model-stream.ts";
import { usageSchema } from "./responses/items.ts";

function frames(...chunks: readonly unknown[]): string {
  return chunks.map((chunk) => `data: ${typeof chunk === "string" ? chunk : JSON.stringify(chunk)}\n\n`).join("");
}

function delta(fields: object, finish: string | null = null): object {
  return { choices: [{ index: 0, delta: fields, finish_reason: finish }] };
}

function read(pieces: readonly Uint8Array[]): { answer: ModelAnswer; heard: string } {
  let heard = "";
  const reader = createChatReader({ onText: (text) => (heard += text), onRefusal: (text) => (heard += `!${text}`) });
  for (const piece of pieces) reader.push(piece);
  return { answer: reader.finish(), heard };
}

const whole = frames(
  { choices: [], prompt_filter_results: [] },
  delta({ role: "assistant", content: "" }),
  delta({ content: "Grüße " }),
  delta({ content: "🚢" }),
  delta({ tool_calls: [{ index: 1, id: "b", function: { name: "two", arguments: "" } }] }),
  delta({ tool_calls: [{ index: 0, id: "a", function: { name: "one", arguments: '{"x"' } }] }),
  delta({ tool_calls: [{ index: 0, function: { arguments: ":1}" } }] }),
  delta({}, "tool_calls"),
  { choices: [], usage: { prompt_tokens: 7, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 2 } } },
  "[DONE]",
);

describe("createChatReader", () => {
  it.each([
    ["too large to be stored as a sum", { prompt_tokens: Number.MAX_SAFE_INTEGER, completion_tokens: 3 }, [0, 3]],
    ["below zero", { prompt_tokens: 7, completion_tokens: -3 }, [7, 0]],
    ["no integer", { prompt_tokens: 7.5, completion_tokens: 3, prompt_tokens_details: 8 }, [0, 3]],
    ["no usage at all", "many", [0, 0]],
  ])("shows no usage that is %s, and keeps the answer", (_, usage, [input, output]) => {
    const bytes = new TextEncoder().encode(frames(delta({ content: "Hello" }), delta({}, "stop"), { usage }));
    const { answer } = read([bytes]);
    expect([answer.text, answer.usage.input_tokens, answer.usage.output_tokens]).toEqual(["Hello", input, output]);
    expect(usageSchema.parse(answer.usage)).toEqual(answer.usage);
  });

  it("joins text, calls and usage, however the bytes are cut", () => {
    const bytes = new TextEncoder().encode(whole);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(bytes.length), { maxLength: 900, size: "max" }),
        fc.boolean(),
        (cuts, isCrLf) => {
          const source = isCrLf ? new TextEncoder().encode(whole.replaceAll("\n", "\r\n")) : bytes;
          const places = [0, ...cuts.sort((a, b) => a - b), source.length];
          const pieces = places.slice(1).map((end, index) => source.subarray(places[index], end));
          const { answer, heard } = read(pieces);
          expect(heard).toBe("Grüße 🚢");
          expect(answer).toEqual({
            text: "Grüße 🚢",
            toolCalls: [
              { id: "a", name: "one", arguments: '{"x":1}' },
              { id: "b", name: "two", arguments: "" },
            ],
            finish: "tool_calls",
            usage: {
              input_tokens: 7,
              input_tokens_details: { cached_tokens: 2 },
              output_tokens: 3,
              output_tokens_details: { reasoning_tokens: 0 },
              total_tokens: 10,
            },
          });
        },
      ),
    );
  });

  it.each([
    ["an end before the finish reason", frames(delta({ content: "Hal" })), "stream_interrupted"],
    ["an error in the stream", frames({ error: { code: "content_filter", message: "no" } }), "content_filter"],
    ["an error without a code", frames({ error: { message: "no" } }), "upstream_error"],
    ["something else", frames("<html>"), "upstream_error"],
    ["more calls than allowed", frames(delta({ tool_calls: [{ index: 64, id: "x" }] })), "upstream_error"],
    ["a frame without an end", `data: ${"x".repeat(2 ** 21)}`, "upstream_error"],
  ])("refuses %s", (_what, text, code) => {
    const failure = (() => {
      try {
        return read([new TextEncoder().encode(text)]);
      } catch (error) {
        return error;
      }
    })();
    expect(failure).toBeInstanceOf(ModelError);
    expect(failure).toMatchObject({ code, again: false });
  });

  it("passes a refusal on, and keeps a cut answer cut", () => {
    const text = frames(delta({ refusal: "I cannot" }, "stop"));
    expect(read([new TextEncoder().encode(text)])).toMatchObject({ heard: "!I cannot", answer: { text: "I cannot" } });
    const cut = frames(delta({ content: "a" }, "length"));
    expect(read([new TextEncoder().encode(cut)]).answer.finish).toBe("length");
  });
});
