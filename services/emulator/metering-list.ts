import type { BookedEvent, MeteringState, Resource } from "./metering-store.ts";
import { findResource, listBooked } from "./metering-store.ts";
import type { Switches } from "./switches.ts";

/** Filters of `GET /usageEvents`, parsed; times in ms. */
export interface ListQuery {
  readonly startMs: number;
  readonly endMs?: number;
  readonly offerId?: string;
  readonly planId?: string;
  readonly dimension?: string;
  readonly azureSubscriptionId?: string;
  readonly reconStatus?: string;
}

export interface ListContext {
  readonly callerClientId: string;
  readonly nowMs: number;
  readonly switches: Switches;
}

const DAY_MS = 86_400_000;

/** One row per UTC day, usage resource, dimension and plan, newest day first. */
export function listUsage(state: MeteringState, query: ListQuery, context: ListContext): Record<string, unknown>[] {
  const rows = new Map<string, BookedEvent[]>();
  for (const event of listBooked(state)) {
    const day = dayOf(event, context.switches);
    if (!isInRange(day, query, context.switches)) continue;
    if (!isVisible(findResource(state, event.resourceUri), event, context)) continue;
    const key = [day, event.resourceId, event.dimension, event.planId].join(" ");
    const row = rows.get(key);
    if (row) row.push(event);
    else rows.set(key, [event]);
  }
  return [...rows.values()]
    .map((events) => toRow(state, events, context))
    .filter((row) => matches(row, query))
    .sort((a, b) => String(b["usageDate"]).localeCompare(String(a["usageDate"])));
}

function isVisible(resource: Resource | undefined, event: BookedEvent, context: ListContext): boolean {
  const { listShows, listDelaySeconds } = context.switches;
  if (listShows === "Nothing") return false;
  const own = resource?.ownerClientId.toLowerCase() === context.callerClientId.toLowerCase();
  return (own || listShows === "AllResources") && context.nowMs >= event.bookedMs + listDelaySeconds * 1000;
}

function isInRange(dayMs: number, query: ListQuery, switches: Switches): boolean {
  const startMs = switches.listStartCutsDay ? query.startMs : Math.floor(query.startMs / DAY_MS) * DAY_MS;
  return dayMs >= startMs && (query.endMs === undefined || dayMs <= query.endMs);
}

function toRow(state: MeteringState, events: readonly BookedEvent[], context: ListContext): Record<string, unknown> {
  const [first] = events;
  if (!first) throw new Error("Cannot list a row without events");
  const { switches } = context;
  const quantity = events.reduce((sum, event) => sum + event.quantity, 0);
  const repeated = switches.listCountsRepeats
    ? events.reduce((sum, event) => sum + (state.repeated.get(event.usageEventId) ?? 0), 0)
    : 0;
  const newestMs = Math.max(...events.map((event) => event.bookedMs));
  const done = context.nowMs >= newestMs + switches.reconDelaySeconds * 1000;
  const reconStatus = done ? switches.reconOutcome : "Submitted";
  return {
    usageDate: `${new Date(dayOf(first, switches)).toISOString().slice(0, 19)}Z`,
    usageResourceId: first.resourceId,
    dimension: first.dimension,
    planId: first.planId,
    planName: done ? first.planId : "",
    offerId: first.offerId,
    offerName: done ? first.offerId : "",
    offerType: switches.listOfferType,
    azureSubscriptionId: /^\/subscriptions\/([^/]+)/i.exec(first.resourceUri)?.[1] ?? "",
    reconStatus,
    submittedQuantity: quantity + repeated,
    processedQuantity: processedQuantity(quantity, reconStatus),
    submittedCount: switches.listCountIs === "Events" ? events.length : quantity + repeated,
  };
}

function processedQuantity(quantity: number, reconStatus: string): number {
  if (reconStatus === "Accepted") return quantity;
  return reconStatus === "Mismatch" ? quantity / 2 : 0;
}

function matches(row: Record<string, unknown>, query: ListQuery): boolean {
  const filters = [
    ["offerId", query.offerId],
    ["planId", query.planId],
    ["dimension", query.dimension],
    ["azureSubscriptionId", query.azureSubscriptionId],
    ["reconStatus", query.reconStatus],
  ] as const;
  return filters.every(([name, wanted]) => wanted === undefined || row[name] === wanted);
}

function dayOf(event: BookedEvent, { listDayOf }: Switches): number {
  return Math.floor((listDayOf === "MessageTime" ? event.bookedMs : event.effectiveMs) / DAY_MS) * DAY_MS;
}
