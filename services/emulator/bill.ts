import type { BookedEvent } from "./metering-store.ts";

/** What one customer pays for one dimension of one plan in one month; prices stand in the offer. */
interface BillLine {
  readonly month: string;
  /** As it was sent first. */
  readonly resourceUri: string;
  readonly planId: string;
  readonly dimension: string;
  /** Units booked, by the month of their `effectiveStartTime` in UTC. */
  readonly quantity: number;
  readonly events: number;
}

/** One line per month, resource, plan and dimension, in this order. */
export function sumBill(events: readonly BookedEvent[]): BillLine[] {
  const lines = new Map<string, BillLine>();
  for (const { effectiveMs, resourceUri, planId, dimension, quantity } of events) {
    const month = new Date(effectiveMs).toISOString().slice(0, 7);
    const key = JSON.stringify([month, resourceUri.toLowerCase(), planId, dimension]);
    const line = lines.get(key) ?? { month, resourceUri, planId, dimension, quantity: 0, events: 0 };
    lines.set(key, { ...line, quantity: line.quantity + quantity, events: line.events + 1 });
  }
  return [...lines].sort(([a], [b]) => a.localeCompare(b)).map(([, line]) => line);
}
