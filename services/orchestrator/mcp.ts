import { SdkHttpError, type Tool } from "@modelcontextprotocol/client";
import { encodeActingFor } from "#core/acting-for.ts";
import type { OrchestratorTool } from "#core/api/pod-config.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import type { Clock } from "#runtime/clock.ts";
import type { Logger } from "#runtime/log.ts";
import { watchFile } from "#runtime/watched-file.ts";
import { canonicalJson } from "./canonical.ts";
import { classifyFailure, type ToolOutcome, toOutcome } from "./mcp-result.ts";
import { openSession, type Session, type ToolAddress } from "./mcp-session.ts";

/** How long definitions are believed before they are listed again. */
const DEFINITIONS_LIFE_MS = 60_000;
/** A server that cannot be listed is asked again after this long; meanwhile its last known definitions hold. */
const LIST_RETRY_MS = 5000;
const DEFINITIONS_MAX = 256;
/** A larger definition is left out: the model would be sent it in every turn. */
const DEFINITION_MAX_CHARACTERS = 64 * 1024;
/** Of an error, a log line holds this much: a server may answer with anything, even with what we sent. */
const REASON_MAX_CHARACTERS = 200;
const LIST_TIMEOUT_MS = 15_000;

/** A tool as its server describes it: untrusted text. */
export type ToolDefinition = Pick<Tool, "name" | "description" | "inputSchema">;

interface ToolRequest {
  readonly tool: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string;
  readonly principal: string;
  readonly timeoutMs: number;
  /** `traceparent` and `tracestate`, if there is a trace. */
  readonly traceHeaders: Readonly<Record<string, string>>;
}

/** The tool servers of the agent, over MCP Streamable HTTP in both protocol eras. */
export interface ToolServers {
  /** The definitions of one server; the last known ones, or none, while it cannot be asked. */
  definitions(server: OrchestratorTool): Promise<readonly ToolDefinition[]>;
  /** Calls once, never again by itself. Never throws: what happened is the outcome. */
  call(server: OrchestratorTool, request: ToolRequest): Promise<ToolOutcome>;
  close(): Promise<void>;
}

interface Connection extends ToolAddress {
  session: Session | undefined;
  definitions: readonly ToolDefinition[];
  listing: Promise<void> | undefined;
  listAgainAtMs: number;
}

export function createToolServers(options: { readonly clock: Clock; readonly log: Logger }): ToolServers {
  const { clock, log } = options;
  const connections = new Map<string, Connection>();

  const connectionOf = (server: OrchestratorTool): Connection => {
    const key = JSON.stringify([server.name, server.url, server.auth]);
    const known = connections.get(key);
    if (known) return known;
    const connection = openConnection(server);
    connections.set(key, connection);
    return connection;
  };

  const list = async (server: OrchestratorTool, connection: Connection): Promise<void> => {
    const session = sessionOf(connection);
    try {
      const { tools } = await session.use((client) => client.listTools({}, { timeout: LIST_TIMEOUT_MS }));
      connection.definitions = tools.slice(0, DEFINITIONS_MAX).map(toDefinition).filter(isFit);
      connection.listAgainAtMs = clock.monotonic() + DEFINITIONS_LIFE_MS;
    } catch (error) {
      drop(connection, session);
      connection.listAgainAtMs = clock.monotonic() + LIST_RETRY_MS;
      const reason = classifyFailure(error).text.slice(0, REASON_MAX_CHARACTERS);
      log.warn({ reason, cause: nameOf(error), server: server.name }, "Failed to list tools");
    }
  };

  return {
    async definitions(server) {
      const connection = connectionOf(server);
      if (clock.monotonic() >= connection.listAgainAtMs) {
        connection.listing ??= list(server, connection).finally(() => (connection.listing = undefined));
        await connection.listing;
      }
      return connection.definitions;
    },
    async call(server, request) {
      const connection = connectionOf(server);
      const first = await callOnce(connection, request);
      // A 2025 server that was restarted knows our session no more and says so before it looks at the call.
      if (first.kind !== "NotExecuted" || !first.sessionLost) return first;
      return callOnce(connection, request);
    },
    async close() {
      await Promise.all(
        [...connections.values()].map(async ({ session }) => (await session?.client.catch(() => undefined))?.close()),
      );
      connections.clear();
    },
  };
}

function openConnection(server: OrchestratorTool): Connection {
  const token = server.auth.type === "SecretFile" ? watchFile(server.auth.file, (text) => text.trim()) : undefined;
  return {
    url: server.url,
    token,
    session: undefined,
    definitions: [],
    listing: undefined,
    listAgainAtMs: Number.NEGATIVE_INFINITY,
  };
}

/** The session now; a new one after a failure. */
function sessionOf(connection: Connection): Session {
  connection.session ??= openSession(connection);
  return connection.session;
}

function drop(connection: Connection, session: Session): void {
  if (connection.session === session) connection.session = undefined;
  session.drop();
}

/** What counts here. Without an output schema the SDK checks no result: the tool has run, whatever its answer looks like. */
function toDefinition({ name, description, inputSchema }: Tool): ToolDefinition {
  return { name, inputSchema, ...(description === undefined ? {} : { description }) };
}

/** Neither too large nor so deep that nobody could walk it. */
function isFit(definition: ToolDefinition): boolean {
  try {
    return canonicalJson(definition).length <= DEFINITION_MAX_CHARACTERS;
  } catch {
    return false;
  }
}

function nameOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? ` ${String(error.code)}` : "";
  return `${error instanceof Error ? error.name : typeof error}${code}`.slice(0, REASON_MAX_CHARACTERS);
}

async function callOnce(connection: Connection, request: ToolRequest): Promise<ToolOutcome> {
  const session = sessionOf(connection);
  let isConnected = false;
  const known = connection.definitions.find(({ name }) => name === request.tool);
  try {
    const result = await session.use((client) => {
      isConnected = true;
      return client.callTool(
        { name: request.tool, arguments: request.arguments, ...traceMeta(request.traceHeaders) },
        {
          timeout: request.timeoutMs,
          maxTotalTimeout: request.timeoutMs,
          headers: {
            "Idempotency-Key": request.idempotencyKey,
            [ACTING_FOR_HEADER]: encodeActingFor(request.principal),
            ...request.traceHeaders,
          },
          toolDefinition: known ?? { name: request.tool, inputSchema: { type: "object" } },
        },
      );
    });
    return toOutcome(result);
  } catch (error) {
    if (!isConnected || error instanceof SdkHttpError) drop(connection, session);
    const failure = classifyFailure(error);
    return isConnected ? failure : { ...failure, kind: "NotExecuted", sessionLost: false };
  }
}

/** As the GenAI conventions have it: in the message too, for servers that do not see their transport. */
function traceMeta(headers: ToolRequest["traceHeaders"]): { readonly _meta?: Record<string, string> } {
  return Object.keys(headers).length === 0 ? {} : { _meta: { ...headers } };
}
