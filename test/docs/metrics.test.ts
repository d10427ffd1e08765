import { readFileSync } from "node:fs";
import { type Metric, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { METRICS } from "#core/metric-names.ts";
import { EPOCH_METRIC, USAGE_METRIC } from "#core/usage.ts";
import { createOperatorMetrics } from "../../operator/metrics.ts";
import { createKeyMetrics } from "../../services/gateway/identity/key-metrics.ts";
import { createGatewayMetrics } from "../../services/gateway/telemetry/metrics.ts";
import { noteSpans } from "../../services/runtime/telemetry.ts";
import { readEnvironment, readTerms } from "../../services/meter/reporter/config.ts";
import { createReporterMetrics } from "../../services/meter/reporter/metrics.ts";
import { createSidecarMetrics } from "../../services/meter/sidecar/metrics.ts";
import { createRunMetrics } from "../../services/orchestrator/metrics.ts";

interface Row {
  readonly kind: string;
  readonly labels: readonly string[];
}

const metricSchema = z.looseObject({ name: z.string(), labelNames: z.array(z.string()) });

/** The rows of the table "Every metric", by name. */
function documented(): Map<string, Row> {
  const page = readFileSync("docs/operations.md", "utf8").split("### Every metric")[1] ?? "";
  const rows = [...page.matchAll(/^\| `([a-z_]+)` +\| (\w+) +\| ([^|]+) \|/gm)];
  return new Map(
    rows.map(([, name = "", kind = "", labels = ""]) => [
      name,
      { kind, labels: [...labels.matchAll(/`(\w+)`/g)].map((match) => match[1] ?? "") },
    ]),
  );
}

/** What the processes register, by name. */
async function registered(): Promise<Map<string, Row>> {
  const registry = new Registry();
  const pod = { SUPERCARGO_POD_NAME: "reporter-0", SUPERCARGO_POD_NAMESPACE: "supercargo-system" };
  const catalogue = readFileSync("charts/supercargo/files/catalogue.yaml", "utf8");
  createReporterMetrics(registry, readTerms(readEnvironment(pod), catalogue));
  createGatewayMetrics(registry);
  createKeyMetrics(registry);
  noteSpans(registry);
  createRunMetrics(registry, { activeRuns: () => 0, approvalsWaiting: () => 0 });
  const kinds = await kindsOf(registry);
  // A registry holds a name once, and two processes tell who leads.
  const operators = new Registry();
  createOperatorMetrics(operators);
  for (const [name, kind] of await kindsOf(operators)) kinds.set(name, kind);
  const metrics: Metric[] = [registry, operators].flatMap((one) =>
    Object.values(METRICS).flatMap((name) => one.getSingleMetric(name) ?? []),
  );
  const rows = metrics.map((metric): [string, Row] => {
    const { name, labelNames } = metricSchema.parse(metric);
    return [name, { kind: kinds.get(name) ?? "", labels: labelNames }];
  });
  return new Map([...rows, ...sidecarRows()]);
}

async function kindsOf(registry: Registry): Promise<Map<string, string>> {
  return new Map((await registry.getMetricsAsJSON()).map(({ name, type }) => [name, String(type)]));
}

/** The sidecar writes its own text. */
function sidecarRows(): [string, Row][] {
  const { text } = createSidecarMetrics().exposition();
  return [...text.matchAll(/^# TYPE (\w+) (\w+)\n\w+(?:\{(\w+)=)?/gm)].map(([, name = "", kind = "", label]) => [
    name,
    { kind, labels: label === undefined ? [] : [label] },
  ]);
}

describe("the metrics of docs/operations.md", () => {
  it("are those that the processes write, with kind and labels", async () => {
    const money: [string, Row][] = [
      [USAGE_METRIC, { kind: "counter", labels: ["dimension"] }],
      [EPOCH_METRIC, { kind: "gauge", labels: ["epoch"] }],
    ];
    const expected = new Map([...(await registered()), ...money]);
    expect(Object.fromEntries(documented())).toEqual(Object.fromEntries(expected));
  });

  it("are all the names of core/metric-names.ts, each written by somebody", async () => {
    expect([...(await registered()).keys()].toSorted()).toEqual(Object.values(METRICS).toSorted());
  });
});
