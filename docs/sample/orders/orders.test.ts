import { createServer, type Server } from "node:http";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, it } from "vitest";
import { createOrdersListener, isAllowedHost } from "./listener.ts";
import { createOrderBook } from "./orders.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

async function start(legacy: "stateless" | "reject"): Promise<string> {
  const server = createServer(createOrdersListener({ book: createOrderBook(), legacy }));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
}

async function connect(url: string, mode: "auto" | "legacy"): Promise<Client> {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)));
  return client;
}

const refund = { name: "refund_order", arguments: { order_id: "A-1003", amount_cents: 5000, reason: "Runs slow" } };

describe("orders server", () => {
  it.each([
    ["auto", "reject", "2026-07-28"],
    ["legacy", "stateless", "2025-11-25"],
  ] as const)("answers a client in mode %s", async (mode, legacy, version) => {
    const url = await start(legacy);
    const client = await connect(url, mode);
    expect(client.getNegotiatedProtocolVersion()).toBe(version);
    const { tools } = await client.listTools();
    expect(tools.map((tool) => tool.name)).toEqual([
      "get_order",
      "list_orders",
      "check_papers",
      "refund_order",
      "delete_customer",
    ]);
    const headers = { "Idempotency-Key": "run:1", "x-supercargo-acting-for": "alice" };
    const first = await client.callTool(refund, { headers });
    const again = await client.callTool(refund, { headers });
    expect(again.content).toEqual(first.content);
    expect(await (await fetch(`${url}/refunds`)).json()).toEqual({
      refunds: [
        {
          id: "R-0001",
          orderId: "A-1003",
          amountCents: 5000,
          reason: "Runs slow",
          idempotencyKey: "run:1",
          actingFor: "alice",
        },
      ],
    });
    await client.close();
  });

  it.each([
    ["A-1003", 3],
    ["A-1004", 1],
  ])("reads the papers of %s and reports %i documents", async (order_id, documents_analyzed) => {
    const client = await connect(await start("stateless"), "auto");
    const result = await client.callTool({ name: "check_papers", arguments: { order_id } });
    expect(result._meta).toMatchObject({ "supercargo.dev/usage": { documents_analyzed } });
    const { papers, differing } = JSON.parse(result.content[0]?.type === "text" ? result.content[0].text : "");
    expect([papers.length, differing]).toEqual([documents_analyzed, []]);
    await client.close();
  });

  it("files each refund of its own key, and never more than was paid", async () => {
    const client = await connect(await start("stateless"), "auto");
    const whole = { ...refund, arguments: { ...refund.arguments, amount_cents: 129000 } };
    expect((await client.callTool(whole, { headers: { "Idempotency-Key": "a" } })).isError).toBeUndefined();
    const second = await client.callTool(whole, { headers: { "Idempotency-Key": "b" } });
    expect(second).toMatchObject({
      isError: true,
      content: [{ text: "Cannot refund as amount_cents must be <= 0: current value is 129000" }],
    });
    await client.close();
  });

  it.each([
    ["localhost:3000", true],
    ["orders", true],
    ["orders.shop", false],
    ["orders.shop.svc", true],
    ["orders.shop.svc.cluster.local:3000", true],
    ["127.0.0.1:3000", true],
    ["evil.com", false],
    ["orders.svc.evil.com", false],
    ["", false],
  ])("Host %s is served: %s", (host, allowed) => {
    expect(isAllowedHost({ headers: { host } })).toBe(allowed);
    expect(isAllowedHost({ headers: { host, origin: "https://evil.example.com" } })).toBe(false);
  });
});
