import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import type { OrchestratorTool } from "#core/api/pod-config.ts";
import { systemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/log.ts";
import { createToolServers, type ToolServers } from "./mcp.ts";

/** Tool servers that are broken or mean: a small JSON-RPC server that answers as the test says. */

const lines: string[] = [];
const log = createLogger({ component: "orchestrator", destination: { write: (line) => void lines.push(line) } });
const open: Server[] = [];
let servers: ToolServers | undefined;
afterEach(async () => {
  await servers?.close();
  lines.length = 0;
  for (const server of open.splice(0)) server.close().closeAllConnections();
});

const messageSchema = z.object({
  id: z.union([z.number(), z.string()]).optional(),
  method: z.string(),
  params: z.object({ name: z.string().optional() }).optional(),
});

interface Script {
  readonly tools: readonly object[];
  readonly onCall: (name: string, answer: (result: object) => void, response: ServerResponse) => void;
}

async function start(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<OrchestratorTool> {
  const server = createServer(handler);
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return { name: "orders", url: `http://127.0.0.1:${port}/mcp`, auth: { type: "None" }, functions: [] };
}

async function startScript(script: Script): Promise<OrchestratorTool> {
  return start((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.method === "POST")
        reply(script, messageSchema.parse(JSON.parse(String(Buffer.concat(chunks)))), response);
      else response.writeHead(405).end();
    });
  });
}

function reply({ tools, onCall }: Script, message: z.output<typeof messageSchema>, response: ServerResponse): void {
  const { id, method, params } = message;
  const answer = (body: object): void => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ jsonrpc: "2.0", id, ...body }));
  };
  const serverInfo = { name: "mean", version: "1" };
  if (id === undefined) response.writeHead(202).end();
  else if (method === "tools/call") onCall(params?.name ?? "", (result) => answer({ result }), response);
  else if (method === "tools/list") answer({ result: { tools } });
  else if (method === "initialize")
    answer({ result: { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo } });
  else answer({ error: { code: -32601, message: "Method not found" } });
}

function connect(): ToolServers {
  servers = createToolServers({ clock: systemClock, log });
  return servers;
}

const inputSchema = { type: "object" };
const call = { arguments: {}, idempotencyKey: "run:1", principal: "alice", timeoutMs: 5000, traceHeaders: {} };
const content = [{ type: "text", text: "done" }];

describe("createToolServers, with a server that", () => {
  it("fails one call: the calls of other runs go on", async () => {
    let finish: (() => void) | undefined;
    const server = await startScript({
      tools: [],
      onCall(name, answer, response) {
        if (name === "broken") response.writeHead(500).end();
        else if (name === "quick") answer({ content });
        else finish = () => answer({ content });
      },
    });
    const tools = connect();
    const slow = tools.call(server, { ...call, tool: "slow" });
    await expect.poll(() => finish, { timeout: 2_000 }).toBeDefined();
    expect(await tools.call(server, { ...call, tool: "broken" })).toMatchObject({ kind: "Unknown" });
    // The next one has a connection of its own.
    expect(await tools.call(server, { ...call, tool: "quick" })).toEqual({ kind: "Done", text: "done" });
    finish?.();
    expect(await slow).toEqual({ kind: "Done", text: "done" });
  });

  it("answers what its output schema does not allow: the tool has run, and no pattern of its is tried", async () => {
    const properties = { value: { type: "string", pattern: "^(a+)+$" } };
    const server = await startScript({
      tools: [{ name: "odd", inputSchema, outputSchema: { type: "object", properties } }],
      onCall: (_, answer) => answer({ content, structuredContent: { value: `${"a".repeat(40)}!` } }),
    });
    const tools = connect();
    await tools.definitions(server);
    const started = performance.now();
    expect(await tools.call(server, { ...call, tool: "odd" })).toEqual({ kind: "Done", text: "done" });
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it("sends back what we sent: the log shows nothing of it", async () => {
    const server = await start((request, response) => {
      response.writeHead(400, { "content-type": "text/plain" });
      response.end(`${String(request.headers["mcp-protocol-version"])} secret ${"x".repeat(100_000)}`);
    });
    expect(await connect().definitions(server)).toEqual([]);
    const text = lines.join("");
    expect(text).toContain("Failed to list tools");
    expect(text).not.toContain("secret");
    expect(text.length).toBeLessThan(1_000);
  });

  it("describes tools without measure: those are left out", async () => {
    const server = await startScript({
      tools: [
        { name: "large", inputSchema, description: "x".repeat(70_000) },
        { name: "fit", inputSchema },
      ],
      onCall: () => {},
    });
    expect((await connect().definitions(server)).map(({ name }) => name)).toEqual(["fit"]);
  });
});
