import type { OutputItem, Usage } from "./items.ts";
import type { CreateRequest } from "./request.ts";

export type ResponseStatus = "in_progress" | "completed" | "failed" | "cancelled" | "incomplete";

/** Why a run ended without a whole answer. */
export type IncompleteReason = "max_turns" | "max_tool_calls" | "max_output_tokens" | "content_filter";

/** What the response object is made from: the journaled run. Times in milliseconds since the Unix epoch. */
export interface ResponseSource {
  readonly id: string;
  readonly createdAtMs: number;
  readonly completedAtMs: number | null;
  readonly status: ResponseStatus;
  readonly incompleteReason: IncompleteReason | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** The agent's name. */
  readonly model: string;
  readonly request: CreateRequest;
  readonly output: readonly OutputItem[];
  /** Nothing while the run goes on. */
  readonly usage: Usage | null;
}

/** The `response` object with every field of Open Responses present; what was not asked for has OpenAI's default. */
export function toResponse(source: ResponseSource): Record<string, unknown> {
  const { request } = source;
  return {
    id: source.id,
    object: "response",
    created_at: toSeconds(source.createdAtMs),
    completed_at:
      source.status === "completed" && source.completedAtMs !== null ? toSeconds(source.completedAtMs) : null,
    status: source.status,
    incomplete_details: source.incompleteReason === null ? null : { reason: source.incompleteReason },
    model: source.model,
    previous_response_id: request.previous_response_id,
    instructions: request.instructions,
    output: source.output,
    error: source.error,
    tools: request.tools,
    tool_choice: request.tool_choice,
    truncation: "disabled",
    parallel_tool_calls: request.parallel_tool_calls,
    text: toText(request),
    top_p: request.top_p ?? 1,
    presence_penalty: request.presence_penalty ?? 0,
    frequency_penalty: request.frequency_penalty ?? 0,
    top_logprobs: 0,
    temperature: request.temperature ?? 1,
    reasoning: request.reasoning,
    usage: source.usage,
    max_output_tokens: request.max_output_tokens,
    max_tool_calls: request.max_tool_calls,
    store: request.store,
    background: request.background,
    service_tier: "default",
    metadata: request.metadata,
    safety_identifier: request.safety_identifier,
    prompt_cache_key: request.prompt_cache_key,
  };
}

function toText(request: CreateRequest): Record<string, unknown> {
  const verbosity = request.text?.verbosity ?? null;
  return { format: request.text?.format ?? { type: "text" }, ...(verbosity === null ? {} : { verbosity }) };
}

function toSeconds(ms: number): number {
  return Math.floor(ms / 1000);
}
