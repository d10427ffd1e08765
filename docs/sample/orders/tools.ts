import { McpServer, type McpRequestContext } from "@modelcontextprotocol/server";
import { z } from "zod";
import type { OrderBook } from "./orders.ts";

const orderId = z
  .string()
  .regex(/^A-[0-9]{4}$/)
  .describe("Order number, for example A-1003.");

/** The tools of the order desk, for one request: identity and idempotency key come from its headers. */
export function createOrdersServer(book: OrderBook, context: McpRequestContext): McpServer {
  const server = new McpServer({ name: "orders", version: "1.0.0" });
  const header = (name: string): string => context.requestInfo?.headers.get(name) ?? "";

  server.registerTool(
    "get_order",
    { description: "Look up one order by its number.", inputSchema: z.object({ order_id: orderId }) },
    ({ order_id }) => {
      const order = book.order(order_id);
      return order ? answer(order) : problem(`There is no order ${order_id}`);
    },
  );

  server.registerTool(
    "list_orders",
    {
      description: "List orders, all or those of a customer or with a status.",
      inputSchema: z.object({
        customer: z.string().max(254).optional().describe("E-mail address of the customer."),
        status: z.enum(["processing", "shipped", "delivered"]).optional(),
      }),
    },
    (filter) => answer({ orders: book.orders(filter) }),
  );

  server.registerTool(
    "check_papers",
    {
      description: "Read all papers of an order and compare them with it. Takes longer than looking the order up.",
      inputSchema: z.object({ order_id: orderId }),
    },
    ({ order_id }) => {
      const order = book.order(order_id);
      if (!order) return problem(`There is no order ${order_id}`);
      const papers = book.papers(order_id);
      const differing = papers
        .filter(({ text }) => !text.includes(`${order.totalCents} cents`))
        .map(({ name }) => name);
      const checked = answer({ order_id, papers: papers.map(({ name }) => name), differing });
      // What the call has used, in the agent's own dimension: the AgentDeployment declares it, the plan sells it.
      return { ...checked, _meta: { "supercargo.dev/usage": { documents_analyzed: papers.length } } };
    },
  );

  server.registerTool(
    "refund_order",
    {
      description: "File a refund for an order. Moves money: call it once per refund.",
      inputSchema: z.object({
        order_id: orderId,
        amount_cents: z.int().min(1).max(10_000_000).describe("Amount in cents, at most what was paid."),
        reason: z.string().min(1).max(500),
      }),
    },
    ({ order_id, amount_cents, reason }) => {
      const result = book.refund({
        orderId: order_id,
        amountCents: amount_cents,
        reason,
        idempotencyKey: header("idempotency-key"),
        actingFor: header("x-supercargo-acting-for"),
      });
      return result.ok ? answer({ refund_id: result.refund.id, status: "filed" }) : problem(result.problem);
    },
  );

  server.registerTool(
    "delete_customer",
    {
      description: "Delete a customer with all orders. Cannot be undone.",
      inputSchema: z.object({ customer: z.string().max(254) }),
    },
    ({ customer }) => answer({ deleted_orders: book.deleteCustomer(customer) }),
  );
  return server;
}

function answer(value: object): { content: [{ type: "text"; text: string }] } {
  return { content: [{ type: "text", text: JSON.stringify(value) }] };
}

function problem(text: string): { content: [{ type: "text"; text: string }]; isError: true } {
  return { content: [{ type: "text", text }], isError: true };
}
