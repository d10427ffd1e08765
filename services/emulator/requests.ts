import { z } from "zod";

/** How often a route was asked, by outcome. */
export const requestCountSchema = z.strictObject({
  standIn: z.string().max(64),
  route: z.string().max(64),
  /** The HTTP status, or 0 when the connection was closed without an answer. */
  status: z.int().min(0).max(599),
  count: z.int().min(1),
});
type RequestCount = z.output<typeof requestCountSchema>;

export interface RequestCounts {
  add(request: Omit<RequestCount, "count">): void;
  list(): readonly RequestCount[];
  /** Puts these counts in place of the present ones. */
  load(counts: readonly RequestCount[]): void;
}

/** Counts of requests. Routes and stand-ins are closed sets and statuses are few, so the table is bounded. */
export function createRequestCounts(): RequestCounts {
  const counts = new Map<string, RequestCount>();
  const keyOf = ({ standIn, route, status }: Omit<RequestCount, "count">): string => `${standIn} ${route} ${status}`;
  return {
    add(request) {
      const key = keyOf(request);
      counts.set(key, { ...request, count: (counts.get(key)?.count ?? 0) + 1 });
    },
    list: () => [...counts.values()],
    load(given) {
      counts.clear();
      for (const count of given) counts.set(keyOf(count), count);
    },
  };
}
