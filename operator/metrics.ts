import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { METRICS } from "#core/metric-names.ts";
import type { KubeClientOptions } from "#runtime/kube/transport.ts";
import type { ControllerObserver } from "./controller.ts";
import type { QueueObserver } from "./queue.ts";

export interface OperatorMetrics {
  readonly kubeRequests: NonNullable<KubeClientOptions["metrics"]>;
  readonly queue: QueueObserver;
  readonly controller: ControllerObserver;
  readonly leading: (leading: boolean) => void;
  readonly cacheMiss: (kind: string, count: number) => void;
}

const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60];

/** The operator's metrics under the names that controller-runtime and client-go made known. */
export function createOperatorMetrics(registry: Registry): OperatorMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: METRICS.kubeRequests,
    help: "Requests to the API server",
    labelNames: ["code", "method", "host"],
    registers,
  });
  const leading = new Gauge({
    name: METRICS.leaderStatus,
    help: "1 while this process leads",
    labelNames: ["name"],
    registers,
  });
  const cacheMiss = new Counter({
    name: METRICS.cacheMiss,
    help: "Objects that a full list found and the watch had missed",
    labelNames: ["kind"],
    registers,
  });
  return {
    kubeRequests: (labels) => requests.inc(labels),
    leading: (value) => leading.set({ name: "supercargo-operator" }, value ? 1 : 0),
    cacheMiss: (kind, count) => cacheMiss.inc({ kind }, count),
    queue: queueMetrics(registers),
    controller: controllerMetrics(registers),
  };
}

function queueMetrics(registers: Registry[]): QueueObserver {
  const labels = { name: "agentdeployment" };
  const labelNames = ["name"];
  const depth = new Gauge({ name: METRICS.queueDepth, help: "Keys that wait", labelNames, registers });
  const adds = new Counter({ name: METRICS.queueAdds, help: "Keys added", labelNames, registers });
  const retries = new Counter({
    name: METRICS.queueRetries,
    help: "Keys added after a failure",
    labelNames,
    registers,
  });
  const waited = new Histogram({
    name: METRICS.queueSeconds,
    help: "How long a key waited",
    labelNames,
    buckets: SECONDS,
    registers,
  });
  return {
    added: () => adds.inc(labels),
    retried: () => retries.inc(labels),
    taken: (seconds) => waited.observe(labels, seconds),
    depth: (value) => depth.set(labels, value),
  };
}

function controllerMetrics(registers: Registry[]): ControllerObserver {
  const labels = { controller: "agentdeployment" };
  const labelNames = ["controller"];
  const total = new Counter({
    name: METRICS.reconcileTotal,
    help: "Reconciles by result",
    labelNames: ["controller", "result"],
    registers,
  });
  const errors = new Counter({ name: METRICS.reconcileErrors, help: "Failed reconciles", labelNames, registers });
  const active = new Gauge({ name: METRICS.activeWorkers, help: "Reconciles under way", labelNames, registers });
  const took = new Histogram({
    name: METRICS.reconcileSeconds,
    help: "How long a reconcile took",
    labelNames,
    buckets: SECONDS,
    registers,
  });
  return {
    started: () => active.inc(labels),
    finished(result, seconds) {
      active.dec(labels);
      total.inc({ ...labels, result });
      if (result === "error") errors.inc(labels);
      took.observe(labels, seconds);
    },
  };
}
