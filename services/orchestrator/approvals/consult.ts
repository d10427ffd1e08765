import type { OrchestratorConfig } from "#core/api/pod-config.ts";
import {
  APPROVAL_ARGUMENTS_MAX,
  approvalName,
  type ApprovalQuestion,
  type ApprovalState,
  decideApproval,
  toDigestSubject,
  toRuleVersion,
} from "#core/approvals.ts";
import type { PolicyDecision, RefusalCode } from "#core/policy.ts";
import type { ActiveRun, RunWorld } from "../active-run.ts";
import { canonicalJson, digestOf } from "../canonical.ts";
import type { ApprovalOutcome, ApprovalRecord, AskedApproval, CallRecord } from "../store/journal.ts";
import type { AgentTool } from "../tools.ts";

/** What people say to a call. Used: another call was made by their yes. */
export type Answer =
  | { readonly kind: "Wait"; readonly asked: AskedApproval }
  | { readonly kind: "Approved"; readonly asked: AskedApproval; readonly decidedBy: string }
  | { readonly kind: "Used"; readonly asked: ApprovalRecord }
  | {
      readonly kind: "Refused";
      readonly code: RefusalCode;
      readonly reason: string;
      readonly asked?: AskedApproval;
      readonly decidedBy?: string;
    };

/** A call that needs a person, with the rules that say so. */
export interface Asking {
  readonly config: OrchestratorConfig;
  readonly tool: AgentTool;
  readonly args: Readonly<Record<string, unknown>>;
  readonly decision: Exclude<PolicyDecision, { effect: "Refuse" }>;
  readonly world: RunWorld;
}

type Standing = Answer | { readonly kind: "Stale" };

/** Asks people about a call, or looks what they have said. What is no longer what was asked is asked anew. */
export async function consult(run: ActiveRun, call: CallRecord, asking: Asking): Promise<Answer> {
  const { journal } = asking.world;
  const waiting = call.approval === null ? undefined : journal.approval(call.approval);
  const question = toQuestion(waiting ?? { runId: run.record.id, callId: call.callId }, asking);
  const digest = digestOf(toDigestSubject(question));
  const name = approvalName(question.agentDeployment, digest);
  // Another response that went on from the same place may have asked anew already.
  const known = journal.approval(name);
  for (const asked of waiting && waiting.name !== name ? [waiting, known] : [known]) {
    const standing = asked && (await standingOf(asked, digest, asking.world));
    if (standing && standing.kind !== "Stale") return standing;
  }
  return ask(run, call, { ...asking, question, digest, name });
}

/** The digest of a call as the rules of now would ask about it; equal to the one that was asked, or the answer is stale. */
export function currentDigest(asked: AskedApproval, asking: Pick<Asking, "config" | "tool" | "args">): string {
  return digestOf(toDigestSubject(toQuestion(asked, asking)));
}

function toQuestion(
  origin: Pick<AskedApproval, "runId" | "callId">,
  { config, tool, args }: Pick<Asking, "config" | "tool" | "args">,
): ApprovalQuestion {
  const { url, auth } = tool.server;
  return {
    namespace: config.agent.namespace,
    agentDeployment: config.agent.name,
    agentGeneration: String(config.generation),
    runId: origin.runId,
    callId: origin.callId,
    server: tool.rule.server,
    tool: tool.rule.name,
    arguments: canonicalJson(args),
    ruleVersion: toRuleVersion(digestOf({ url, auth, rule: tool.rule })),
  };
}

async function standingOf(asked: ApprovalRecord, digest: string, world: RunWorld): Promise<Standing> {
  if (asked.claim) return { kind: "Used", asked };
  const looked = await world.approvals?.read(asked.name);
  const now = world.journal.approval(asked.name);
  if (now?.claim) return { kind: "Used", asked: now };
  if (!looked?.ok) {
    world.log.warn({ approval: asked.name, err: looked?.problem }, "Failed to read Approval");
    return { kind: "Wait", asked };
  }
  const state = decideApproval({ asked, currentDigest: digest, view: looked.view, nowMs: world.clock.now() });
  if (state.state !== "Waiting") settle(asked, OUTCOMES[state.state], world);
  return toStanding(asked, state);
}

const OUTCOMES = { Approved: "approved", Rejected: "denied", TimedOut: "timed_out", Stale: "stale" } as const;

function toStanding(asked: AskedApproval, state: ApprovalState): Standing {
  switch (state.state) {
    case "Waiting":
      return { kind: "Wait", asked };
    case "Approved":
      return { kind: "Approved", asked, decidedBy: state.decidedBy };
    case "Rejected": {
      const why = state.reason === "" ? "" : `: ${state.reason}`;
      const reason = `A person refused the call${why}`;
      return { kind: "Refused", code: "approval_denied", reason, asked, decidedBy: state.decidedBy };
    }
    case "TimedOut":
      return { kind: "Refused", code: "approval_timed_out", reason: "Nobody approved the call in time", asked };
    case "Stale":
      return { kind: "Stale" };
  }
}

function settle(asked: AskedApproval, outcome: ApprovalOutcome, world: RunWorld): void {
  if (!world.journal.settleApproval(asked.name, outcome)) return;
  world.metrics.approvalEnded(outcome, world.clock.now() - asked.askedAtMs);
  world.log.info({ approval: asked.name, outcome, run: asked.runId }, "Learnt the end of Approval");
}

interface NewQuestion extends Asking {
  readonly question: ApprovalQuestion;
  readonly digest: string;
  readonly name: string;
}

/** The object first, then the journal: a crash between the two finds it again by its name. */
async function ask(run: ActiveRun, call: CallRecord, asking: NewQuestion): Promise<Answer> {
  const { world, config, question, digest, name, decision } = asking;
  const problem = cannotAsk(run, call, asking);
  if (problem || !world.approvals || !config.approvals)
    return { kind: "Refused", ...(problem ?? unavailable(decision)) };
  const { timeoutSeconds, reasonRequired } = config.approvals;
  const askedAtMs = world.clock.now();
  const expiresAtMs = askedAtMs + timeoutSeconds * 1000;
  const { rule, reason } = decision;
  const actingFor = run.record.principal;
  const approval = { name, question, digest, rule, reason, reasonRequired, actingFor, expiresAtMs };
  const asked = await world.approvals.ask(approval);
  if (!asked.ok) {
    world.log.warn({ approval: name, run: run.record.id, err: asked.problem }, "Failed to create Approval");
    return { kind: "Refused", ...unavailable(decision) };
  }
  const { uid } = asked.view;
  const { runId, callId } = question;
  return {
    kind: "Wait",
    asked: { name, uid, digest, runId, callId, rule, askedAtMs, expiresAtMs: asked.view.expiresAtMs },
  };
}

/** The pod has no way to ask, or it failed: what needs a person is not done without one. */
function unavailable({ reason }: Pick<PolicyDecision, "reason">): {
  readonly code: RefusalCode;
  readonly reason: string;
} {
  return { code: "approval_unavailable", reason: `${reason}, and nobody can be asked now` };
}

/** Approvals of one pod that wait at the same time: rows here, objects in the cluster. */
const WAITING_MAX = 10_000;

function cannotAsk(
  run: ActiveRun,
  call: CallRecord,
  { question, world }: NewQuestion,
): { readonly code: RefusalCode; readonly reason: string } | undefined {
  // Nobody could come back for the answer.
  if (!run.record.request.store && call.approval === null)
    return {
      code: "approval_unavailable",
      reason: "A call that needs a person's approval needs a response with store true",
    };
  if (question.arguments.length > APPROVAL_ARGUMENTS_MAX) {
    const reason = `The arguments of a call that a person must approve must have at most ${APPROVAL_ARGUMENTS_MAX} characters`;
    return { code: "invalid_arguments", reason };
  }
  if (world.journal.approvalsWaiting(world.clock.now()) >= WAITING_MAX)
    return { code: "approval_unavailable", reason: `${WAITING_MAX} calls of the agent wait for a person already` };
  return undefined;
}
