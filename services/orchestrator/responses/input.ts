import { z } from "zod";

/**
 * Items that a client may send, as lenient as SDKs need (Open Responses: messages without `type`, content as text or
 * parts, images without `detail`), normalised so that the rest of the code knows one form.
 */
const inputTextSchema = z.object({ type: z.literal("input_text"), text: z.string("must be a string") });
const inputImageSchema = z.object({
  type: z.literal("input_image"),
  image_url: z.string("must be a URL: file ids are not supported"),
  detail: z
    .enum(["low", "high", "auto", "original"], "must be low, high or auto")
    .nullish()
    .transform((detail) => detail ?? "auto"),
});
const outputTextSchema = z.object({ type: z.literal("output_text"), text: z.string("must be a string") });
const refusalSchema = z.object({ type: z.literal("refusal"), refusal: z.string("must be a string") });

const partSchema = z.discriminatedUnion(
  "type",
  [inputTextSchema, inputImageSchema, outputTextSchema, refusalSchema],
  "must be input_text, input_image, output_text or refusal",
);
export type InputPart = z.output<typeof partSchema>;

const PARTS_MAX = 256;
const partsSchema = z.preprocess(
  (content) => (typeof content === "string" ? [{ type: "input_text", text: content }] : content),
  z.array(partSchema, "must be a string or a list of parts").max(PARTS_MAX, `must have at most ${PARTS_MAX} parts`),
);

const messageSchema = z.object({
  type: z.literal("message"),
  role: z.enum(["user", "system", "developer", "assistant"], "must be user, system, developer or assistant"),
  content: partsSchema,
});

const callId = z.string("must be a string").min(1, "must not be empty").max(256, "must have at most 256 characters");

const functionCallSchema = z.object({
  type: z.literal("function_call"),
  call_id: callId,
  name: z.string("must be a string").max(128, "must have at most 128 characters"),
  arguments: z.string("must be a string"),
});

const functionCallOutputSchema = z.object({
  type: z.literal("function_call_output"),
  call_id: callId,
  /** Parts are read for their text. */
  output: partsSchema.transform((parts) => parts.map(partText).join("\n")),
});

/** A tool call of the agent itself, sent back by clients that keep the conversation on their side. */
const mcpCallSchema = z.object({
  type: z.literal("mcp_call"),
  id: callId,
  name: z.string("must be a string").max(128, "must have at most 128 characters"),
  arguments: z.string("must be a string"),
  output: z.string().nullish(),
});

/** Accepted because SDKs send whole outputs back, and not shown to the model. */
const ignoredSchema = z.object({ type: z.enum(["reasoning", "mcp_list_tools", "mcp_approval_request"]) });

export const inputItemSchema = z.preprocess(
  withType,
  z.discriminatedUnion(
    "type",
    [messageSchema, functionCallSchema, functionCallOutputSchema, mcpCallSchema, ignoredSchema],
    "must be message, function_call, function_call_output, mcp_call or reasoning",
  ),
);
export type InputItem = z.output<typeof inputItemSchema>;
export type InputMessage = z.output<typeof messageSchema>;

/** What a part says in words; an image says nothing. */
export function partText(part: InputPart): string {
  if (part.type === "refusal") return part.refusal;
  return part.type === "input_image" ? "" : part.text;
}

function withType(item: unknown): unknown {
  if (typeof item !== "object" || item === null || "type" in item || !("role" in item)) return item;
  return { ...item, type: "message" };
}
