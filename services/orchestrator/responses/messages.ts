import { Refusal } from "#core/errors.ts";
import type { InputItem, InputMessage, InputPart } from "./input.ts";
import { partText } from "./input.ts";
import type { OutputItem } from "./items.ts";

/** A call that the model asked for, in the words of Chat Completions. */
interface ChatToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

type ChatPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string; readonly detail: string } };

/** One message to the model. */
export type ChatMessage =
  | { readonly role: "system"; readonly content: string }
  | { readonly role: "user"; readonly content: string | readonly ChatPart[] }
  | {
      readonly role: "assistant";
      readonly content: string | null;
      readonly tool_calls?: readonly ChatToolCall[];
    }
  | { readonly role: "tool"; readonly tool_call_id: string; readonly content: string };

/** An earlier or present exchange: what came in, and what went out. */
export type ConversationItem = InputItem | OutputItem;

/** The name of a function as the model knows it. */
export type OfferedName = (call: { readonly server: string; readonly name: string }) => string;

/**
 * Items of a conversation as chat messages. Calls that follow one another become one assistant message, and their
 * results follow it at once, as Chat Completions demands. Throws Refusal invalid_value for a call without an output.
 */
export function toMessages(items: readonly ConversationItem[], offeredName: OfferedName): ChatMessage[] {
  const outputs = collectOutputs(items);
  const messages: ChatMessage[] = [];
  let calls: { call: ChatToolCall; output: string }[] = [];
  const flush = (): void => {
    if (calls.length === 0) return;
    messages.push({ role: "assistant", content: null, tool_calls: calls.map(({ call }) => call) });
    for (const { call, output } of calls) messages.push({ role: "tool", tool_call_id: call.id, content: output });
    calls = [];
  };
  for (const item of items) {
    const call = toCall(item, offeredName);
    if (call) calls.push({ call, output: outputOf(item, outputs) });
    if (item.type !== "message") continue;
    flush();
    messages.push(toMessage(item));
  }
  flush();
  return messages;
}

function collectOutputs(items: readonly ConversationItem[]): Map<string, string> {
  const calls = new Set(items.flatMap((item) => (item.type === "function_call" ? [item.call_id] : [])));
  const outputs = new Map<string, string>();
  for (const item of items) {
    if (item.type !== "function_call_output") continue;
    if (!calls.has(item.call_id))
      throw refuse(`call_id of a function_call_output must name a function_call`, item.call_id);
    outputs.set(item.call_id, item.output);
  }
  return outputs;
}

function outputOf(item: ConversationItem, outputs: ReadonlyMap<string, string>): string {
  if (item.type === "mcp_call") return mcpOutput(item);
  if (item.type !== "function_call") return "";
  const output = outputs.get(item.call_id);
  if (output === undefined) throw refuse(`each function_call must have a function_call_output`, item.call_id);
  return output;
}

function mcpOutput(item: Extract<ConversationItem, { type: "mcp_call" }>): string {
  if (item.output !== null && item.output !== undefined) return item.output;
  const error = "error" in item ? item.error : null;
  if (!error) return "";
  return error.type === "mcp_tool_execution_error" ? error.content.map((part) => part.text).join("\n") : error.message;
}

function toCall(item: ConversationItem, offeredName: OfferedName): ChatToolCall | undefined {
  if (item.type === "function_call")
    return { id: item.call_id, type: "function", function: { name: item.name, arguments: item.arguments } };
  if (item.type !== "mcp_call") return undefined;
  const server = "server_label" in item ? item.server_label : "";
  const name = offeredName({ server, name: item.name });
  return { id: item.id, type: "function", function: { name, arguments: item.arguments } };
}

function toMessage(item: InputMessage | Extract<OutputItem, { type: "message" }>): ChatMessage {
  if (item.role === "assistant") return { role: "assistant", content: item.content.map(partText).join("") };
  if (item.role === "user") return { role: "user", content: toContent(item.content) };
  return { role: "system", content: item.content.map(partText).join("\n") };
}

/** Plain text where it is one, since not every model takes parts. */
function toContent(parts: readonly InputPart[]): string | readonly ChatPart[] {
  if (parts.every((part) => part.type !== "input_image")) return parts.map(partText).join("\n");
  return parts.map((part) =>
    part.type === "input_image"
      ? { type: "image_url", image_url: { url: part.image_url, detail: part.detail } }
      : { type: "text", text: partText(part) },
  );
}

function refuse(rule: string, value: string): Refusal {
  const message = `Cannot create the response as ${rule}: current value is ${JSON.stringify(value.slice(0, 80))}`;
  return new Refusal("invalid_value", message, { param: "input" });
}
