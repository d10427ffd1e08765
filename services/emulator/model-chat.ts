import { z } from "zod";
import {
  content,
  ITEMS_MAX,
  jsonObject,
  modelName,
  outputLimit,
  toRole,
  type OfferedTool,
  type Prompt,
  type ToolChoice,
} from "./model-prompt.ts";
import { choiceFilter, chunkFilter, promptFilter } from "./model-filter.ts";
import type { Answer } from "./model-script.ts";
import { deltaFrame, splitText, type Frame } from "./model-stream.ts";
import type { AnswerMeta } from "./model-answer.ts";

const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content,
  tool_calls: z
    .array(z.looseObject({ function: z.looseObject({ name: z.string(), arguments: z.string() }).nullish() }))
    .nullish(),
});

/** The body of `POST /chat/completions`, read as far as the emulator needs it. */
export const chatSchema = z.looseObject({
  model: modelName,
  messages: z.array(message).min(1).max(ITEMS_MAX),
  tools: z
    .array(
      z.looseObject({
        type: z.string(),
        function: z
          .looseObject({ name: z.string(), description: z.string().nullish(), parameters: jsonObject.nullish() })
          .nullish(),
      }),
    )
    .max(ITEMS_MAX)
    .nullish(),
  tool_choice: z
    .union([z.enum(["none", "auto", "required"]), z.looseObject({ function: z.looseObject({ name: z.string() }) })])
    .nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  n: z.int().min(1).max(8).nullish(),
  max_tokens: outputLimit,
  max_completion_tokens: outputLimit,
  response_format: z
    .looseObject({ type: z.string(), json_schema: z.looseObject({ schema: jsonObject.nullish() }).nullish() })
    .nullish(),
});

export type ChatRequest = z.output<typeof chatSchema>;

export function chatToPrompt(request: ChatRequest): Prompt {
  const limit = request.max_completion_tokens ?? request.max_tokens;
  return {
    deployment: request.model,
    turns: request.messages.map((item) => {
      const calls = (item.tool_calls ?? []).map(
        (call) => `${call.function?.name ?? ""}${call.function?.arguments ?? ""}`,
      );
      return { role: toRole(item.role), text: [item.content, ...calls].join("") };
    }),
    tools: (request.tools ?? []).flatMap((tool) => toTool(tool.function)),
    choice: toChoice(request.tool_choice),
    ...(limit ? { outputTokensMax: limit } : {}),
    ...toJsonSchema(request.response_format),
  };
}

function toTool(
  tool:
    | {
        name: string;
        description?: string | null | undefined;
        parameters?: OfferedTool["parameters"] | null | undefined;
      }
    | null
    | undefined,
): OfferedTool[] {
  return tool ? [{ name: tool.name, description: tool.description ?? "", parameters: tool.parameters ?? {} }] : [];
}

function toChoice(choice: ChatRequest["tool_choice"]): ToolChoice {
  if (choice === null || choice === undefined) return { kind: "auto" };
  return typeof choice === "string" ? { kind: choice } : { kind: "tool", name: choice.function.name };
}

function toJsonSchema(format: ChatRequest["response_format"]): Pick<Prompt, "jsonSchema"> {
  if (!format || format.type === "text") return {};
  return { jsonSchema: format.json_schema?.schema ?? { type: "object" } };
}

/** The body of an answer without a stream. */
export function chatBody(request: ChatRequest, answer: Answer, meta: AnswerMeta): Record<string, unknown> {
  const calls = answer.calls.map((call, index) => ({
    id: meta.callIds[index] ?? "",
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  const choice = {
    finish_reason: answer.finish,
    logprobs: null,
    message: {
      role: "assistant",
      content: calls.length > 0 && answer.text === "" ? null : answer.text,
      refusal: null,
      annotations: [],
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    },
    ...(meta.azure ? choiceFilter(answer) : {}),
  };
  return {
    id: meta.id,
    object: "chat.completion",
    created: meta.createdSeconds,
    model: request.model,
    system_fingerprint: "fp_emulator",
    ...(meta.azure ? { prompt_filter_results: promptFilter(answer) } : {}),
    choices: Array.from({ length: request.n ?? 1 }, (_, index) => ({ index, ...choice })),
    usage: chatUsage(meta),
  };
}

/** The frames of a streamed answer: Azure's prompt annotations, role, deltas, finish, usage only if asked, `[DONE]`. */
export function* chatFrames(request: ChatRequest, answer: Answer, meta: AnswerMeta): Iterable<Frame> {
  const withUsage = request.stream_options?.include_usage === true;
  const chunk = (choices: readonly unknown[], rest: object = {}): Record<string, unknown> => ({
    id: meta.id,
    object: "chat.completion.chunk",
    created: meta.createdSeconds,
    model: request.model,
    system_fingerprint: "fp_emulator",
    choices,
    ...(withUsage ? { usage: null } : {}),
    ...rest,
  });
  if (meta.azure) yield deltaFrame(chunk([], { prompt_filter_results: promptFilter(answer) }), "");
  const inChunks = meta.azure ? chunkFilter(answer) : {};
  const atEnd = meta.azure ? choiceFilter(answer) : {};
  for (let index = 0; index < (request.n ?? 1); index += 1) {
    const choice = (delta: object, finish: string | null = null, rest: object = inChunks): Record<string, unknown> =>
      chunk([{ index, delta, logprobs: null, finish_reason: finish, ...rest }]);
    yield deltaFrame(choice({ role: "assistant", content: answer.calls.length > 0 ? null : "", refusal: null }), "");
    for (const piece of splitText(answer.text, answer.chunkTokens)) yield deltaFrame(choice({ content: piece }), piece);
    yield* callFrames(answer, meta, choice);
    yield deltaFrame(choice({}, answer.finish, atEnd), "");
  }
  if (withUsage) yield deltaFrame(chunk([], { usage: chatUsage(meta) }), "");
  yield { data: "[DONE]", deltaBytes: 0 };
}

function* callFrames(answer: Answer, meta: AnswerMeta, choice: (delta: object) => unknown): Iterable<Frame> {
  for (const [index, call] of answer.calls.entries()) {
    const opened = {
      index,
      id: meta.callIds[index] ?? "",
      type: "function",
      function: { name: call.name, arguments: "" },
    };
    yield deltaFrame(choice({ tool_calls: [opened] }), call.name);
    for (const piece of splitText(call.arguments, answer.chunkTokens))
      yield deltaFrame(choice({ tool_calls: [{ index, function: { arguments: piece } }] }), piece);
  }
}

function chatUsage(meta: AnswerMeta): Record<string, unknown> {
  const { inputTokens, outputTokens, cachedTokens, reasoningTokens } = meta.usage;
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}
