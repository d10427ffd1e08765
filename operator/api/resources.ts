import { AGENT_NAME_MAX, agentDeploymentSchema } from "#core/api/agent-deployment.ts";
import { approvalSchema } from "#core/api/approval.ts";
import { GROUP, VERSION } from "#core/api/meta.ts";
import { podUsageSchema } from "#core/api/pod-usage.ts";
import { usageLedgerSchema } from "#core/api/usage-ledger.ts";
import { usageStatementSchema } from "#core/api/usage-statement.ts";
import type { CrdDefinition, PrinterColumn } from "./crd.ts";

const api = { group: GROUP, version: VERSION } as const;

const age: PrinterColumn = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

function column(name: string, jsonPath: string, priority: 0 | 1 = 0): PrinterColumn {
  return { name, type: "string", jsonPath, ...(priority === 0 ? {} : { priority }) };
}

function condition(type: string, field: "status" | "reason" | "message"): string {
  return `.status.conditions[?(@.type=="${type}")].${field}`;
}

/** The five resources: names, scope, columns. The schema of each is the one source of its type, CRD and docs. */
export const RESOURCES: readonly CrdDefinition[] = [
  {
    ...api,
    kind: "AgentDeployment",
    plural: "agentdeployments",
    singular: "agentdeployment",
    shortNames: ["agd"],
    scope: "Namespaced",
    status: "Subresource",
    description: "An AI agent: its models, tools and their lanes, limits, exposure and mode.",
    schema: agentDeploymentSchema,
    nameMax: AGENT_NAME_MAX,
    statusDefault: { observedGeneration: -1 },
    columns: [
      column("Ready", condition("Ready", "status")),
      column("Reason", condition("Ready", "reason")),
      column("Mode", ".spec.mode"),
      column("Plan", ".status.plan.id"),
      column("Usage", ".status.usageSummary"),
      age,
      column("Model", ".spec.models[0].name", 1),
      column("LastMetered", ".status.metering.lastAcceptedHour", 1),
      column("Message", condition("Ready", "message"), 1),
    ],
  },
  {
    ...api,
    kind: "Approval",
    plural: "approvals",
    singular: "approval",
    shortNames: [],
    scope: "Namespaced",
    status: "None",
    description: "One pending action of an agent that a person must decide.",
    schema: approvalSchema,
    columns: [
      column("Agent", ".spec.request.agentDeployment"),
      column("Tool", ".spec.request.tool"),
      column("Acting for", ".spec.request.actingFor"),
      column("Verdict", ".spec.decision.verdict"),
      column("Decided by", ".spec.decision.decidedBy"),
      // As text: a date in the future is shown as <invalid>.
      column("Expires", ".spec.request.expiresAt"),
      age,
      column("Server", ".spec.request.server", 1),
      column("Arguments", ".spec.request.arguments", 1),
      column("Reason", ".spec.request.reason", 1),
    ],
  },
  {
    ...api,
    kind: "PodUsage",
    plural: "podusages",
    singular: "podusage",
    shortNames: ["pu"],
    scope: "Namespaced",
    status: "Subresource",
    description: "Cumulative usage of one pod; named after the pod's UID.",
    schema: podUsageSchema,
    columns: [
      column("Pod", ".spec.podName"),
      column("Agent", ".spec.agentDeployment"),
      column("Entitlement", ".spec.grants.entitlement.state"),
      column("Mode", ".spec.control.mode"),
      column("Final", ".status.final"),
      { name: "Reported", type: "string", jsonPath: ".status.reportedAt" },
      age,
      column("Quarantined", ".status.quarantined", 1),
      column("Checkpoint", ".spec.grants.checkpointSeconds", 1),
    ],
  },
  {
    ...api,
    kind: "UsageLedger",
    plural: "usageledgers",
    singular: "usageledger",
    shortNames: ["ul"],
    scope: "Cluster",
    status: "None",
    description: "The books of one offer resource: accepted, reserved and settled totals.",
    schema: usageLedgerSchema,
    columns: [
      column("Mode", ".spec.mode"),
      column("Plan", ".spec.planId"),
      column("Closed", ".spec.lastClosedHour"),
      column("Open since", ".spec.oldestOpenHour"),
      column("Accepted", ".spec.lastAcceptedHour"),
      column("Parked", ".spec.parked"),
      column("Problem", ".spec.problems[0].reason"),
      age,
      column("Since", ".spec.problems[0].since", 1),
      column("Message", ".spec.problems[0].message", 1),
      column("Released", ".spec.exportedMonths", 1),
      column("Revision", ".spec.revision", 1),
    ],
  },
  {
    ...api,
    kind: "UsageStatement",
    plural: "usagestatements",
    singular: "usagestatement",
    shortNames: ["us"],
    scope: "Cluster",
    status: "None",
    description:
      "One slot's account (resource, dimension, hour): what was meant, what was accepted, whose it is. The receipt.",
    schema: usageStatementSchema,
    columns: [
      column("Hour", ".spec.intent.hour"),
      column("Dimension", ".spec.intent.dimension"),
      column("Quantity", ".spec.intent.quantity"),
      column("Unit", ".spec.intent.unit"),
      column("State", ".spec.state"),
      column("Accepted", ".spec.outcome.acceptedQuantity"),
      column("Agents", ".spec.intent.agents"),
      age,
      column("Plan", ".spec.intent.planId", 1),
      column("Adjustment", ".spec.outcome.adjustmentBaseUnits", 1),
      column("Resolved by", ".spec.outcome.resolvedBy", 1),
      column("Event", ".spec.outcome.usageEventId", 1),
      column("Note", ".spec.outcome.note", 1),
    ],
  },
];
