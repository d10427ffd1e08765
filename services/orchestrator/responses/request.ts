import { z } from "zod";
import { Refusal } from "#core/errors.ts";
import { describeIssue } from "#runtime/config.ts";
import { inputItemSchema } from "./input.ts";

/** Upper bounds of one request; the body as a whole is bounded by the server. */
const ITEMS_MAX = 2000;
const TOOLS_MAX = 128;
const METADATA_MAX = 16;

const text = (max: number) => z.string("must be a string").max(max, `must have at most ${max} characters`);
const number = (min: number, max: number) =>
  z.number("must be a number").min(min, `must be >= ${min}`).max(max, `must be <= ${max}`);
const whole = (min: number, max: number) =>
  z.int("must be a whole number").min(min, `must be >= ${min}`).max(max, `must be <= ${max}`);
const flag = z.boolean("must be true or false");
const orNull = <S extends z.ZodType>(schema: S) => schema.nullish().transform((value) => value ?? null);
const orDefault = <S extends z.ZodType>(schema: S, initial: z.output<S>) =>
  schema.nullish().transform((value) => value ?? initial);

const functionName = z
  .string("must be a string")
  .regex(/^[a-zA-Z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, _ or -");

const functionToolSchema = z.object({
  type: z.literal(
    "function",
    'must be "function": the agent\'s own tools are set in its AgentDeployment, others are not supported',
  ),
  name: functionName,
  description: orNull(text(4096)),
  parameters: orNull(z.record(z.string(), z.unknown(), "must be a JSON schema")),
  strict: orNull(flag),
});
/** A function that the client runs itself. */
export type FunctionTool = z.output<typeof functionToolSchema>;

const toolChoiceSchema = z.union(
  [
    z.enum(["none", "auto", "required"]),
    z.object({ type: z.literal("function"), name: functionName }),
    z.object({
      type: z.literal("allowed_tools"),
      mode: z.enum(["auto", "required"]),
      tools: z.array(z.object({ type: z.enum(["function", "mcp"]), name: z.string().optional() })).max(TOOLS_MAX),
    }),
  ],
  'must be "none", "auto", "required", a function or allowed_tools',
);

const textFormatSchema = z.discriminatedUnion(
  "type",
  [
    z.object({ type: z.literal("text") }),
    z.object({ type: z.literal("json_object") }),
    z.object({
      type: z.literal("json_schema"),
      name: functionName,
      schema: z.record(z.string(), z.unknown()),
      description: z.string().nullish(),
      strict: z.boolean().nullish(),
    }),
  ],
  "must be text, json_object or json_schema",
);

const metadataSchema = z
  .record(text(64), text(512), "must be an object of strings")
  .refine((value) => Object.keys(value).length <= METADATA_MAX, `must have at most ${METADATA_MAX} entries`);

/** What stands in `input` when it is a plain text. */
function toItems(input: unknown): unknown {
  return typeof input === "string" ? [{ type: "message", role: "user", content: input }] : input;
}

export const createRequestSchema = z.object({
  model: orNull(text(256)),
  input: z.preprocess(
    toItems,
    z
      .array(inputItemSchema, "must be a string or a list of items")
      .max(ITEMS_MAX, `must have at most ${ITEMS_MAX} items`),
  ),
  instructions: orNull(text(262_144)),
  previous_response_id: orNull(text(128)),
  stream: orDefault(flag, false),
  store: orDefault(flag, true),
  background: orDefault(flag, false),
  tools: orDefault(
    z.array(functionToolSchema, "must be a list").max(TOOLS_MAX, `must have at most ${TOOLS_MAX} tools`),
    [],
  ),
  tool_choice: orDefault(toolChoiceSchema, "auto"),
  parallel_tool_calls: orDefault(flag, true),
  temperature: orNull(number(0, 2)),
  top_p: orNull(number(0, 1)),
  presence_penalty: orNull(number(-2, 2)),
  frequency_penalty: orNull(number(-2, 2)),
  max_output_tokens: orNull(whole(1, 1_000_000)),
  max_tool_calls: orNull(whole(1, 10_000)),
  metadata: orDefault(metadataSchema, {}),
  reasoning: orNull(z.object({ effort: orNull(text(32)), summary: orNull(text(32)) }, "must be an object")),
  text: orNull(
    z.object(
      { format: orDefault(textFormatSchema, { type: "text" }), verbosity: orNull(text(32)) },
      "must be an object",
    ),
  ),
  safety_identifier: orNull(text(256)),
  prompt_cache_key: orNull(text(256)),
});
/** A request as it is journaled: everything defaulted, input as a list of items. */
export type CreateRequest = z.output<typeof createRequestSchema>;

/** Fields that would change the answer and that this version cannot honour. */
const UNSUPPORTED: readonly { readonly field: string; readonly supported: readonly unknown[]; readonly why: string }[] =
  [
    {
      field: "background",
      supported: [false],
      why: "must be false: background runs are not supported in this version",
    },
    { field: "conversation", supported: [], why: "must be absent: use previous_response_id" },
    { field: "prompt", supported: [], why: "must be absent: the agent's instructions are set in its AgentDeployment" },
    { field: "top_logprobs", supported: [0], why: "must be 0: log probabilities are not supported" },
    { field: "truncation", supported: ["disabled", "auto"], why: 'must be "disabled"' },
  ];

/** Parses the body of `POST /v1/responses`. Throws Refusal invalid_json, invalid_value or unsupported_parameter. */
export function parseCreateRequest(body: Buffer): CreateRequest {
  const value = parseJson(body);
  for (const { field, supported, why } of UNSUPPORTED) {
    const given = Reflect.get(value, field);
    if (given === undefined || given === null || supported.includes(given)) continue;
    const message = `Cannot create the response as ${field} ${why}: current value is ${JSON.stringify(given).slice(0, 80)}`;
    throw new Refusal("unsupported_parameter", message, { param: field });
  }
  refuseDecisions(value);
  const parsed = createRequestSchema.safeParse(value);
  if (parsed.success) return checkInput(parsed.data);
  const [issue] = parsed.error.issues;
  const param = issue?.path.map(String).join(".") ?? null;
  const problem = issue ? describeIssue(issue, value).replace(": ", " ") : "the body is not valid";
  throw new Refusal("invalid_value", `Cannot create the response as ${problem}`, { param: param || null });
}

/** A caller's word is no decision: people decide at the API server, where their right to is checked. */
function refuseDecisions(value: object): void {
  const input: unknown = Reflect.get(value, "input");
  const isDecision = (item: unknown): boolean =>
    typeof item === "object" && item !== null && Reflect.get(item, "type") === "mcp_approval_response";
  if (!Array.isArray(input) || !input.some(isDecision)) return;
  const message =
    "Cannot create the response as input must hold no mcp_approval_response: an Approval is decided in the cluster";
  throw new Refusal("approval_forbidden", message, { param: "input" });
}

/** Nothing new to say is enough to go on with what waits for a person. */
function checkInput(request: CreateRequest): CreateRequest {
  if (request.input.length > 0 || request.previous_response_id !== null) return request;
  throw new Refusal(
    "invalid_value",
    "Cannot create the response as input must not be empty without previous_response_id: current value is []",
    {
      param: "input",
    },
  );
}

function parseJson(body: Buffer): object {
  const refuse = (cause?: unknown): Refusal =>
    new Refusal("invalid_json", "Cannot create the response as the body must be one JSON object in UTF-8", { cause });
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse();
    return value;
  } catch (error) {
    throw error instanceof Refusal ? error : refuse(error);
  }
}
