import { z } from "zod";

/**
 * Output items of a response, as OpenAI's Responses API and Open Responses know them. Schemas, because the journal
 * gives them back as text.
 */
const outputTextSchema = z.object({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(z.never()),
});
const refusalSchema = z.object({ type: z.literal("refusal"), refusal: z.string() });

const messageItemSchema = z.object({
  id: z.string(),
  type: z.literal("message"),
  role: z.literal("assistant"),
  status: z.enum(["in_progress", "completed", "incomplete"]),
  content: z.array(z.discriminatedUnion("type", [outputTextSchema, refusalSchema])),
});

const functionCallItemSchema = z.object({
  id: z.string(),
  type: z.literal("function_call"),
  call_id: z.string(),
  name: z.string(),
  arguments: z.string(),
  status: z.enum(["in_progress", "completed", "incomplete"]),
});

const mcpCallErrorSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("mcp_tool_execution_error"),
    content: z.array(z.object({ type: z.literal("text"), text: z.string() })),
  }),
  z.object({ type: z.literal("mcp_protocol_error"), code: z.number(), message: z.string() }),
  z.object({ type: z.literal("http_error"), code: z.number(), message: z.string() }),
]);

const mcpCallItemSchema = z.object({
  id: z.string(),
  type: z.literal("mcp_call"),
  server_label: z.string(),
  name: z.string(),
  arguments: z.string(),
  output: z.string().nullable(),
  error: mcpCallErrorSchema.nullable(),
  status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
  /** The item that asked, where a person approved the call. */
  approval_request_id: z.string().nullable(),
});

/** A call that waits for a person; the object that holds the question bears the same digits in its name. */
const mcpApprovalRequestItemSchema = z.object({
  id: z.string(),
  type: z.literal("mcp_approval_request"),
  server_label: z.string(),
  name: z.string(),
  arguments: z.string(),
});

export const outputItemSchema = z.discriminatedUnion("type", [
  messageItemSchema,
  functionCallItemSchema,
  mcpCallItemSchema,
  mcpApprovalRequestItemSchema,
]);
export type OutputItem = z.output<typeof outputItemSchema>;
export type MessageItem = z.output<typeof messageItemSchema>;
export type MessagePart = MessageItem["content"][number];
export type FunctionCallItem = z.output<typeof functionCallItemSchema>;
export type McpCallItem = z.output<typeof mcpCallItemSchema>;
export type McpApprovalRequestItem = z.output<typeof mcpApprovalRequestItemSchema>;
export type McpCallError = z.output<typeof mcpCallErrorSchema>;

/** A text part; annotations and logprobs are never produced here. */
export function toTextPart(text: string): MessagePart {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

/** Tokens summed over a run, in the shape of the Responses API. */
export const usageSchema = z.object({
  input_tokens: z.int(),
  input_tokens_details: z.object({ cached_tokens: z.int() }),
  output_tokens: z.int(),
  output_tokens_details: z.object({ reasoning_tokens: z.int() }),
  total_tokens: z.int(),
});
export type Usage = z.output<typeof usageSchema>;

export const NO_USAGE: Usage = {
  input_tokens: 0,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 0,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 0,
};

export function addUsage(a: Usage, b: Usage): Usage {
  return {
    input_tokens: a.input_tokens + b.input_tokens,
    input_tokens_details: {
      cached_tokens: a.input_tokens_details.cached_tokens + b.input_tokens_details.cached_tokens,
    },
    output_tokens: a.output_tokens + b.output_tokens,
    output_tokens_details: {
      reasoning_tokens: a.output_tokens_details.reasoning_tokens + b.output_tokens_details.reasoning_tokens,
    },
    total_tokens: a.total_tokens + b.total_tokens,
  };
}
