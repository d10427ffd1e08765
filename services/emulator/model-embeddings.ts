import { createHash } from "node:crypto";
import { z } from "zod";
import { countTokens, ITEMS_MAX, modelName } from "./model-prompt.ts";

const tokens = z.array(z.int().min(0)).min(1).max(ITEMS_MAX);

/** The body of `POST /embeddings`. */
export const embeddingsSchema = z.looseObject({
  model: modelName,
  input: z.union([
    z.string().min(1),
    z.array(z.string().min(1)).min(1).max(2048),
    tokens,
    z.array(tokens).min(1).max(2048),
  ]),
  dimensions: z.int().min(1).max(3072).nullish(),
  encoding_format: z.enum(["float", "base64"]).nullish(),
});

export type EmbeddingsRequest = z.output<typeof embeddingsSchema>;

const DIMENSIONS = 1536;

/** The answer and its input tokens. */
export function embeddingsAnswer(request: EmbeddingsRequest): { body: Record<string, unknown>; inputTokens: number } {
  const inputs = toInputs(request.input);
  const inputTokens = inputs.reduce((sum, input) => sum + input.tokens, 0);
  const data = inputs.map((input, index) => {
    const vector = embed(input.text, request.dimensions ?? DIMENSIONS);
    const embedding = request.encoding_format === "base64" ? toBase64(vector) : [...vector];
    return { object: "embedding", index, embedding };
  });
  const usage = { prompt_tokens: inputTokens, total_tokens: inputTokens };
  return { body: { object: "list", data, model: request.model, usage }, inputTokens };
}

/** A unit vector from a bag of hashed words: texts that share words lie close, so retrieval has something to find. */
function embed(text: string, dimensions: number): Float32Array {
  const vector = new Float32Array(dimensions);
  for (const word of text.toLowerCase().split(/[^\p{L}\p{N}]+/u)) {
    const hash = createHash("sha256").update(word).digest();
    const place = hash.readUInt32BE(0) % dimensions;
    vector[place] = (vector[place] ?? 0) + ((hash[4] ?? 0) % 2 === 0 ? 1 : -1);
  }
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

function toInputs(input: EmbeddingsRequest["input"]): readonly { text: string; tokens: number }[] {
  if (typeof input === "string") return [fromText(input)];
  const lists: number[][] = [];
  const texts: string[] = [];
  const numbers: number[] = [];
  for (const entry of input) {
    if (typeof entry === "string") texts.push(entry);
    else if (typeof entry === "number") numbers.push(entry);
    else lists.push(entry);
  }
  if (numbers.length > 0) lists.push(numbers);
  return [...texts.map(fromText), ...lists.map((list) => ({ text: list.join(" "), tokens: list.length }))];
}

function fromText(text: string): { text: string; tokens: number } {
  return { text, tokens: countTokens(Buffer.byteLength(text)) };
}

function toBase64(vector: Float32Array): string {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
}
