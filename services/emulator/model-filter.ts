import type { Answer } from "./model-script.ts";

/**
 * Azure's filter annotations. Where its filter was down, the content passed and an `error` stands in place of the results: under the
 * documented name `content_filter_results`, or, as people have recorded it in each chunk of streams, under `content_filter_result`.
 */
const FILTER_DOWN = { error: { code: "content_filter_error", message: "The contents are not filtered" } } as const;

/** Where an answer says that the filter was down: the documented place, as streams were recorded, or about the prompt. */
export type FilterFailure = "Results" | "EachChunk" | "Prompt";

/** What `[[content_filter …]]` asks for. */
export const FILTER_FAILURES: Readonly<Record<string, FilterFailure>> = {
  error: "Results",
  error_each_chunk: "EachChunk",
  error_prompt: "Prompt",
};

/** `prompt_filter_results` of chat. */
export function promptFilter(answer: Answer): readonly unknown[] {
  const results = answer.filterFailure === "Prompt" ? FILTER_DOWN : { ...severities(false), ...attacks(false) };
  return [{ prompt_index: 0, content_filter_results: results }];
}

/** What a whole choice of chat, or its last chunk, carries. */
export function choiceFilter(answer: Answer): Record<string, unknown> {
  if (answer.filterFailure === "EachChunk") return { content_filter_result: FILTER_DOWN, content_filter_results: {} };
  return { content_filter_results: answerResults(answer) };
}

/** What each earlier chunk of chat carries. */
export function chunkFilter(answer: Answer): Record<string, unknown> {
  return answer.filterFailure === "EachChunk" ? choiceFilter(answer) : {};
}

/** `content_filters` of a finished response: one entry for the prompt, one for the answer. */
export function responseFilters(answer: Answer): readonly unknown[] {
  const about = (source: "prompt" | "completion", results: unknown, blocked: boolean): unknown => ({
    blocked,
    source_type: source,
    content_filter_results: results,
    content_filter_offsets: { start_offset: 0, end_offset: answer.text.length, check_offset: 0 },
  });
  const prompt = answer.filterFailure === "Prompt" ? FILTER_DOWN : { ...severities(false), ...attacks(false) };
  return [
    about("prompt", prompt, false),
    about("completion", answerResults(answer), answer.finish === "content_filter"),
  ];
}

function answerResults(answer: Answer): unknown {
  const isDown = answer.filterFailure === "Results" || answer.filterFailure === "EachChunk";
  return isDown ? FILTER_DOWN : severities(answer.finish === "content_filter");
}

function severities(filtered: boolean): Record<string, unknown> {
  const safe = { filtered: false, severity: "safe" };
  return { hate: safe, self_harm: safe, sexual: safe, violence: filtered ? { filtered, severity: "medium" } : safe };
}

function attacks(detected: boolean): Record<string, unknown> {
  return { jailbreak: { filtered: detected, detected } };
}

/** Azure's refusal of a filtered prompt. */
export function filteredBody(): Record<string, unknown> {
  return {
    error: {
      message: "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
      type: null,
      param: "prompt",
      code: "content_filter",
      status: 400,
      innererror: {
        code: "ResponsibleAIPolicyViolation",
        content_filter_result: {
          ...severities(true),
          ...attacks(true),
        },
      },
    },
  };
}
