const MINUTE_MS = 60_000;
const IDENTITIES_MAX = 10_000;

/** How often each identity asked in the present minute; the minute before is forgotten. */
export interface RequestRate {
  /** Counts one more and tells how many there are. */
  take(clientId: string, nowMs: number): number;
}

export function createRequestRate(): RequestRate {
  const counts = new Map<string, number>();
  let minute = 0;
  return {
    take(clientId, nowMs) {
      const present = Math.floor(nowMs / MINUTE_MS);
      if (present !== minute || counts.size >= IDENTITIES_MAX) counts.clear();
      minute = present;
      const count = (counts.get(clientId) ?? 0) + 1;
      counts.set(clientId, count);
      return count;
    },
  };
}
