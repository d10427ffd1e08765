import { z } from "zod";

/** One step of a conversation, whatever API it came by. */
export interface Turn {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly text: string;
}

export interface OfferedTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: JsonSchema;
}

/** A JSON schema, read only as far as arguments need it. */
export type JsonSchema = Readonly<Record<string, unknown>>;

export type ToolChoice =
  | { readonly kind: "auto" | "none" | "required" }
  | { readonly kind: "tool"; readonly name: string };

/** A request to the model, free of the API it came by. */
export interface Prompt {
  readonly deployment: string;
  readonly turns: readonly Turn[];
  readonly tools: readonly OfferedTool[];
  readonly choice: ToolChoice;
  /** Nothing: no limit. */
  readonly outputTokensMax?: number;
  /** The answer must be JSON of this schema. */
  readonly jsonSchema?: JsonSchema;
}

/** The emulator's token: four bytes of UTF-8 text, begun ones count whole. */
export function countTokens(bytes: number): number {
  return Math.ceil(bytes / 4);
}

/** Input tokens: texts of all turns and the JSON of all tools. Images count nothing. */
export function countInputTokens(prompt: Prompt): number {
  const texts = prompt.turns.reduce((sum, turn) => sum + Buffer.byteLength(turn.text), 0);
  const tools = prompt.tools.length === 0 ? 0 : Buffer.byteLength(JSON.stringify(prompt.tools));
  return countTokens(texts + tools);
}

export const jsonObject = z.record(z.string(), z.unknown());
const part = z.looseObject({ type: z.string(), text: z.string().nullish(), refusal: z.string().nullish() });

/** `content` of a message: text, or parts of which the text ones are read. */
export const content = z
  .union([z.string(), z.array(part).max(1000)])
  .nullish()
  .transform((value) => {
    if (typeof value === "string") return value;
    return (value ?? []).map((item) => item.text ?? item.refusal ?? "").join("\n");
  });

/** Upper bound of messages, items and tools in one request. */
export const ITEMS_MAX = 10_000;

export const outputLimit = z.int().min(1).max(1_000_000).nullish();
export const modelName = z.string().min(1).max(128);

/** Roles of both APIs as ours. */
export function toRole(role: string): Turn["role"] {
  if (role === "system" || role === "developer") return "system";
  if (role === "assistant") return "assistant";
  return role === "tool" || role === "function" ? "tool" : "user";
}
