import { monitorEventLoopDelay } from "node:perf_hooks";

const RESOLUTION_MS = 10;
/** 100 is the maximum. A label `quantile` belongs to summaries alone. */
const PERCENTILES = [50, 99, 100] as const;

/**
 * Watches how late the event loop is. The returned function tells what was seen since its last call: call it on a timer, not
 * per scrape, since the sidecar scrapes every few seconds and would leave nothing to the others.
 */
export function watchEventLoop(tell: (percentile: string, seconds: number) => void): () => void {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  return () => {
    // The monitor counts its own interval in.
    for (const percentile of PERCENTILES)
      tell(String(percentile), Math.max(0, delays.percentile(percentile) / 1e9 - RESOLUTION_MS / 1000));
    delays.reset();
  };
}
