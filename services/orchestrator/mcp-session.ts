import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { CfWorkerJsonSchemaValidator } from "@modelcontextprotocol/client/validators/cf-worker";
import type { WatchedFile } from "#runtime/watched-file.ts";
import { boundedFetch } from "./mcp-result.ts";

const CONNECT_TIMEOUT_MS = 10_000;

/** Where a tool server is, and our credential for it. */
export interface ToolAddress {
  readonly url: string;
  readonly token: WatchedFile<string> | undefined;
}

/** One connected client, shared by all calls of its server until it is dropped. */
export interface Session {
  readonly client: Promise<Client>;
  /** Runs something with the client. Rejects with what connecting or `run` throws. */
  use<T>(run: (client: Client) => Promise<T>): Promise<T>;
  /** Closes it when nobody uses it any more: to break a call of another run would hide whether it had an effect. */
  drop(): void;
}

export function openSession(address: ToolAddress): Session {
  const client = connect(address);
  let users = 0;
  let isDropped = false;
  const closeIfUnused = (): void => {
    if (isDropped && users === 0) void client.then((open) => open.close()).catch(() => undefined);
  };
  return {
    client,
    async use(run) {
      users += 1;
      try {
        return await run(await client);
      } finally {
        users -= 1;
        closeIfUnused();
      }
    },
    drop() {
      isDropped = true;
      closeIfUnused();
    },
  };
}

async function connect({ url, token }: ToolAddress): Promise<Client> {
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
  const transport = new StreamableHTTPClientTransport(new URL(url), {
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
