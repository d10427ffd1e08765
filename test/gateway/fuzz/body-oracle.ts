export type Json = Readonly<Record<string, unknown>>;

/** A body as the strictest reading has it: UTF-8 without a byte order mark, one JSON object, at most 128 deep. */
export type Reading = { readonly ok: true; readonly value: Json; readonly text: string } | { readonly ok: false };

const DEPTH_MAX = 128;

export function readStrictly(body: Buffer): Reading {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
    const value: unknown = JSON.parse(text);
    if (!isObject(value) || depthOf(text) > DEPTH_MAX) return { ok: false };
    return { ok: true, value, text };
  } catch {
    return { ok: false };
  }
}

const CAPS: Readonly<Record<string, readonly string[]>> = {
  "chat/completions": ["max_completion_tokens", "max_tokens"],
  responses: ["max_output_tokens"],
  embeddings: [],
};
const UNBOUNDED = ["image_url", "input_audio", "file_id", "file_data", "file_url", "previous_response_id"];
const UNBOUNDED_TOO = ["conversation", "prompt"];
const ONCE = ["model", "stream", "stream_options", "background", "n", "max_tokens"];
const ONCE_TOO = ["max_completion_tokens", "max_output_tokens"];
/** From here on a cap may exceed a rate or a ceiling of the fuzzed gateway. */
const LARGE_CAP = 1e8;

/** What a request may come to, by rules that know nothing of the code under test. */
export function expectedCodes(operation: string, read: Reading): readonly string[] {
  if (!read.ok) return ["invalid_json"];
  const { value, text } = read;
  if ([...ONCE, ...ONCE_TOO].some((key) => isRepeated(text, key)) || !isReadable(value)) return ["invalid_value"];
  // Guardrails read what nobody else does: of a repeated key two readers may see two values.
  const repeated = countKeys(text) === keysOf(value) ? [] : ["invalid_json"];
  if (isForAgent(operation, value)) return [...repeated, "ok"];
  if (!isSet(value["model"])) return ["invalid_value"];
  if (value["model"] !== "gpt") return ["model_not_found"];
  const problems = RULES.flatMap(([code, isBroken]) => (isBroken(operation, value) ? [code] : []));
  return problems.length > 0 ? problems : [...repeated, "ok", ...limitsOf(operation, value)];
}

function limitsOf(operation: string, value: Json): string[] {
  const caps = (CAPS[operation] ?? []).map((name) => Number(value[name] ?? 0) * Number(value["n"] ?? 1));
  return caps.some((cap) => cap > LARGE_CAP) ? ["rate_limit_exceeded", "hard_limit_reached"] : [];
}

/** Responses without a model's name go to the agent, as they are. */
export function isForAgent(operation: string, { model }: Json): boolean {
  return operation === "responses" && (model ?? "orders") === "orders";
}

/** What every route reads. */
function isReadable({ model, stream }: Json): boolean {
  const isName = typeof model === "string" && model.length >= 1 && model.length <= 256;
  return (!isSet(model) || isName) && (!isSet(stream) || typeof stream === "boolean");
}

/** What a call of a model may not hold. */
const RULES: readonly (readonly [string, (operation: string, value: Json) => boolean])[] = [
  [
    "invalid_value",
    (operation, value) => (CAPS[operation] ?? []).some((name) => !isCount(value[name], Number.MAX_SAFE_INTEGER)),
  ],
  ["invalid_value", (_, value) => !isCount(value["n"], 128)],
  ["invalid_value", (_, value) => isSet(value["stream_options"]) && !isObject(value["stream_options"])],
  [
    "invalid_value",
    (operation, { background }) => operation === "responses" && isSet(background) && typeof background !== "boolean",
  ],
  ["unsupported_parameter", (operation, { background }) => operation === "responses" && background === true],
  ["unsupported_parameter", (_, value) => hasKey(value, [...UNBOUNDED, ...UNBOUNDED_TOO])],
];

/** Or absent. */
function isCount(found: unknown, max: number): boolean {
  return !isSet(found) || (typeof found === "number" && Number.isSafeInteger(found) && found >= 1 && found <= max);
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasKey(value: unknown, names: readonly string[]): boolean {
  if (Array.isArray(value)) return value.some((each) => hasKey(each, names));
  if (!isObject(value)) return false;
  return Object.entries(value).some(([key, each]) => names.includes(key) || hasKey(each, names));
}

/** Keys as they stand in a text that is JSON. */
function countKeys(text: string): number {
  return [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter((match) => match[1] !== undefined).length;
}

/** Keys as they are left when it is read. */
function keysOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const inner = Object.values(value).reduce((sum: number, each) => sum + keysOf(each), 0);
  return inner + (Array.isArray(value) ? 0 : Object.keys(value).length);
}

/** Brackets outside of strings, in a text that is JSON. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (token === "{" || token === "[") depth += 1;
    if (token === "}" || token === "]") depth -= 1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** Whether a key of the outermost object stands in it twice: JSON.parse keeps but the last. */
function isRepeated(text: string, key: string): boolean {
  let count = 0;
  let depth = 0;
  for (const match of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[[\]{}]/g)) {
    const [token, quoted, colon] = match;
    if (token === "{" || token === "[") depth += 1;
    if (token === "}" || token === "]") depth -= 1;
    if (depth === 1 && quoted !== undefined && colon !== undefined && JSON.parse(quoted) === key) count += 1;
  }
  return count > 1;
}
