import { Script } from "node:vm";
import { CfWorkerJsonSchemaValidator } from "@modelcontextprotocol/client/validators/cf-worker";
import type { PlanFeatures } from "#core/api/plan-features.ts";
import type { OrchestratorConfig, OrchestratorTool } from "#core/api/pod-config.ts";
import { allowsTool } from "#core/grant.ts";
import type { ToolRule } from "#core/policy.ts";
import type { DeclaredUsage } from "#core/tool-usage.ts";
import { digestOf } from "./canonical.ts";
import type { ToolDefinition, ToolServers } from "./mcp.ts";
import type { CreateRequest, FunctionTool } from "./responses/request.ts";
import type { OfferedName } from "./responses/messages.ts";
import type { Journal } from "./store/journal.ts";

/** Arguments larger than this are refused before they are looked at. */
const ARGUMENTS_MAX_BYTES = 256 * 1024;
/** Of an untrusted description the model is shown this much. */
const DESCRIPTION_MAX = 4096;
/** Chat Completions allows 64 characters in a function's name. */
const NAME_MAX = 64;

/** A configured function, and what its server says of it now. */
export interface AgentTool {
  readonly server: OrchestratorTool;
  readonly rule: ToolRule;
  readonly safeToRetry: boolean;
  /** What its results may report as used. */
  readonly usage: readonly DeclaredUsage[];
  readonly definition: "Pinned" | "Changed" | "Missing";
  readonly description: string;
  readonly inputSchema: ToolDefinition["inputSchema"] | undefined;
}

/** Everything that a run may call, by the names that the model knows. */
export interface Toolbox {
  /** Nothing: the name is invented, or not allowed in this request. */
  find(name: string): AgentTool | FunctionTool | undefined;
  readonly offeredName: OfferedName;
  /** The `tools` of a Chat Completions request: never a function of lane Never, none that is not pinned or not in the plan. */
  readonly offers: readonly Record<string, unknown>[];
}

interface ToolboxWorld {
  readonly servers: ToolServers;
  readonly journal: Journal;
  /** What the plan allows: other tools are not offered. A model that calls one all the same is refused by the policy. */
  readonly features: PlanFeatures | undefined;
}

/** What the model may be offered in this request, asked of the tool servers now (they cache). */
export async function openToolbox(
  config: OrchestratorConfig,
  request: CreateRequest,
  { servers, journal, features }: ToolboxWorld,
): Promise<Toolbox> {
  const lists = await Promise.all(
    config.tools.map(async (server) => ({ server, definitions: await servers.definitions(server) })),
  );
  const agentTools = lists.flatMap(({ server, definitions }) =>
    server.functions.map((item): AgentTool => {
      const definition = definitions.find((known) => known.name === item.name);
      return {
        server,
        rule: { ...item, server: server.name },
        safeToRetry: item.retry === "Safe",
        usage: item.usage ?? [],
        definition: definition ? pinState(definition, { server, journal, generation: config.generation }) : "Missing",
        description: (definition?.description ?? "").slice(0, DESCRIPTION_MAX),
        inputSchema: definition?.inputSchema,
      };
    }),
  );
  const offeredName = nameTools(config, request);
  const isAllowed = allowedBy(request);
  const byName = new Map<string, AgentTool | FunctionTool>();
  for (const tool of request.tools) if (isAllowed("function", tool.name)) byName.set(tool.name, tool);
  for (const tool of agentTools) {
    const name = offeredName({ server: tool.rule.server, name: tool.rule.name });
    if (isAllowed("mcp", tool.rule.name) || isAllowed("mcp", name)) byName.set(name, tool);
  }
  return {
    find: (name) => byName.get(name),
    offeredName,
    offers: [...byName].flatMap(([name, tool]) =>
      isAgentTool(tool) && !allowsTool(features, tool.rule) ? [] : toOffer(name, tool),
    ),
  };
}

/** Whether a tool is the agent's own, not a function of the client. */
export function isAgentTool(tool: AgentTool | FunctionTool): tool is AgentTool {
  return "rule" in tool;
}

/** What is wrong with arguments as the model wrote them, or their parsed form. */
export function readArguments(
  text: string,
  schema: ToolDefinition["inputSchema"] | undefined,
): { readonly value: Readonly<Record<string, unknown>>; readonly problem: string | undefined } {
  if (Buffer.byteLength(text) > ARGUMENTS_MAX_BYTES)
    return { value: {}, problem: `The arguments must have at most ${ARGUMENTS_MAX_BYTES} bytes` };
  const value = parseObject(text);
  if (!value) return { value: {}, problem: "The arguments must be one JSON object" };
  return { value, problem: schema ? schemaProblem(schema, value) : undefined };
}

/**
 * Plain names where they are unique among all configured functions and the request's own, else SERVER__FUNCTION: a
 * client's function never hides one of the agent's.
 */
function nameTools(config: OrchestratorConfig, request: CreateRequest): OfferedName {
  const taken = new Map<string, number>();
  const names = [...config.tools.flatMap((server) => server.functions), ...request.tools].map((item) => item.name);
  for (const name of names) taken.set(name, (taken.get(name) ?? 0) + 1);
  return ({ server, name }) =>
    server !== "" && (taken.get(name) ?? 0) > 1 ? `${server}__${name}`.slice(0, NAME_MAX) : name;
}

function allowedBy(request: CreateRequest): (type: "function" | "mcp", name: string) => boolean {
  const choice = request.tool_choice;
  // Not offering them is a hope: a model that calls one all the same must be refused.
  if (choice === "none") return () => false;
  if (typeof choice === "string" || choice.type === "function") return () => true;
  return (type, name) =>
    choice.tools.some((tool) => tool.type === type && (tool.name === undefined ? type === "mcp" : tool.name === name));
}

function pinState(
  definition: ToolDefinition,
  context: { readonly server: OrchestratorTool; readonly journal: Journal; readonly generation: number },
): "Pinned" | "Changed" {
  const { name, description, inputSchema } = definition;
  const digest = digestOf({ name, description, inputSchema });
  const pinned = context.journal.pin({
    server: context.server.name,
    tool: name,
    digest,
    generation: context.generation,
  });
  return pinned === digest ? "Pinned" : "Changed";
}

function toOffer(name: string, tool: AgentTool | FunctionTool): Record<string, unknown>[] {
  if (!isAgentTool(tool)) {
    const { description, parameters, strict } = tool;
    const optional = {
      ...(description === null ? {} : { description }),
      ...(parameters === null ? {} : { parameters }),
      ...(strict === null ? {} : { strict }),
    };
    return [{ type: "function", function: { name, ...optional } }];
  }
  if (tool.rule.lane === "Never" || tool.definition !== "Pinned") return [];
  return [{ type: "function", function: { name, description: tool.description, parameters: tool.inputSchema } }];
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text === "" ? "{}" : text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** Interprets the schema: nothing of it is compiled, and no regular expression of a tool server runs here. */
function schemaProblem(schema: ToolDefinition["inputSchema"], value: object): string | undefined {
  try {
    const validate = new CfWorkerJsonSchemaValidator().getValidator({ ...withoutPatterns(schema) });
    const result = inTime(() => validate(value));
    return result.valid
      ? undefined
      : `The arguments do not fit the tool's schema: ${result.errorMessage.slice(0, 500)}`;
  } catch {
    return "The arguments cannot be checked as the tool's schema is not usable";
  }
}

/** A check takes a millisecond; a schema whose references double at every step would take days. */
const CHECK_MS_MAX = 500;
const CHECK = new Script("check()");

/** Runs something of our own that must not take long, and throws when it does: only a script can be stopped from outside. */
function inTime<T>(run: () => T): T {
  const results: T[] = [];
  CHECK.runInNewContext({ check: () => void results.push(run()) }, { timeout: CHECK_MS_MAX });
  const [result] = results;
  if (result === undefined) throw new Error("The check gave no result");
  return result;
}

/** A pattern can be written so that it takes for ever; the server checks its own. Names of properties are kept. */
function withoutPatterns(schema: object): object {
  return Object.fromEntries(
    Object.entries(schema)
      .filter(([key]) => key !== "pattern" && key !== "patternProperties" && key !== "format")
      .map(([key, value]) => [key, cleanMember(key, value)]),
  );
}

function cleanMember(key: string, value: unknown): unknown {
  if (key === "enum" || key === "const" || key === "default") return value;
  return key === "properties" || key === "$defs" ? mapValues(value) : cleanValue(value);
}

function mapValues(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, cleanValue(member)]));
}

function cleanValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(cleanValue);
  return typeof value === "object" && value !== null ? withoutPatterns(value) : value;
}
