/**
 * A small MCP server that a company might have: it answers questions about orders and files refunds.
 *
 *     node docs/sample/orders/server.ts        # PORT, default 3000
 */
import { createServer } from "node:http";
import { createOrdersListener } from "./listener.ts";
import { createOrderBook } from "./orders.ts";

const port = Number(process.env["PORT"] ?? 3000);
if (!Number.isInteger(port) || port < 0 || port > 65_535)
  throw new Error(`Cannot start as PORT must be a port number: current value is ${process.env["PORT"]}`);

const server = createServer(createOrdersListener({ book: createOrderBook() }));
server.listen(port, "0.0.0.0", () => {
  const address = server.address();
  const actual = typeof address === "object" && address ? address.port : port;
  process.stdout.write(`${JSON.stringify({ component: "orders", message: "Started", port: actual })}\n`);
});

for (const signal of ["SIGTERM", "SIGINT"] as const)
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 5000).unref();
  });
