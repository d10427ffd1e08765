/** The company's order book: what the sample agent talks about. Amounts in cents; all in memory. */
interface Order {
  readonly id: string;
  readonly customer: string;
  readonly item: string;
  readonly status: "processing" | "shipped" | "delivered";
  readonly totalCents: number;
  readonly currency: "EUR";
  readonly orderedOn: string;
}

interface Refund {
  readonly id: string;
  readonly orderId: string;
  readonly amountCents: number;
  readonly reason: string;
  /** Key of the request that filed it; empty where the caller sent none. */
  readonly idempotencyKey: string;
  /** On whose behalf the agent asked, as its platform says. */
  readonly actingFor: string;
}

type RefundResult =
  | { readonly ok: true; readonly refund: Refund; readonly repeated: boolean }
  | { readonly ok: false; readonly problem: string };

/** A paper of an order, as the scanner read it. */
interface Paper {
  readonly name: string;
  readonly text: string;
}

export interface OrderBook {
  order(id: string): Order | undefined;
  /** The papers that an order has by its status; none of an order that does not exist. */
  papers(id: string): readonly Paper[];
  orders(filter: { readonly customer?: string | undefined; readonly status?: string | undefined }): readonly Order[];
  /** Files a refund once per idempotency key: a repeated request gets the first one's refund. */
  refund(request: Omit<Refund, "id">): RefundResult;
  refunds(): readonly Refund[];
  deleteCustomer(customer: string): number;
}

/** Refunds kept; a demo that files more has lost its way. */
const REFUNDS_MAX = 10_000;

const ORDERS: readonly Order[] = [
  order("A-1001", "alice@example.com", "Brass sextant", "delivered", 24900),
  order("A-1002", "alice@example.com", "Oilskin coat", "shipped", 18950),
  order("A-1003", "bob@example.com", "Ship's chronometer", "delivered", 129000),
  order("A-1004", "carol@example.com", "Signal lamp", "processing", 7990),
  order("A-1005", "bob@example.com", "Cargo net, 4 x 4 m", "delivered", 5600),
];

export function createOrderBook(): OrderBook {
  let orders = ORDERS;
  const refunds: Refund[] = [];
  return {
    order: (id) => orders.find((order) => order.id === id),
    papers: (id) => orders.filter((order) => order.id === id).flatMap(papersOf),
    orders: (filter) =>
      orders.filter(
        (order) =>
          (filter.customer === undefined || order.customer === filter.customer) &&
          (filter.status === undefined || order.status === filter.status),
      ),
    refund(request) {
      const earlier = refunds.find(
        (known) => known.idempotencyKey !== "" && known.idempotencyKey === request.idempotencyKey,
      );
      if (earlier) return { ok: true, refund: earlier, repeated: true };
      const problem = refundProblem(orders, refunds, request);
      if (problem !== undefined) return { ok: false, problem };
      const refund = { id: `R-${String(refunds.length + 1).padStart(4, "0")}`, ...request };
      refunds.push(refund);
      return { ok: true, refund, repeated: false };
    },
    refunds: () => refunds,
    deleteCustomer(customer) {
      const kept = orders.filter((order) => order.customer !== customer);
      const deleted = orders.length - kept.length;
      orders = kept;
      return deleted;
    },
  };
}

/** Confirmed when ordered, a delivery note when shipped, a receipt when delivered. */
const PAPERS = ["order confirmation", "delivery note", "receipt"] as const;
const PAPERS_BY_STATUS = { processing: 1, shipped: 2, delivered: 3 } as const;

function papersOf(order: Order): Paper[] {
  const text = `${order.item}, ${order.totalCents} cents ${order.currency}, ordered on ${order.orderedOn}`;
  return PAPERS.slice(0, PAPERS_BY_STATUS[order.status]).map((name) => ({ name, text: `${order.id}: ${text}` }));
}

function refundProblem(
  orders: readonly Order[],
  refunds: readonly Refund[],
  request: Omit<Refund, "id">,
): string | undefined {
  const order = orders.find((known) => known.id === request.orderId);
  if (!order) return `Cannot refund as there is no order ${request.orderId}`;
  const before = refunds
    .filter((refund) => refund.orderId === order.id)
    .reduce((sum, refund) => sum + refund.amountCents, 0);
  const left = order.totalCents - before;
  if (request.amountCents > left)
    return `Cannot refund as amount_cents must be <= ${left}: current value is ${request.amountCents}`;
  if (refunds.length >= REFUNDS_MAX) return `Cannot refund as at most ${REFUNDS_MAX} refunds are kept`;
  return undefined;
}

// oxlint-disable-next-line max-params -- rows of a table
function order(id: string, customer: string, item: string, status: Order["status"], totalCents: number): Order {
  return { id, customer, item, status, totalCents, currency: "EUR", orderedOn: "2026-10-05" };
}
