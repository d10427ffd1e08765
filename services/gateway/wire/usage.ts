import { endOfJsonValue } from "./json-scan.ts";

/** Tokens as a model reported them. */
export interface TokenUsage {
  readonly inputTokens: number;
  /** The part of the input that came from the provider's cache. */
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  /** The part of the output that the model thought and did not say. */
  readonly reasoningTokens: number;
}

/** A larger number is a defect of the upstream, not usage. */
const TOKENS_MAX = 1_000_000_000;
/** Up to here a whole answer is parsed; above, that would block the loop, and the key is searched for from the end. */
const PARSED_BYTES_MAX = 64 * 1024;

const USAGE_KEY = Buffer.from('"usage"');

/** Usage in the form of chat, embeddings (`prompt_tokens`) or Responses (`input_tokens`); nothing if it is no usage. */
export function toTokenUsage(value: unknown): TokenUsage | undefined {
  const inputTokens = count(value, "prompt_tokens") ?? count(value, "input_tokens");
  const outputTokens = outputCount(value);
  if (inputTokens === undefined || outputTokens === undefined) return undefined;
  const details = member(value, "prompt_tokens_details") ?? member(value, "input_tokens_details");
  const outputDetails = member(value, "completion_tokens_details") ?? member(value, "output_tokens_details");
  return {
    inputTokens,
    cachedInputTokens: Math.min(count(details, "cached_tokens") ?? 0, inputTokens),
    outputTokens,
    reasoningTokens: Math.min(count(outputDetails, "reasoning_tokens") ?? 0, outputTokens),
  };
}

/** Embeddings have no output. A number that is there and cannot be one is no zero: what it stands for is estimated. */
function outputCount(value: unknown): number | undefined {
  return toCount(member(value, "completion_tokens") ?? member(value, "output_tokens") ?? 0);
}

/** A whole answer; nothing where it is none, or too large to be parsed. */
export function parseWhole(answer: Buffer): unknown {
  return answer.length <= PARSED_BYTES_MAX ? parse(answer) : undefined;
}

/** The usage of a whole JSON answer, or of its end: `tail` may begin anywhere. */
export function findUsage(tail: Buffer, parsed = parseWhole(tail)): TokenUsage | undefined {
  const field = member(parsed, "usage");
  if (field !== undefined) return toTokenUsage(field);
  for (let at = tail.lastIndexOf(USAGE_KEY); at >= 0; at = at === 0 ? -1 : tail.lastIndexOf(USAGE_KEY, at - 1)) {
    const start = objectAfterKey(tail, at + USAGE_KEY.length);
    const end = start === undefined ? undefined : endOfJsonValue(tail, start);
    const usage = end === undefined ? undefined : toTokenUsage(parse(tail.subarray(start, end)));
    if (usage) return usage;
  }
  return undefined;
}

/** Where the object begins that follows a key ending at `at`; nothing for null or any other value. */
function objectAfterKey(bytes: Buffer, at: number): number | undefined {
  let position = skipSpace(bytes, at);
  if (bytes[position] !== 0x3a) return undefined;
  position = skipSpace(bytes, position + 1);
  return bytes[position] === 0x7b ? position : undefined;
}

/** Four bytes of text are about one token: what is counted where nothing was reported. */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / 4);
}

function skipSpace(bytes: Buffer, at: number): number {
  let position = at;
  while (bytes[position] === 0x20) position += 1;
  return position;
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** A member of an object; nothing of anything else. */
export function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function count(value: unknown, name: string): number | undefined {
  return toCount(member(value, name));
}

function toCount(found: unknown): number | undefined {
  return typeof found === "number" && Number.isInteger(found) && found >= 0 && found <= TOKENS_MAX ? found : undefined;
}
