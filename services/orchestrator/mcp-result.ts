import {
  type CallToolResult,
  ProtocolError,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { TOOL_USAGE_META } from "#core/tool-usage.ts";
import { wasNotSent } from "./not-sent.ts";
import type { McpCallError } from "./responses/items.ts";

/** What the model reads of one result; the rest is cut and said to be cut. */
export const RESULT_MAX_BYTES = 64 * 1024;
/** One HTTP answer of a tool server. */
const ANSWER_MAX_BYTES = 4 * 1024 * 1024;

/**
 * What became of a call. `NotExecuted`: it cannot have had an effect. `Unknown`: it may have, nobody can tell; only these
 * are repeated, with the same key, where the tool is safe to retry. `usage`: what the result reports as used, unjudged.
 */
export type ToolOutcome =
  | { readonly kind: "Done"; readonly text: string; readonly usage?: unknown }
  | { readonly kind: "Failed"; readonly text: string; readonly error: McpCallError; readonly usage?: unknown }
  | { readonly kind: "NotExecuted"; readonly text: string; readonly error: McpCallError; readonly sessionLost: boolean }
  | { readonly kind: "Unknown"; readonly text: string; readonly error: McpCallError };

/** A result as text for the model: text blocks, structured content where there is no text, a word for the rest. */
export function toOutcome(result: CallToolResult): ToolOutcome {
  const blocks = result.content.map((block) => (block.type === "text" ? block.text : `[${block.type} omitted]`));
  const joined = blocks.join("\n");
  const text = cutText(joined === "" ? toJson(result.structuredContent) : joined);
  const reported = result._meta?.[TOOL_USAGE_META];
  const usage = reported === undefined ? {} : { usage: reported };
  if (result.isError !== true) return { kind: "Done", text, ...usage };
  return { kind: "Failed", text, error: toExecutionError(text), ...usage };
}

/** The error of a tool that ran, or of one that was refused, in OpenAI's shape. */
export function toExecutionError(text: string): McpCallError {
  return { type: "mcp_tool_execution_error", content: [{ type: "text", text }] };
}

/** Cuts at RESULT_MAX_BYTES of UTF-8, never inside a character, and says so. */
export function cutText(text: string): string {
  const bytes = Buffer.byteLength(text);
  if (bytes <= RESULT_MAX_BYTES) return text;
  let kept = Buffer.from(text).subarray(0, RESULT_MAX_BYTES).toString("utf8");
  while (kept.endsWith("\uFFFD")) kept = kept.slice(0, -1);
  return `${kept}\n[truncated: the first ${Buffer.byteLength(kept)} of ${bytes} bytes are shown]`;
}

/** What a thrown error says about the effect of the call. When in doubt: Unknown. */
export function classifyFailure(error: unknown): Exclude<ToolOutcome, { kind: "Done" }> {
  if (error instanceof ProtocolError) {
    const message = cutText(error.message);
    return { kind: "Failed", text: message, error: { type: "mcp_protocol_error", code: error.code, message } };
  }
  if (error instanceof SdkHttpError) return classifyStatus(error.status);
  if (error instanceof UnauthorizedError) return classifyStatus(401);
  if (error instanceof SdkError && error.code === SdkErrorCode.UnsupportedResultType) {
    const text = "The tool asks for further input, which is not supported in this version";
    return { kind: "Failed", text, error: toExecutionError(text) };
  }
  if (wasNotSent(error)) {
    const text = "The tool server cannot be reached";
    return { kind: "NotExecuted", text, error: { type: "http_error", code: 503, message: text }, sessionLost: false };
  }
  const timedOut = error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout;
  const text = timedOut ? "The tool did not answer in time" : "The connection to the tool server broke";
  return { kind: "Unknown", text, error: { type: "http_error", code: timedOut ? 504 : 502, message: text } };
}

function classifyStatus(status: number): Exclude<ToolOutcome, { kind: "Done" }> {
  const text = `The tool server answered with status ${status}`;
  const error: McpCallError = { type: "http_error", code: status, message: text };
  if (status >= 400 && status < 500) return { kind: "NotExecuted", text, error, sessionLost: status === 404 };
  return { kind: "Unknown", text, error };
}

function toJson(value: unknown): string {
  return value === undefined ? "" : (JSON.stringify(value) ?? "");
}

/**
 * fetch that gives up on an answer of more than 4 MiB, so that a tool server cannot fill the pod's memory. Each request has
 * a connection of its own: a kept one may have died unseen, and then nobody could tell whether the call had left.
 */
export const boundedFetch: typeof fetch = async (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set("connection", "close");
  const response = await fetch(input, { ...init, headers });
  if (!response.body) return response;
  let size = 0;
  const limited = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        size += chunk.byteLength;
        if (size > ANSWER_MAX_BYTES) controller.error(new Error(`The answer is larger than ${ANSWER_MAX_BYTES} bytes`));
        else controller.enqueue(chunk);
      },
    }),
  );
  return new Response(limited, { status: response.status, statusText: response.statusText, headers: response.headers });
};
