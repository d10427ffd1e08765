import { Client, SdkHttpError, StreamableHTTPClientTransport, type Tool } from "@modelcontextprotocol/client";
import { CfWorkerJsonSchemaValidator } from "@modelcontextprotocol/client/validators/cf-worker";
import { encodeActingFor } from "#core/acting-for.ts";
import type { OrchestratorTool } from "#core/api/pod-config.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import type { Clock } from "#runtime/clock.ts";
import type { Logger } from "#runtime/log.ts";
import { watchFile, type WatchedFile } from "#runtime/watched-file.ts";
import { boundedFetch, classifyFailure, type ToolOutcome, toOutcome } from "./mcp-result.ts";

/** How long definitions are believed before they are listed again. */
const DEFINITIONS_LIFE_MS = 60_000;
/** A server that cannot be listed is asked again after this long; meanwhile its last known definitions hold. */
const LIST_RETRY_MS = 5000;
const DEFINITIONS_MAX = 256;
const CONNECT_TIMEOUT_MS = 10_000;
const LIST_TIMEOUT_MS = 15_000;

/** A tool as its server describes it: untrusted text. */
export type ToolDefinition = Pick<Tool, "name" | "description" | "inputSchema">;

interface ToolRequest {
  readonly tool: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string;
  readonly principal: string;
  readonly timeoutMs: number;
}

/** The tool servers of the agent, over MCP Streamable HTTP in both protocol eras. */
export interface ToolServers {
  /** The definitions of one server; the last known ones, or none, while it cannot be asked. */
  definitions(server: OrchestratorTool): Promise<readonly ToolDefinition[]>;
  /** Calls once, never again by itself. Never throws: what happened is the outcome. */
  call(server: OrchestratorTool, request: ToolRequest): Promise<ToolOutcome>;
  close(): Promise<void>;
}

interface Connection {
  readonly url: string;
  readonly token: WatchedFile<string> | undefined;
  client: Promise<Client> | undefined;
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
    try {
      const client = await clientOf(connection);
      const { tools } = await client.listTools({}, { timeout: LIST_TIMEOUT_MS });
      connection.definitions = tools.slice(0, DEFINITIONS_MAX);
      connection.listAgainAtMs = clock.monotonic() + DEFINITIONS_LIFE_MS;
    } catch (err) {
      dropClient(connection);
      connection.listAgainAtMs = clock.monotonic() + LIST_RETRY_MS;
      log.warn({ err, server: server.name }, "Failed to list tools");
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
        [...connections.values()].map(async (connection) => (await connection.client?.catch(() => undefined))?.close()),
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
    client: undefined,
    definitions: [],
    listing: undefined,
    listAgainAtMs: Number.NEGATIVE_INFINITY,
  };
}

/** The connected client, connected anew after a failure. */
function clientOf(connection: Connection): Promise<Client> {
  connection.client ??= connect(connection).catch((error: unknown) => {
    connection.client = undefined;
    throw error;
  });
  return connection.client;
}

async function connect(connection: Connection): Promise<Client> {
  const client = new Client(
    { name: "supercargo-orchestrator", version: "1" },
    {
      // Both eras: probes 2026-07-28, falls back to 2025-11-25. Alone it would speak 2025 only.
      versionNegotiation: { mode: "auto" },
      // Sampling would spend tokens and elicitation ask people outside budget and lane.
      inputRequired: { autoFulfill: false },
      // Interpreted, never compiled: schemas come from outside.
      jsonSchemaValidator: new CfWorkerJsonSchemaValidator(),
      listMaxPages: 8,
    },
  );
  const { token } = connection;
  const transport = new StreamableHTTPClientTransport(new URL(connection.url), {
    fetch: boundedFetch,
    ...(token ? { authProvider: { token: async () => readToken(token) } } : {}),
  });
  await client.connect(transport, { timeout: CONNECT_TIMEOUT_MS });
  return client;
}

function readToken(token: WatchedFile<string>): string | undefined {
  token.refresh();
  return token.current()?.value;
}

function dropClient(connection: Connection): void {
  const { client } = connection;
  connection.client = undefined;
  void client?.then((open) => open.close()).catch(() => undefined);
}

async function callOnce(connection: Connection, request: ToolRequest): Promise<ToolOutcome> {
  let client: Client;
  try {
    client = await clientOf(connection);
  } catch (error) {
    return { ...classifyFailure(error), kind: "NotExecuted", sessionLost: false };
  }
  const definition = connection.definitions.find((known) => known.name === request.tool);
  try {
    const result = await client.callTool(
      { name: request.tool, arguments: request.arguments },
      {
        timeout: request.timeoutMs,
        maxTotalTimeout: request.timeoutMs,
        headers: {
          "Idempotency-Key": request.idempotencyKey,
          [ACTING_FOR_HEADER]: encodeActingFor(request.principal),
        },
        ...(definition ? { toolDefinition: definition } : {}),
      },
    );
    return toOutcome(result);
  } catch (error) {
    if (error instanceof SdkHttpError) dropClient(connection);
    return classifyFailure(error);
  }
}
