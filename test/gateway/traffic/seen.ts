import { z } from "zod";

/** What a client can read of an answer: usage as its model told it, and the text of its deltas. */
export interface Seen {
  readonly usage: { readonly inputTokens: number; readonly outputTokens: number } | undefined;
  /** At four bytes a token, as the emulator counts. */
  readonly deltaTokens: number;
}

const usageSchema = z.union([
  z
    .object({ prompt_tokens: z.number(), completion_tokens: z.number().default(0) })
    .transform((usage) => ({ inputTokens: usage.prompt_tokens, outputTokens: usage.completion_tokens })),
  z
    .object({ input_tokens: z.number(), output_tokens: z.number() })
    .transform((usage) => ({ inputTokens: usage.input_tokens, outputTokens: usage.output_tokens })),
]);
const eventSchema = z.object({
  usage: usageSchema.nullish(),
  response: z.object({ usage: usageSchema.nullish() }).nullish(),
  choices: z.array(z.object({ delta: z.object({ content: z.string().nullish() }).nullish() })).nullish(),
  type: z.string().nullish(),
  delta: z.string().nullish(),
});

/** Of a JSON body or a stream, whole or cut off: half an event is none. */
export function readSeen(text: string): Seen {
  const events = text.startsWith("{") ? [text] : dataOf(text);
  let usage: Seen["usage"];
  let bytes = 0;
  for (const data of events) {
    const parsed = eventSchema.safeParse(parse(data));
    if (!parsed.success) continue;
    usage = parsed.data.usage ?? parsed.data.response?.usage ?? usage;
    bytes += Buffer.byteLength(deltaText(parsed.data));
  }
  return { usage, deltaTokens: Math.ceil(bytes / 4) };
}

/** Responses repeat a text when it is done: deltas alone are new. */
function deltaText({ type, delta, choices }: z.output<typeof eventSchema>): string {
  const ofChat = (choices ?? []).map((choice) => choice.delta?.content ?? "").join("");
  return type === "response.output_text.delta" ? `${ofChat}${delta ?? ""}` : ofChat;
}

function dataOf(stream: string): string[] {
  const whole = stream.slice(0, stream.lastIndexOf("\n\n") + 1);
  return whole.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
