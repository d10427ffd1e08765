import { randomUUID } from "node:crypto";
import { createServer, type RequestListener, type Server } from "node:http";
import { NodeStreamableHTTPServerTransport } from "@modelcontextprotocol/node";
import { McpServer } from "@modelcontextprotocol/server";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import type { OrchestratorTool } from "#core/api/pod-config.ts";
import { systemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/log.ts";
import { createOrdersListener } from "../../docs/sample/orders/listener.ts";
import { createOrderBook } from "../../docs/sample/orders/orders.ts";
import { createToolServers, type ToolServers } from "./mcp.ts";
import { cutText, RESULT_MAX_BYTES } from "./mcp-result.ts";

const log = createLogger({ component: "orchestrator", level: "silent" });
const open: Server[] = [];
let servers: ToolServers | undefined;
afterEach(async () => {
  await servers?.close();
  for (const server of open.splice(0)) server.close().closeAllConnections();
});

async function listen(handler: RequestListener, port = 0): Promise<string> {
  const server = createServer(handler);
  open.push(server);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
}

function connect(): ToolServers {
  servers = createToolServers({ clock: systemClock, log });
  return servers;
}

function toServer(url: string): OrchestratorTool {
  return { name: "orders", url: `${url}/mcp`, auth: { type: "None" }, functions: [] };
}

const request = {
  tool: "get_order",
  arguments: { order_id: "A-1001" },
  idempotencyKey: "run:1",
  principal: "Zoë",
  timeoutMs: 2000,
  traceHeaders: {},
};

/** A server of the 2025 era alone, with sessions, as most servers of that time are. */
function sessionServer(): RequestListener {
  const sessions = new Map<string, NodeStreamableHTTPServerTransport>();
  return (incoming, outgoing) => {
    const id = String(incoming.headers["mcp-session-id"] ?? "");
    const known = sessions.get(id);
    if (known) {
      void known.handleRequest(incoming, outgoing);
      return;
    }
    if (id !== "") {
      outgoing.writeHead(404, { "content-type": "application/json" });
      outgoing.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32001, message: "Session not found" } }));
      return;
    }
    const server = new McpServer({ name: "old", version: "1" });
    server.registerTool("get_order", { inputSchema: z.object({ order_id: z.string() }) }, ({ order_id }) => ({
      content: [{ type: "text", text: `old ${order_id}` }],
    }));
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (session) => void sessions.set(session, transport),
    });
    void server.connect(transport).then(() => transport.handleRequest(incoming, outgoing));
  };
}

describe("createToolServers", () => {
  it.each(["stateless", "reject"] as const)("calls a 2026 server (%s 2025)", async (legacy) => {
    const book = createOrderBook();
    const server = toServer(await listen(createOrdersListener({ book, legacy })));
    const tools = connect();
    expect((await tools.definitions(server)).map((tool) => tool.name)).toContain("refund_order");
    expect(await tools.call(server, request)).toMatchObject({ kind: "Done", text: expect.stringContaining("sextant") });
    const refund = {
      ...request,
      tool: "refund_order",
      arguments: { order_id: "A-1001", amount_cents: 1, reason: "x" },
    };
    await tools.call(server, refund);
    expect(book.refunds()).toMatchObject([{ idempotencyKey: "run:1", actingFor: "Zo%C3%AB" }]);
  });

  it("calls a server of the 2025 era with sessions, and again after it was restarted", async () => {
    const url = await listen(sessionServer());
    const server = toServer(url);
    const tools = connect();
    expect((await tools.definitions(server)).map((tool) => tool.name)).toEqual(["get_order"]);
    expect(await tools.call(server, request)).toEqual({ kind: "Done", text: "old A-1001" });
    await new Promise<void>((resolve) => {
      open
        .pop()
        ?.close(() => resolve())
        .closeAllConnections();
    });
    await listen(sessionServer(), Number(new URL(url).port));
    expect(await tools.call(server, request)).toEqual({ kind: "Done", text: "old A-1001" });
  });

  it("says that a call cannot have happened when nobody listens", async () => {
    const url = await listen(() => {});
    await new Promise<void>((resolve) => void open.pop()?.close(() => resolve()));
    expect(await connect().call(toServer(url), request)).toMatchObject({
      kind: "NotExecuted",
      text: "The tool server cannot be reached",
    });
  });

  it.each([
    ["answers too late", "The tool did not answer in time", () => {}],
    ["breaks the connection", "The connection to the tool server broke", (close: () => void) => close()],
  ])("does not know what happened when the server %s", async (_what, text, act) => {
    const orders = createOrdersListener({ book: createOrderBook() });
    const server = toServer(
      await listen((incoming, outgoing) => {
        if (incoming.headers["mcp-method"] === "tools/call") act(() => incoming.socket.destroy());
        else orders(incoming, outgoing);
      }),
    );
    const tools = connect();
    await tools.definitions(server);
    expect(await tools.call(server, { ...request, timeoutMs: 300 })).toMatchObject({ kind: "Unknown", text });
  });

  it("keeps the last known definitions while a server cannot be listed", async () => {
    let isDown = false;
    let monotonic = 0;
    const orders = createOrdersListener({ book: createOrderBook() });
    const server = toServer(
      await listen((incoming, outgoing) => {
        if (isDown) outgoing.writeHead(503).end();
        else orders(incoming, outgoing);
      }),
    );
    servers = createToolServers({ clock: { ...systemClock, monotonic: () => monotonic }, log });
    expect(await servers.definitions(server)).toHaveLength(5);
    isDown = true;
    monotonic = 120_000;
    expect(await servers.definitions(server)).toHaveLength(5);
  });

  it.each([
    ["A-1003", "Done", { documents_analyzed: 3 }],
    ["A-9999", "Failed", undefined],
  ])("hands on what a result reports as used: %s", async (order_id, kind, usage) => {
    const server = toServer(await listen(createOrdersListener({ book: createOrderBook() })));
    const outcome = await connect().call(server, { ...request, tool: "check_papers", arguments: { order_id } });
    expect([outcome.kind, "usage" in outcome ? outcome.usage : undefined]).toEqual([kind, usage]);
  });

  it("gives up on an answer that would fill the memory", async () => {
    const orders = createOrdersListener({ book: createOrderBook() });
    const server = toServer(
      await listen((incoming, outgoing) => {
        if (incoming.headers["mcp-method"] !== "tools/call") return orders(incoming, outgoing);
        outgoing.writeHead(200, { "content-type": "application/json" });
        return outgoing.end("x".repeat(5 * 1024 * 1024));
      }),
    );
    const tools = connect();
    await tools.definitions(server);
    expect((await tools.call(server, request)).kind).toBe("Unknown");
  });
});

describe("cutText", () => {
  it("cuts at 64 KiB, never inside a character, and says so", () => {
    expect(cutText("é".repeat(10))).toBe("é".repeat(10));
    const text = cutText(`a${"é".repeat(RESULT_MAX_BYTES)}`);
    expect(text).not.toContain("\uFFFD");
    expect(text.endsWith(`é\n[truncated: the first 65535 of ${2 * RESULT_MAX_BYTES + 1} bytes are shown]`)).toBe(true);
  });
});
