import { markBegun, type Refusal } from "#core/errors.ts";
import type { AnswerReport, Settle } from "../upstream/answer.ts";
import { addAuditLine, auditTurn, CLIENT_GONE, refused, type Verdict } from "../telemetry/audit.ts";
import { type ModelCount, toModelCount } from "./count.ts";
import type { Gateway } from "../gateway.ts";
import { decideGuardrail } from "../guardrails/guardrail.ts";
import { noteGuardrail } from "../guardrails/note.ts";
import { toRefusal } from "../wire/refuse.ts";
import type { ModelCall } from "../upstream/route.ts";
import type { Turn } from "../turn.ts";

/** Ends a model call's books, once: counts, then metrics and the audit line. */
export function settleModel(
  gateway: Gateway,
  turn: Turn,
  { call, status }: { readonly call: ModelCall; readonly status: number },
): Settle {
  return (report, answer) => {
    const count = toModelCount(report, call.request.textBytes);
    noteCut(gateway, turn, report);
    gateway.books.close({
      usage: count.counted,
      mayWait: turn.response.headersSent,
      record: (refusal) => recordModel(gateway, turn, { call, status, report, count, refusal }),
      answer,
    });
  };
}

interface ModelEnd {
  readonly call: ModelCall;
  readonly status: number;
  readonly report: AnswerReport;
  readonly count: ModelCount;
  readonly refusal: Refusal | undefined;
}

function recordModel(gateway: Gateway, turn: Turn, { call, status, report, count, refusal }: ModelEnd): void {
  if (refusal) {
    addAuditLine(gateway, turn, refused(refusal));
    return;
  }
  const { outcome } = turn;
  outcome.inputTokens = count.usage.inputTokens;
  outcome.cachedInputTokens = count.usage.cachedInputTokens;
  outcome.outputTokens = count.usage.outputTokens;
  outcome.reasoningTokens = count.usage.reasoningTokens;
  outcome.estimated = count.isEstimated;
  outcome.finishReasons = report.finishReasons;
  if (report.filterDown) noteFilterDown(gateway, turn, call);
  noteModel(gateway, turn, report);
  addAuditLine(gateway, turn, report.refusal ? refused(report.refusal) : answered(turn, status));
}

/** Tokens and times of one answer. Those of a cut one would be of another thing than those of whole ones. */
function noteModel(gateway: Gateway, turn: Turn, { usage, cutBy }: AnswerReport): void {
  const { metrics, firstEventMs, newestEventMs } = turn;
  if (metrics === undefined) return;
  metrics.countTokens(usage);
  if (cutBy !== undefined) return;
  metrics.operationSeconds.observe((gateway.clock.monotonic() - turn.sentMs) / 1000);
  if (firstEventMs !== undefined && usage !== undefined && usage.outputTokens > 1)
    metrics.tokenSeconds.observe((newestEventMs - firstEventMs) / 1000 / (usage.outputTokens - 1));
}

/** Ends an agent call's books. `isRun`: a new run was accepted, which is one agent request. */
export function settleAgent(
  gateway: Gateway,
  turn: Turn,
  options: { readonly isRun: boolean; readonly mayHaveBegun: boolean; readonly status: number },
) {
  let isCounted = !options.isRun;
  const count = (): void => {
    if (isCounted) return;
    try {
      countOrAudit(gateway, turn, () => gateway.meter.count({ agent_requests: 1n }));
    } catch (error) {
      throw options.mayHaveBegun ? markBegun(error) : error;
    }
    isCounted = true;
  };
  return {
    /** Before the first byte of an accepted run reaches the client. */
    count,
    settle(report: AnswerReport, answer: (refusal: Refusal | undefined) => void): void {
      try {
        count();
      } catch (error) {
        answer(toRefusal(error));
        return;
      }
      noteCut(gateway, turn, report);
      turn.outcome.finishReasons = report.finishReasons;
      auditTurn(gateway, turn, answered(turn, options.status));
      answer(undefined);
    },
  };
}

function countOrAudit(gateway: Gateway, turn: Turn, count: () => void): void {
  try {
    count();
  } catch (error) {
    auditTurn(gateway, turn, refused(toRefusal(error)));
    throw error;
  }
}

/** Azure's filter judged nothing of what passed: somebody should know, and the record must say so. */
function noteFilterDown(gateway: Gateway, turn: Turn, { route, snapshot }: ModelCall): void {
  turn.outcome.contentFilter = "down";
  gateway.metrics.filterDown.inc({ model: route.alias, deployment: turn.outcome.deployment ?? "other" });
  const filter = snapshot.contentFilter;
  if (filter === undefined) return;
  const result = { kind: "failed", reason: "filter_down" } as const;
  noteGuardrail(gateway, turn, { name: filter.name, phase: "Output", result, action: decideGuardrail(filter, result) });
}

/** Who left before an answer began has seen nothing of it. */
function answered({ outcome, response }: Turn, status: number): Verdict {
  return { status: outcome.cutBy === "client" && !response.headersSent ? CLIENT_GONE : status };
}

function noteCut(gateway: Gateway, turn: Turn, report: AnswerReport): void {
  if (report.cutBy === undefined) return;
  turn.outcome.cutBy = report.cutBy;
  if (report.isInterrupted) turn.outcome.code = "stream_interrupted";
  gateway.metrics.streamsCut.inc({ side: report.cutBy });
}
