import type { Control, OrchestratorConfig } from "#core/api/pod-config.ts";
import { type AuditOutcome, type AuditSubject, auditUsage, toAuditRecord } from "#core/audit.ts";
import type { PolicyDecision } from "#core/policy.ts";
import { NO_TOOL_USAGE, type ToolUsage } from "#core/tool-usage.ts";
import type { ActiveRun, RunWorld } from "./active-run.ts";
import type { Ruling } from "./call-ruling.ts";
import { digestOf } from "./canonical.ts";
import type { CallRecord } from "./store/journal.ts";

interface AuditorOptions {
  readonly context: { readonly config: OrchestratorConfig; readonly control: Control | undefined };
  readonly world: RunWorld;
  readonly decision: PolicyDecision;
  readonly ruling: Ruling;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Notes one step of a call. */
export type Report = (outcome: AuditOutcome, usage?: ToolUsage) => void;

/** Writes the audit line of each step of a call, and counts it for dashboards. */
export function auditor(run: ActiveRun, call: CallRecord, options: AuditorOptions): Report {
  const { context, world, decision, args, ruling } = options;
  const { namespace, name } = context.config.agent;
  const subject: AuditSubject = {
    who: run.record.caller,
    actingFor: run.record.principal,
    agent: `${namespace}/${name}`,
    generation: context.config.generation,
    run: run.record.id,
    call: call.callId,
    tool: call.server === "" ? call.name : `${call.server}/${call.tool}`,
    argumentsDigest: digestOf(args),
    planId: context.control?.entitlement.planId ?? "",
    ...toAuditApproval(ruling),
  };
  return (outcome, usage = NO_TOOL_USAGE) => {
    const record = { ...toAuditRecord(subject, decision, outcome), ...auditUsage(usage) };
    world.log.info(record, "Decided tool call");
    if (decision.effect === "Refuse" && outcome === "Refused") world.metrics.toolRefused(decision.code);
    else if (outcome !== "Started" && outcome !== "Waiting") world.metrics.toolCallEnded(outcome);
  };
}

function toAuditApproval(ruling: Ruling): Pick<AuditSubject, "approval"> {
  const { asked } = ruling;
  if (!asked) return {};
  const { name, uid, digest } = asked;
  return { approval: { name, uid, digest, decidedBy: ("decidedBy" in ruling ? ruling.decidedBy : "") ?? "" } };
}
