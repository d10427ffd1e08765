import { Refusal } from "#core/errors.ts";
import type { CheckFailure, CheckResult } from "../check.ts";
import { decideGuardrail, type GuardrailAction } from "../guardrail.ts";
import type { AnswerShape } from "./answer-texts.ts";
import type { OutputGuardrail, OutputGuardrails } from "./output-guardrail.ts";
import type { Tally } from "./tally.ts";

/** What one guardrail said about one answer. */
export interface OutputVerdict {
  readonly name: string;
  readonly action: GuardrailAction;
  readonly result: CheckResult;
}

/** The guardrails of one answer. */
export interface OutputCheck {
  readonly guardrails: OutputGuardrails;
  readonly shape: AnswerShape;
  /** Called once for each guardrail that was asked. */
  readonly note: (verdict: OutputVerdict) => void;
}

/** Writes down what a guardrail has found out; the reason why the answer may not go on, if it may not. */
export function judge(check: OutputCheck, guardrail: OutputGuardrail, result: CheckResult): Refusal | undefined {
  const action = decideGuardrail(guardrail, result);
  check.note({ name: guardrail.name, action, result });
  return refusalOf(guardrail.name, action);
}

/** The same where none of them can tell: the answer passes when all of them are Open. */
export function judgeUnchecked(check: OutputCheck, reason: CheckFailure): Refusal | undefined {
  for (const guardrail of check.guardrails.list) {
    const refusal = judge(check, guardrail, { kind: "failed", reason });
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** What a tally means. */
export function resultOf(tally: Tally): CheckResult {
  const [first] = tally.counts.keys();
  return first === undefined ? { kind: "clean" } : { kind: "hit", rule: first, counts: tally.counts };
}

/** What an action means for an answer. */
export function refusalOf(name: string, action: GuardrailAction): Refusal | undefined {
  if (action === "Reject")
    return new Refusal("content_filter", `Cannot pass the answer on as the guardrail ${name} refuses it`);
  if (action === "FailClosed")
    return new Refusal(
      "guardrail_unavailable",
      `Cannot pass the answer on as the guardrail ${name} could not check it`,
    );
  return undefined;
}
