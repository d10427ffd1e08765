import { z } from "zod";
import { NO_USAGE, type Usage } from "./responses/items.ts";
import type { FinishReason } from "./store/journal.ts";

/** A call to the model that gave no whole answer. `code` is the gateway's; `again` only if nothing was said yet. */
export class ModelError extends Error {
  readonly code: string;
  readonly again: boolean;
  // oxlint-disable-next-line max-params -- the usual two of an error, then its own two
  constructor(code: string, message: string, again = false, options?: ErrorOptions) {
    super(message, options);
    this.name = "ModelError";
    this.code = code;
    this.again = again;
  }
}

export interface ModelToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

export interface ModelAnswer {
  readonly text: string;
  readonly toolCalls: readonly ModelToolCall[];
  readonly finish: FinishReason;
  readonly usage: Usage;
}

/** Bounds on one answer, far above what an output cap lets through. */
const FRAME_MAX_CHARACTERS = 1024 * 1024;
const TEXT_MAX_CHARACTERS = 4 * 1024 * 1024;
const ARGUMENTS_MAX_CHARACTERS = 1024 * 1024;
const CALLS_MAX = 64;

/** What is counted is counted by the gateway; here usage is shown. A number that is none must not end the run. */
const TOKENS_MAX = 1_000_000_000;
const tokens = z
  .int()
  .min(0)
  .max(TOKENS_MAX)
  .nullish()
  .catch(null)
  .transform((count) => count ?? 0);
const usageSchema = z.object({
  prompt_tokens: tokens,
  completion_tokens: tokens,
  prompt_tokens_details: z.object({ cached_tokens: tokens }).nullish().catch(null),
  completion_tokens_details: z.object({ reasoning_tokens: tokens }).nullish().catch(null),
});
const callDeltaSchema = z.object({
  index: z
    .int()
    .min(0)
    .max(CALLS_MAX - 1),
  id: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
});
const deltaSchema = z.object({
  content: z.string().nullish(),
  refusal: z.string().nullish(),
  tool_calls: z.array(callDeltaSchema).nullish(),
});
const chunkSchema = z.object({
  error: z.object({ code: z.string().nullish(), message: z.string().nullish() }).nullish(),
  choices: z
    .array(
      z.object({
        delta: deltaSchema.nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .nullish(),
  usage: usageSchema.nullish().catch(null),
});

export interface ChatReader {
  push(bytes: Uint8Array): void;
  /** The whole answer. Throws ModelError stream_interrupted when the stream ended before it. */
  finish(): ModelAnswer;
}

/** Reads a Chat Completions event stream as it comes; deltas go on at once. Throws ModelError on an error in the stream. */
export function createChatReader(listener: {
  readonly onText: (delta: string) => void;
  readonly onRefusal: (delta: string) => void;
}): ChatReader {
  const decoder = new TextDecoder();
  const state = { text: "", usage: NO_USAGE, finish: "", calls: new Map<number, ModelToolCall>() };
  let rest = "";

  const hear = (delta: string | null | undefined, pass: (delta: string) => void): void => {
    if (!delta) return;
    state.text = bounded(state.text + delta, TEXT_MAX_CHARACTERS);
    pass(delta);
  };
  const readDelta = (delta: z.output<typeof deltaSchema>): void => {
    hear(delta.content, listener.onText);
    hear(delta.refusal, listener.onRefusal);
    for (const call of delta.tool_calls ?? [])
      state.calls.set(call.index, extendCall(state.calls.get(call.index) ?? NO_CALL, call));
  };
  const readChunk = (chunk: z.output<typeof chunkSchema>): void => {
    if (chunk.usage) state.usage = toUsage(chunk.usage);
    const [choice] = chunk.choices ?? [];
    state.finish = choice?.finish_reason || state.finish;
    if (choice?.delta) readDelta(choice.delta);
  };

  return {
    push(bytes) {
      rest = bounded(rest + decoder.decode(bytes, { stream: true }), FRAME_MAX_CHARACTERS).replaceAll("\r\n", "\n");
      for (let end = rest.indexOf("\n\n"); end !== -1; end = rest.indexOf("\n\n")) {
        const frame = rest.slice(0, end);
        rest = rest.slice(end + 2);
        const data = readData(frame);
        if (data !== "" && data !== "[DONE]") readChunk(parseChunk(data));
      }
    },
    finish() {
      if (state.finish === "") throw new ModelError("stream_interrupted", "The model's answer was cut before its end");
      const calls = [...state.calls.entries()].sort(([a], [b]) => a - b).map(([, call]) => call);
      return { text: state.text, toolCalls: calls, finish: toFinish(state.finish, calls), usage: state.usage };
    },
  };
}

function parseChunk(data: string): z.output<typeof chunkSchema> {
  const parsed = chunkSchema.safeParse(parseJson(data));
  if (!parsed.success) throw new ModelError("upstream_error", "The model's answer is not a Chat Completions stream");
  const { error } = parsed.data;
  if (error) throw new ModelError(error.code || "upstream_error", (error.message ?? "The model failed").slice(0, 2000));
  return parsed.data;
}

function parseJson(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/** The data of one frame; comments and other fields are skipped. */
function readData(frame: string): string {
  return frame
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trimStart())
    .join("\n");
}

const NO_CALL: ModelToolCall = { id: "", name: "", arguments: "" };

function extendCall(before: ModelToolCall, delta: z.output<typeof callDeltaSchema>): ModelToolCall {
  const { name, arguments: args } = delta.function ?? {};
  return {
    id: before.id || (delta.id ?? ""),
    name: bounded(before.name + (name ?? ""), 256),
    arguments: bounded(before.arguments + (args ?? ""), ARGUMENTS_MAX_CHARACTERS),
  };
}

function bounded(text: string, max: number): string {
  if (text.length > max) throw new ModelError("upstream_error", `The model's answer is too large: the limit is ${max}`);
  return text;
}

function toFinish(reason: string, calls: readonly ModelToolCall[]): FinishReason {
  if (reason === "length" || reason === "content_filter") return reason;
  return calls.length > 0 ? "tool_calls" : "stop";
}

function toUsage(usage: z.output<typeof usageSchema>): Usage {
  return {
    input_tokens: usage.prompt_tokens,
    input_tokens_details: { cached_tokens: usage.prompt_tokens_details?.cached_tokens ?? 0 },
    output_tokens: usage.completion_tokens,
    output_tokens_details: { reasoning_tokens: usage.completion_tokens_details?.reasoning_tokens ?? 0 },
    total_tokens: usage.prompt_tokens + usage.completion_tokens,
  };
}
