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
      const own = await registry.metrics();
      return { text: `${options.metered?.exposition() ?? ""}${own}`, contentType: registry.contentType };
    },
  };
}
