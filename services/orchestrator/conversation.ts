import { Refusal } from "#core/errors.ts";
import type { OrchestratorConfig } from "#core/api/pod-config.ts";
import type { ChatMessage, ConversationItem } from "./responses/messages.ts";
import type { CreateRequest } from "./responses/request.ts";
import type { Journal, RunRecord, Turn } from "./store/journal.ts";
import type { Toolbox } from "./tools.ts";

/** Responses that one conversation may be long. */
const CHAIN_MAX = 200;
/** Characters of a whole conversation as JSON. */
const CONVERSATION_MAX_CHARACTERS = 16 * 1024 * 1024;

/** The run that a request goes on from. Throws Refusal: unknown or another principal's is 404, one in progress 409. */
function findPrevious(journal: Journal, principal: string, id: string): RunRecord {
  const previous = journal.run(id);
  if (previous?.principal !== principal || !previous.request.store) {
    const message = `Cannot find the previous response as previous_response_id must name a stored response: current value is ${JSON.stringify(id)}`;
    throw new Refusal("response_not_found", message, { param: "previous_response_id" });
  }
  if (previous.status === "in_progress")
    throw new Refusal("conflict", `Cannot go on from response ${id} as it is still in progress`, {
      param: "previous_response_id",
    });
  return previous;
}

/**
 * Earlier input, earlier output, new input, oldest first; instructions do not carry over (orchestrator.md, 3). Throws
 * Refusal when a link is missing or the conversation is too long.
 */
export function collectConversation(journal: Journal, principal: string, request: CreateRequest): ConversationItem[] {
  let items: ConversationItem[] = [...request.input];
  let size = JSON.stringify(items).length;
  let previousId = request.previous_response_id;
  for (let length = 0; previousId !== null; length += 1) {
    const previous = findPrevious(journal, principal, previousId);
    const earlier: ConversationItem[] = [...previous.request.input, ...journal.output(previous.id)];
    size += JSON.stringify(earlier).length;
    if (length >= CHAIN_MAX || size > CONVERSATION_MAX_CHARACTERS)
      throw new Refusal(
        "invalid_value",
        `Cannot create the response as the conversation must have at most ${CHAIN_MAX} responses and ${CONVERSATION_MAX_CHARACTERS} characters`,
        { param: "previous_response_id" },
      );
    items = [...earlier, ...items];
    previousId = previous.request.previous_response_id;
  }
  return items;
}

/** What the model said in this run, and what it got for it. */
export function turnMessages(turns: readonly Turn[]): ChatMessage[] {
  return turns.flatMap((turn): ChatMessage[] => {
    const calls = turn.calls.map((call) => ({
      id: call.callId,
      type: "function" as const,
      function: { name: call.name, arguments: call.arguments },
    }));
    const results = turn.calls.map((call) => ({
      role: "tool" as const,
      tool_call_id: call.callId,
      content: call.result ?? "",
    }));
    const content = turn.text === "" && calls.length > 0 ? null : turn.text;
    return [{ role: "assistant", content, ...(calls.length > 0 ? { tool_calls: calls } : {}) }, ...results];
  });
}

/** The body of a Chat Completions request for the next turn. */
export function toModelBody(
  request: CreateRequest,
  options: {
    readonly config: OrchestratorConfig;
    readonly toolbox: Toolbox;
    readonly messages: readonly ChatMessage[];
    /** A forced choice holds for the first turn alone, or the loop would never end. */
    readonly isFirstTurn: boolean;
  },
): Record<string, unknown> {
  const { config, toolbox, messages } = options;
  const instructions = [config.instructions, request.instructions ?? ""].filter((text) => text.trim() !== "");
  const offers = request.tool_choice === "none" ? [] : toolbox.offers;
  return dropNulls({
    model: config.model,
    messages: [...instructions.map((content) => ({ role: "system", content })), ...messages],
    ...(offers.length > 0 ? toToolFields(request, offers, options.isFirstTurn) : {}),
    temperature: request.temperature,
    top_p: request.top_p,
    presence_penalty: request.presence_penalty,
    frequency_penalty: request.frequency_penalty,
    max_completion_tokens: request.max_output_tokens,
    reasoning_effort: request.reasoning?.effort ?? null,
    verbosity: request.text?.verbosity ?? null,
    response_format: toResponseFormat(request),
    prompt_cache_key: request.prompt_cache_key,
  });
}

function toToolFields(
  request: CreateRequest,
  offers: readonly unknown[],
  isFirstTurn: boolean,
): Record<string, unknown> {
  return {
    tools: offers,
    tool_choice: toChoice(request, isFirstTurn),
    parallel_tool_calls: request.parallel_tool_calls ? null : false,
  };
}

function toChoice(request: CreateRequest, isFirstTurn: boolean): unknown {
  const choice = request.tool_choice;
  if (!isFirstTurn || choice === "auto" || choice === "none") return null;
  if (choice === "required") return "required";
  if (choice.type === "function") return { type: "function", function: { name: choice.name } };
  return choice.mode === "required" ? "required" : null;
}

function toResponseFormat(request: CreateRequest): unknown {
  const format = request.text?.format;
  if (!format || format.type === "text") return null;
  if (format.type === "json_object") return { type: "json_object" };
  const { type, ...schema } = format;
  return { type, json_schema: dropNulls(schema) };
}

function dropNulls(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
}
