import { z } from "zod";
import {
  content,
  ITEMS_MAX,
  jsonObject,
  modelName,
  outputLimit,
  toRole,
  type Prompt,
  type ToolChoice,
  type Turn,
} from "./model-prompt.ts";
import type { AnswerMeta } from "./model-answer.ts";
import { responseFilters } from "./model-filter.ts";
import type { Answer } from "./model-script.ts";
import { deltaFrame, splitText, type Frame } from "./model-stream.ts";

const item = z.looseObject({
  type: z.string().nullish(),
  role: z.string().nullish(),
  content: content,
  name: z.string().nullish(),
  arguments: z.string().nullish(),
  output: content,
});

const tool = z.looseObject({
  type: z.string(),
  name: z.string().nullish(),
  description: z.string().nullish(),
  parameters: jsonObject.nullish(),
});

/** The body of `POST /responses`, read as far as the emulator needs it. */
export const responsesSchema = z.looseObject({
  model: modelName,
  input: z.union([z.string(), z.array(item).max(ITEMS_MAX)]),
  instructions: z.string().nullish(),
  previous_response_id: z.string().max(128).nullish(),
  tools: z.array(tool).max(ITEMS_MAX).nullish(),
  tool_choice: z.union([z.enum(["none", "auto", "required"]), z.looseObject({ name: z.string().nullish() })]).nullish(),
  stream: z.boolean().nullish(),
  max_output_tokens: outputLimit,
  text: z
    .looseObject({ format: z.looseObject({ type: z.string(), schema: jsonObject.nullish() }).nullish() })
    .nullish(),
});

export type ResponsesRequest = z.output<typeof responsesSchema>;

/** `earlier` are the turns behind `previous_response_id`; instructions do not carry over. */
export function responsesToPrompt(request: ResponsesRequest, earlier: readonly Turn[]): Prompt {
  const input: readonly Turn[] =
    typeof request.input === "string" ? [{ role: "user", text: request.input }] : request.input.map(toTurn);
  const system: readonly Turn[] = request.instructions ? [{ role: "system", text: request.instructions }] : [];
  const format = request.text?.format;
  const wantsJson = format && format.type !== "text";
  return {
    deployment: request.model,
    turns: [...system, ...earlier, ...input],
    tools: (request.tools ?? []).flatMap((offered) =>
      offered.type === "function" && offered.name
        ? [{ name: offered.name, description: offered.description ?? "", parameters: offered.parameters ?? {} }]
        : [],
    ),
    choice: toChoice(request.tool_choice),
    ...(request.max_output_tokens ? { outputTokensMax: request.max_output_tokens } : {}),
    ...(wantsJson ? { jsonSchema: format.schema ?? { type: "object" } } : {}),
  };
}

function toTurn(input: z.output<typeof item>): Turn {
  if (input.type === "function_call") return { role: "assistant", text: `${input.name ?? ""}${input.arguments ?? ""}` };
  if (input.type === "function_call_output") return { role: "tool", text: input.output };
  // Reasoning and other items that only travel back are part of no turn's text.
  if (input.type && input.type !== "message") return { role: "assistant", text: "" };
  return { role: toRole(input.role ?? "user"), text: input.content };
}

function toChoice(choice: ResponsesRequest["tool_choice"]): ToolChoice {
  if (typeof choice === "string") return { kind: choice };
  return choice?.name ? { kind: "tool", name: choice.name } : { kind: "auto" };
}

/** What the conversation remembers of an answer. */
export function answerTurns(answer: Answer): Turn[] {
  return [
    ...(answer.text === "" ? [] : [{ role: "assistant", text: answer.text } as const]),
    ...answer.calls.map((call) => ({ role: "assistant", text: call.name + call.arguments }) as const),
  ];
}

interface OutputItem {
  readonly id: string;
  readonly type: "reasoning" | "message" | "function_call";
  /** As it stands in the final object. */
  readonly done: Record<string, unknown>;
  /** As `output_item.added` shows it. */
  readonly opened: Record<string, unknown>;
  readonly text: string;
}

interface ResponseEnd {
  readonly status: "in_progress" | "completed" | "incomplete";
  readonly answer?: Answer;
  readonly output?: readonly OutputItem[];
}

/** The response object, every field of the API present. An unfinished one has no output and no usage yet. */
function responseBody(request: ResponsesRequest, meta: AnswerMeta, end: ResponseEnd): Record<string, unknown> {
  const reason = end.answer?.finish === "content_filter" ? "content_filter" : "max_output_tokens";
  return {
    id: meta.id,
    object: "response",
    created_at: meta.createdSeconds,
    completed_at: end.status === "completed" ? meta.createdSeconds : null,
    status: end.status,
    error: null,
    incomplete_details: end.status === "incomplete" ? { reason } : null,
    output: (end.output ?? []).map((entry) => entry.done),
    usage: end.answer ? responseUsage(meta) : null,
    ...(meta.azure ? { content_filters: end.answer ? responseFilters(end.answer) : null } : {}),
    ...requestFields(request),
    ...CONSTANT_FIELDS,
  };
}

/** Fields that repeat the request. */
function requestFields(request: ResponsesRequest): Record<string, unknown> {
  return {
    model: request.model,
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    previous_response_id: request.previous_response_id ?? null,
    text: request.text ?? { format: { type: "text" } },
    tool_choice: request.tool_choice ?? "auto",
    tools: request.tools ?? [],
    metadata: request["metadata"] ?? {},
  };
}

const CONSTANT_FIELDS = {
  background: false,
  max_tool_calls: null,
  parallel_tool_calls: true,
  prompt_cache_key: null,
  reasoning: { effort: null, summary: null },
  safety_identifier: null,
  service_tier: "default",
  store: true,
  temperature: 1,
  top_logprobs: 0,
  top_p: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  truncation: "disabled",
  user: null,
} as const;

/** The whole answer without a stream. */
export function responseAnswer(request: ResponsesRequest, answer: Answer, meta: AnswerMeta): Record<string, unknown> {
  return responseBody(request, meta, { status: statusOf(answer), answer, output: toItems(answer, meta) });
}

/** The events of a streamed answer; `sequence_number` rises strictly, `event:` equals `type`. */
export function* responseFrames(request: ResponsesRequest, answer: Answer, meta: AnswerMeta): Iterable<Frame> {
  let sequence = 0;
  const frame = (type: string, fields: object, delta = ""): Frame =>
    deltaFrame({ type, sequence_number: sequence++, ...fields }, delta, type);
  const begun = responseBody(request, meta, { status: "in_progress" });
  yield frame("response.created", { response: begun });
  yield frame("response.in_progress", { response: begun });
  const items = toItems(answer, meta);
  for (const [index, entry] of items.entries()) yield* itemFrames(entry, { index, frame, answer });
  const status = statusOf(answer);
  yield frame(`response.${status}`, { response: responseBody(request, meta, { status, answer, output: items }) });
}

interface ItemPlace {
  readonly index: number;
  readonly frame: (type: string, fields: object, delta?: string) => Frame;
  readonly answer: Answer;
}

function* itemFrames(entry: OutputItem, { index, frame, answer }: ItemPlace): Iterable<Frame> {
  const at = { item_id: entry.id, output_index: index };
  yield frame("response.output_item.added", { output_index: index, item: entry.opened });
  if (entry.type === "message") {
    const inPart = { ...at, content_index: 0 };
    yield frame("response.content_part.added", { ...inPart, part: textPart("") });
    for (const delta of splitText(entry.text, answer.chunkTokens))
      yield frame("response.output_text.delta", { ...inPart, delta, logprobs: [] }, delta);
    yield frame("response.output_text.done", { ...inPart, text: entry.text, logprobs: [] });
    yield frame("response.content_part.done", { ...inPart, part: textPart(entry.text) });
  }
  if (entry.type === "function_call") {
    for (const delta of splitText(entry.text, answer.chunkTokens))
      yield frame("response.function_call_arguments.delta", { ...at, delta }, delta);
    yield frame("response.function_call_arguments.done", { ...at, name: entry.done["name"], arguments: entry.text });
  }
  yield frame("response.output_item.done", { output_index: index, item: entry.done });
}

function toItems(answer: Answer, meta: AnswerMeta): OutputItem[] {
  const items: OutputItem[] = [];
  if (answer.reasoningTokens > 0) {
    const id = meta.newId("rs_");
    const done = { id, type: "reasoning", summary: [] };
    items.push({ id, type: "reasoning", done, opened: done, text: "" });
  }
  if (answer.text !== "" || answer.calls.length === 0) {
    const id = meta.newId("msg_");
    const base = { id, type: "message", role: "assistant" };
    const status = statusOf(answer);
    const done = { ...base, status, content: [textPart(answer.text)] };
    items.push({
      id,
      type: "message",
      done,
      opened: { ...base, status: "in_progress", content: [] },
      text: answer.text,
    });
  }
  for (const [index, call] of answer.calls.entries()) {
    const id = meta.newId("fc_");
    const base = { id, type: "function_call", call_id: meta.callIds[index] ?? "", name: call.name };
    const done = { ...base, arguments: call.arguments, status: "completed" };
    const opened = { ...base, arguments: "", status: "in_progress" };
    items.push({ id, type: "function_call", done, opened, text: call.arguments });
  }
  return items;
}

function statusOf(answer: Answer): "completed" | "incomplete" {
  return answer.finish === "length" || answer.finish === "content_filter" ? "incomplete" : "completed";
}

function textPart(text: string): Record<string, unknown> {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function responseUsage(meta: AnswerMeta): Record<string, unknown> {
  const { inputTokens, outputTokens, cachedTokens, reasoningTokens } = meta.usage;
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: inputTokens + outputTokens,
  };
}
