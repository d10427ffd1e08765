import { Refusal } from "#core/errors.ts";
import { type JsonField, type JsonScan, scanJsonObject } from "./json-scan.ts";

/** What a caller wants of a model, read from the body without parsing it (Azure OpenAI v1 and OpenAI share the shape). */
export type ModelOperation = "chat" | "responses" | "embeddings";

/** A body with the fields that decide something; all else passes as it came. */
export interface OpenAIRequest {
  readonly bytes: Buffer;
  /** Nothing when absent: only the agent's face allows that. */
  readonly model: string | undefined;
  readonly stream: boolean;
  readonly fields: ReadonlyMap<string, JsonField>;
  readonly insertAt: number;
  readonly isEmpty: boolean;
  readonly textBytes: number;
  /** A key whose content is not text in the body, wherever it stands: what it costs nobody can tell beforehand. */
  readonly unboundedKey: string | undefined;
}

/** A body ready for one deployment. */
export interface UpstreamBody {
  readonly bytes: Buffer;
  /** We asked for usage in the client's stead: the extra chunk must not reach it. */
  readonly usageInjected: boolean;
}

const FIELDS = new Set([
  "model",
  "stream",
  "stream_options",
  "background",
  "n",
  "max_tokens",
  "max_completion_tokens",
  "max_output_tokens",
]);

const UNBOUNDED = new Set([
  "image_url",
  "input_audio",
  "file_id",
  "file_data",
  "file_url",
  "previous_response_id",
  "conversation",
  "prompt",
]);

const CAPS: Readonly<Record<ModelOperation, readonly string[]>> = {
  chat: ["max_completion_tokens", "max_tokens"],
  responses: ["max_output_tokens"],
  embeddings: [],
};

/** Choices of one request: each multiplies the output cap. */
const CHOICES_MAX = 128;
const NAME_CHARACTERS_MAX = 256;

/** Reads a body. Throws Refusal `invalid_json` or `invalid_value`, naming the field and what is allowed. */
export function parseRequest(bytes: Buffer): OpenAIRequest {
  const scan = scanJsonObject(bytes, FIELDS, UNBOUNDED);
  if (!scan.ok) throw new Refusal("invalid_json", `Cannot read the request body as JSON as ${scan.problem}`);
  for (const [name, field] of scan.fields)
    if (field.repeated)
      throw new Refusal("invalid_value", `Cannot accept the request as ${name} must stand in it once`, { param: name });
  const model = readModel(bytes, scan);
  const stream = readBoolean(bytes, scan, "stream");
  return {
    bytes,
    model,
    stream,
    fields: scan.fields,
    insertAt: scan.insertAt,
    isEmpty: scan.isEmpty,
    textBytes: scan.textBytes,
    unboundedKey: scan.watchedKey,
  };
}

/** The checks of a call to a model, beyond what its upstream checks: what would go uncounted or unbounded. */
export function checkModelRequest(operation: ModelOperation, request: OpenAIRequest): void {
  for (const name of CAPS[operation]) checkInteger(request, name, Number.MAX_SAFE_INTEGER);
  checkInteger(request, "n", CHOICES_MAX);
  const options = request.fields.get("stream_options");
  if (options && options.kind !== "object" && options.kind !== "null")
    throw invalid("stream_options", "an object", textOf(request.bytes, options));
  if (operation === "responses" && readBoolean(request.bytes, { fields: request.fields }, "background"))
    throw new Refusal(
      "unsupported_parameter",
      "Cannot run a model in the background as its usage could not be counted: background must be false",
      { param: "background" },
    );
}

/**
 * The body for a deployment: its own name of the model, the alias' output cap where the client set none (else nothing
 * bounds the answer), and usage at the end of a chat stream. By splice: no other byte changes.
 */
export function toUpstreamBody(
  operation: ModelOperation,
  request: OpenAIRequest,
  deployment: { readonly model: string; readonly outputTokensMax: number },
): UpstreamBody {
  const edits: Edit[] = [];
  const put = (name: string, text: string): void => {
    const field = request.fields.get(name);
    if (field) edits.push({ start: field.start, end: field.end, text });
    else
      edits.push({
        start: request.insertAt,
        end: request.insertAt,
        text: `"${name}":${text}${request.isEmpty ? "" : ","}`,
      });
  };
  if (request.model !== deployment.model) put("model", JSON.stringify(deployment.model));
  const [cap] = CAPS[operation];
  if (cap !== undefined && CAPS[operation].every((name) => isAbsent(request.fields.get(name))))
    put(cap, String(deployment.outputTokensMax));
  const streamOptions = operation === "chat" && request.stream ? withUsage(request) : undefined;
  if (streamOptions !== undefined) put("stream_options", streamOptions);
  return { bytes: splice(request.bytes, edits), usageInjected: streamOptions !== undefined };
}

/** The most output tokens that an answer can have: the request's cap, else the alias', for each of its choices. */
export function outputCap(operation: ModelOperation, request: OpenAIRequest, aliasMax: number): number {
  if (CAPS[operation].length === 0) return 0;
  const caps = CAPS[operation].flatMap((name) => readNumber(request, name) ?? []);
  return Math.max(...(caps.length > 0 ? caps : [aliasMax])) * (readNumber(request, "n") ?? 1);
}

/** Checked before. */
function readNumber(request: OpenAIRequest, name: string): number | undefined {
  const field = request.fields.get(name);
  return isAbsent(field) ? undefined : Number(textOf(request.bytes, field));
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

function splice(bytes: Buffer, edits: Edit[]): Buffer {
  if (edits.length === 0) return bytes;
  const added = edits.reduce((sum, edit) => sum + Buffer.byteLength(edit.text) - (edit.end - edit.start), 0);
  const spliced = Buffer.allocUnsafe(bytes.length + added);
  let from = 0;
  let to = 0;
  for (const edit of edits.sort((a, b) => a.start - b.start)) {
    to += bytes.copy(spliced, to, from, edit.start);
    to += spliced.write(edit.text, to);
    from = edit.end;
  }
  bytes.copy(spliced, to, from);
  return spliced;
}

/** The new value of stream_options, or nothing when the client itself asked for usage. */
function withUsage(request: OpenAIRequest): string | undefined {
  const field = request.fields.get("stream_options");
  if (field === undefined || field.kind !== "object") return '{"include_usage":true}';
  const options: unknown = JSON.parse(textOf(request.bytes, field));
  if (typeof options !== "object" || options === null) return '{"include_usage":true}';
  if ("include_usage" in options && options.include_usage === true) return undefined;
  return JSON.stringify({ ...options, include_usage: true });
}

function readModel(bytes: Buffer, scan: FieldsOf): string | undefined {
  const field = scan.fields.get("model");
  if (isAbsent(field)) return undefined;
  if (field.kind !== "string") throw invalid("model", "a string", textOf(bytes, field));
  const model: unknown = JSON.parse(textOf(bytes, field));
  if (typeof model !== "string" || model.length === 0 || model.length > NAME_CHARACTERS_MAX)
    throw invalid("model", `a string of 1 to ${NAME_CHARACTERS_MAX} characters`, textOf(bytes, field));
  return model;
}

function readBoolean(bytes: Buffer, scan: FieldsOf, name: string): boolean {
  const field = scan.fields.get(name);
  if (isAbsent(field)) return false;
  if (field.kind !== "boolean") throw invalid(name, "true or false", textOf(bytes, field));
  return bytes[field.start] === 0x74;
}

function checkInteger(request: OpenAIRequest, name: string, max: number): void {
  const field = request.fields.get(name);
  if (isAbsent(field)) return;
  const value = field.kind === "number" ? Number(textOf(request.bytes, field)) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= 1 && value <= max) return;
  const allowed = max === CHOICES_MAX ? `an integer from 1 to ${max}` : "an integer of at least 1";
  throw invalid(name, allowed, textOf(request.bytes, field));
}

type FieldsOf = Pick<Extract<JsonScan, { ok: true }>, "fields">;

function isAbsent(field: JsonField | undefined): field is undefined {
  return field === undefined || field.kind === "null";
}

function invalid(name: string, allowed: string, text: string): Refusal {
  const shown = text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX)}…` : text;
  const message = `Cannot accept the request as ${name} must be ${allowed}: current value is ${shown}`;
  return new Refusal("invalid_value", message, { param: name });
}

const VALUE_CHARACTERS_MAX = 64;

function textOf(bytes: Buffer, field: JsonField): string {
  return bytes.toString("utf8", field.start, field.end);
}
