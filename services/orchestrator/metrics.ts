import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { METRICS } from "#core/metric-names.ts";
import type { AuditOutcome } from "#core/audit.ts";
import type { RefusalCode } from "#core/policy.ts";
import { USAGE_REFUSAL_CODES, type UsageRefusalCode } from "#core/tool-usage.ts";
import type { ResponseStatus } from "./responses/response.ts";
import type { ApprovalOutcome } from "./store/journal.ts";

/** What people and dashboards see; money is counted elsewhere. Labels from closed sets. */
export interface RunMetrics {
  runEnded(status: ResponseStatus): void;
  toolCallEnded(outcome: AuditOutcome): void;
  toolRefused(code: RefusalCode): void;
  usageRefused(code: UsageRefusalCode): void;
  /** A run has learnt what became of what was asked, so long ago. */
  approvalEnded(outcome: ApprovalOutcome, waitedMs: number): void;
}

/** What is looked up when somebody scrapes. */
interface RunGauges {
  readonly activeRuns: () => number;
  readonly approvalsWaiting: () => number;
}

/** From a minute to the longest time that people may be given. */
const WAIT_SECONDS = [10, 60, 300, 900, 3600, 14_400, 86_400, 604_800];
const APPROVAL_OUTCOMES: readonly ApprovalOutcome[] = ["approved", "denied", "timed_out", "stale"];

export function createRunMetrics(registry: Registry, gauges: RunGauges): RunMetrics {
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
  addGauges(registry, gauges);
  const approvalEnded = approvalMetrics(registry);
  return {
    approvalEnded,
    runEnded: (status) => runs.inc({ status }),
    toolCallEnded: (outcome) => calls.inc({ outcome: outcome.toLowerCase() }),
    toolRefused: (code) => refusals.inc({ code }),
    usageRefused: (code) => usageRefusals.inc({ code }),
  };
}

function addGauges(registry: Registry, gauges: RunGauges): void {
  new Gauge({
    name: METRICS.orchestratorRunsActive,
    help: "Runs in progress in this pod.",
    registers: [registry],
    collect() {
      this.set(gauges.activeRuns());
    },
  });
  new Gauge({
    name: METRICS.orchestratorApprovalsWaiting,
    help: "Approvals in their time whose decision no run has learnt yet.",
    registers: [registry],
    collect() {
      this.set(gauges.approvalsWaiting());
    },
  });
}

function approvalMetrics(registry: Registry): RunMetrics["approvalEnded"] {
  const ended = new Counter({
    name: METRICS.orchestratorApprovals,
    help: "Approvals whose end a run has learnt, by outcome.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  for (const outcome of APPROVAL_OUTCOMES) ended.inc({ outcome }, 0);
  const waited = new Histogram({
    name: METRICS.orchestratorApprovalSeconds,
    help: "From asking until a run learnt the end of it.",
    buckets: WAIT_SECONDS,
    registers: [registry],
  });
  return (outcome, waitedMs) => {
    ended.inc({ outcome });
    waited.observe(waitedMs / 1000);
  };
}
