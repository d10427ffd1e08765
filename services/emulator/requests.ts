/** How often a route was asked, by outcome. */
interface RequestCount {
  readonly standIn: string;
  readonly route: string;
  /** The HTTP status, or 0 when the connection was closed without an answer. */
  readonly status: number;
  readonly count: number;
}

export interface RequestCounts {
  add(request: Omit<RequestCount, "count">): void;
  list(): readonly RequestCount[];
  clear(): void;
}

/** Counts of requests. Routes and stand-ins are closed sets and statuses are few, so the table is bounded. */
export function createRequestCounts(): RequestCounts {
  const counts = new Map<string, RequestCount>();
  return {
    add(request) {
      const key = `${request.standIn} ${request.route} ${request.status}`;
      counts.set(key, { ...request, count: (counts.get(key)?.count ?? 0) + 1 });
    },
    list: () => [...counts.values()],
    clear: () => counts.clear(),
  };
}
