import { setImmediate as yieldLoop } from "node:timers/promises";
import { collectDefaultMetrics, Registry } from "prom-client";

export interface Metrics {
  /** Where a process registers what is for people and dashboards; never what becomes money. */
  readonly registry: Registry;
  /** Everything for /metrics: the metered series first, printed from the counter file, then the registry. */
  exposition(): Promise<{ readonly text: string; readonly contentType: string }>;
}

export interface MetricsOptions {
  /** The process-lifetime-proof series of #runtime/counters.ts; none where the process counts no money. */
  readonly metered?: { exposition(): string };
  /** Node's own: event-loop delay, heap, handles. @default true */
  readonly nodeMetrics?: boolean;
}

/** One registry per process, built in main and passed on: nothing registers itself globally. */
export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  if (options.nodeMetrics ?? true) collectDefaultMetrics({ register: registry });
  return {
    registry,
    async exposition() {
      // Rendered after the registry: the metered numbers are then those of the moment the answer leaves.
      const own = await printInPieces(registry);
      return { text: `${options.metered?.exposition() ?? ""}${own}`, contentType: registry.contentType };
    },
  };
}

/**
 * What `registry.metrics()` prints, family by family, with a turn of the event loop between two: of a gateway with 64 deployments all of it is
 * 19,000 lines, which
 * would block the loop for 50 ms; the largest family of them takes 10.
 */
async function printInPieces(registry: Registry): Promise<string> {
  const families: string[] = [];
  for (const { name } of registry.getMetricsAsArray()) {
    families.push(await registry.getSingleMetricAsString(name));
    await yieldLoop();
  }
  return `${families.join("\n\n")}\n`;
}
