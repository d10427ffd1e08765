import { Refusal } from "#core/errors.ts";
import type { ModelOperation } from "../wire/openai.ts";

/** The texts of a request by whose words they are. */
export interface RequestTexts {
  /** What users wrote. */
  readonly prompts: readonly string[];
  /** Tool results, retrieved texts, descriptions of tools: one by one. */
  readonly documents: readonly string[];
}

/** Where a request came from: our orchestrator has written the instructions and the assistant's turns itself. */
export type TextsSource = "client" | "orchestrator";

/** Members that hold no text for a model: names from closed sets, ids, links and bytes in base64. */
export const NO_TEXT: ReadonlySet<string> = new Set([
  "type",
  "role",
  "id",
  "call_id",
  "tool_call_id",
  "status",
  "detail",
  "image_url",
  "file_id",
  "file_url",
  "file_data",
  "input_audio",
  "encrypted_content",
]);
/** Beside the conversation: what a client writes here reaches the model as well. */
export const CLIENT_PROMPTS: readonly string[] = ["instructions", "prompt", "prediction"];
export const CLIENT_DOCUMENTS: readonly string[] = ["functions", "response_format", "text"];
/** What a conversation holds beside messages that a model has written, not a tool. */
const MODEL_ITEMS: ReadonlySet<unknown> = new Set(["function_call", "custom_tool_call", "reasoning"]);

/**
 * All texts that a request brings to a model. Of a client every word is the client's, whatever role it gives it: else an attack would
 * come as the words of the system. Throws Refusal `invalid_json` for a repeated key, of which two readers may see two values.
 */
export function requestTexts(operation: ModelOperation, bytes: Buffer, source: TextsSource): RequestTexts {
  const text = bytes.toString("utf8");
  const body = parse(text);
  if (countKeys(body) !== countColons(text))
    throw new Refusal("invalid_json", "Cannot read the request body as JSON as each key must stand once in its object");
  const prompts: string[] = [];
  const documents: string[] = [];
  const sort = (kind: Kind, value: unknown): void => {
    // One by one: a request may hold more of them than a call takes arguments.
    if (kind === "prompt") for (const each of stringsOf(value)) prompts.push(each);
    if (kind === "document") documents.push(stringsOf(value).join("\n"));
  };
  const conversation = member(body, operation === "chat" ? "messages" : "input");
  const isItems = operation !== "embeddings" && Array.isArray(conversation);
  for (const item of isItems ? conversation : [conversation])
    sort(
      kindOf({ role: member(item, "role"), type: member(item, "type"), isText: typeof item === "string" }, source),
      item,
    );
  const tools = member(body, "tools");
  if (tools !== undefined) documents.push(JSON.stringify(tools));
  if (source === "client") {
    for (const name of CLIENT_PROMPTS) sort("prompt", member(body, name));
    for (const name of CLIENT_DOCUMENTS) sort("document", member(body, name));
  }
  return { prompts: prompts.filter(isSaid), documents: documents.filter(isSaid) };
}

type Kind = "prompt" | "document" | "none";

/** What says whose words a message or another item of a conversation is. */
export interface ItemHead {
  readonly role: unknown;
  readonly type: unknown;
  /** It is no object but a text. */
  readonly isText: boolean;
}

/** Whose words an item is. */
export function kindOf({ role, type, isText }: ItemHead, source: TextsSource): Kind {
  if (role === "tool" || role === "function") return "document";
  if (role === undefined && type !== undefined && type !== "message" && !MODEL_ITEMS.has(type)) return "document";
  return isText || role === "user" || source === "client" ? "prompt" : "none";
}

function stringsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(stringsOf);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => (NO_TEXT.has(name) ? [] : stringsOf(inner)));
}

function isSaid(text: string): boolean {
  return text.trim() !== "";
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Refusal("invalid_json", "Cannot read the request body as JSON", { cause });
  }
}

/** Keys as they were sent: each has a colon behind it, and no other colon stands outside of a string. */
function countColons(text: string): number {
  let colons = 0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) at = endOfString(text, at + 1);
    else if (unit === COLON) colons += 1;
  }
  return colons;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;

/** The quote that ends a string of valid JSON: an even number of backslashes stands before it. */
export function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 1)) {
    let start = at;
    while (text.charCodeAt(start - 1) === BACKSLASH) start -= 1;
    if ((at - start) % 2 === 0) return at;
  }
  return text.length;
}

function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const inner = Object.values(value).reduce((sum: number, each: unknown) => sum + countKeys(each), 0);
  return Array.isArray(value) ? inner : inner + Object.keys(value).length;
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Reflect.get(value, name) : undefined;
}
