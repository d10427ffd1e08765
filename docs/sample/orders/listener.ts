import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { type NodeMcpRequestHandler, toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler } from "@modelcontextprotocol/server";
import type { OrderBook } from "./orders.ts";
import { createOrdersServer } from "./tools.ts";

export interface OrdersOptions {
  readonly book: OrderBook;
  /** `reject` serves 2026-07-28 alone; the default serves 2025 clients as well. */
  readonly legacy?: "stateless" | "reject";
}

/** MCP at /mcp, the filed refunds at GET /refunds, /livez; only for hosts that a cluster's clients use. */
export function createOrdersListener(options: OrdersOptions): RequestListener {
  const factory = createMcpHandler((context) => createOrdersServer(options.book, context), {
    legacy: options.legacy ?? "stateless",
    maxRequestBodySize: 256 * 1024,
  });
  const handleMcp = toNodeHandler(factory);
  return (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path === "/livez") answerJson(response, 200, { status: "ok" });
    else if (!isAllowedHost(request)) answerJson(response, 403, { error: "This host name is not served" });
    else if (path === "/mcp") void handleMcp(toMessage(request), response);
    else if (path === "/refunds" && request.method === "GET")
      answerJson(response, 200, { refunds: options.book.refunds() });
    else answerJson(response, 404, { error: "Not found" });
  };
}

/** The part of a request that MCP reads, in the types that it demands. */
function toMessage(request: IncomingMessage): Parameters<NodeMcpRequestHandler>[0] {
  return {
    method: request.method ?? "GET",
    url: request.url ?? "/",
    headers: request.headers,
    [Symbol.asyncIterator]: () => request[Symbol.asyncIterator](),
  };
}

/**
 * Against DNS rebinding: a page in somebody's browser could reach this server by its own host name. Loopback, short
 * Service names and names below .svc are what clients inside a cluster use; a browser's Origin is never one of them.
 */
export function isAllowedHost(request: Pick<IncomingMessage, "headers">): boolean {
  if (request.headers.origin !== undefined) return false;
  const host = (request.headers.host ?? "").replace(/:[0-9]+$/, "");
  return /^(127\.0\.0\.1|\[::1\]|[a-z0-9-]{1,63}|[a-z0-9.-]{1,240}\.svc(\.cluster\.local)?)$/.test(host);
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
