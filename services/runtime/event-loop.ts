import { monitorEventLoopDelay } from "node:perf_hooks";

const RESOLUTION_MS = 10;
const QUANTILES = [0.5, 0.99, 1] as const;

/**
 * Watches how late the event loop is. The returned function tells what was seen since its last call: call it on a timer, not
 * per scrape, since the sidecar scrapes every few seconds and would leave nothing to the others.
 */
export function watchEventLoop(tell: (quantile: string, seconds: number) => void): () => void {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  return () => {
    // The monitor counts its own interval in.
    for (const quantile of QUANTILES)
      tell(String(quantile), Math.max(0, delays.percentile(quantile * 100) / 1e9 - RESOLUTION_MS / 1000));
    delays.reset();
  };
}
