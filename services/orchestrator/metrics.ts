import { Counter, Gauge, type Registry } from "prom-client";
import { METRICS } from "#core/metric-names.ts";
import type { AuditOutcome } from "#core/audit.ts";
import type { RefusalCode } from "#core/policy.ts";
import { USAGE_REFUSAL_CODES, type UsageRefusalCode } from "#core/tool-usage.ts";
import type { ResponseStatus } from "./responses/response.ts";

/** What people and dashboards see; money is counted elsewhere. Labels from closed sets. */
export interface RunMetrics {
  runEnded(status: ResponseStatus): void;
  toolCallEnded(outcome: AuditOutcome): void;
  toolRefused(code: RefusalCode): void;
  usageRefused(code: UsageRefusalCode): void;
}

export function createRunMetrics(registry: Registry, activeRuns: () => number): RunMetrics {
  const runs = new Counter({
    name: METRICS.orchestratorRuns,
    help: "Runs that ended, by status.",
    labelNames: ["status"],
    registers: [registry],
  });
  const calls = new Counter({
    name: METRICS.orchestratorToolCalls,
    help: "Tool calls that were started, by how they ended.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  const refusals = new Counter({
    name: METRICS.orchestratorToolRefusals,
    help: "Tool calls that policy refused, by reason.",
    labelNames: ["code"],
    registers: [registry],
  });
  const usageRefusals = new Counter({
    name: METRICS.orchestratorUsageRefusals,
    help: "Usage that a tool reported and that was not counted, or not in full, by reason.",
    labelNames: ["code"],
    registers: [registry],
  });
  // A counter that begins at 1 has not risen as far as an alert can see.
  for (const code of USAGE_REFUSAL_CODES) usageRefusals.inc({ code }, 0);
  new Gauge({
    name: METRICS.orchestratorRunsActive,
    help: "Runs in progress in this pod.",
    registers: [registry],
    collect() {
      this.set(activeRuns());
    },
  });
  return {
    runEnded: (status) => runs.inc({ status }),
    toolCallEnded: (outcome) => calls.inc({ outcome: outcome.toLowerCase() }),
    toolRefused: (code) => refusals.inc({ code }),
    usageRefused: (code) => usageRefusals.inc({ code }),
  };
}
