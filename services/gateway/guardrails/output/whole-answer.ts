import type { Refusal } from "#core/errors.ts";
import { type JsonNode, memberOf, parseJsonTree, type Splice, spliceBytes } from "../../wire/json-tree.ts";
import { answerTexts, logprobsIn, type TextPlace } from "./answer-texts.ts";
import type { OutputGuardrail } from "./output-guardrail.ts";
import { createTally } from "./tally.ts";
import { createTextStage } from "./text-stage.ts";
import { judge, judgeUnchecked, type OutputCheck, resultOf } from "./verdict.ts";

/** An answer that may go on, or the reason why it may not. */
export type CheckedAnswer = { readonly bytes: Buffer; readonly refusal?: undefined } | { readonly refusal: Refusal };

/** Goes over a whole JSON answer with guardrails that ask nobody. */
export function checkAnswer(check: OutputCheck, bytes: Buffer): CheckedAnswer {
  const answer = open(check, bytes);
  if (answer === undefined) return unreadable(check, bytes);
  for (const guardrail of check.guardrails.list) {
    if (guardrail.kind !== "local") throw new Error("A guardrail that asks somebody must be waited for");
    const refusal = applyLocal(check, guardrail, answer);
    if (refusal !== undefined) return { refusal };
  }
  return { bytes: replaceTexts(bytes, answer) };
}

/** The same with guardrails that may ask somebody. `cut` ends it early; what it gives then is not to be used. */
export async function checkAnswerRemotely(check: OutputCheck, bytes: Buffer, cut: AbortSignal): Promise<CheckedAnswer> {
  const answer = open(check, bytes);
  if (answer === undefined) return unreadable(check, bytes);
  for (const guardrail of check.guardrails.list) {
    const refusal =
      guardrail.kind === "local"
        ? applyLocal(check, guardrail, answer)
        : judge(check, guardrail, await guardrail.check(answer.texts, cut));
    if (refusal !== undefined || cut.aborted) return refusal === undefined ? { bytes } : { refusal };
  }
  return { bytes: replaceTexts(bytes, answer) };
}

interface OpenAnswer {
  readonly root: JsonNode;
  readonly places: readonly TextPlace[];
  /** As the guardrails so far have left them, one for each place. */
  texts: readonly string[];
}

function open(check: OutputCheck, bytes: Buffer): OpenAnswer | undefined {
  const root = parseJsonTree(bytes);
  const places = root && answerTexts(bytes, root, check.shape);
  return root && places && { root, places, texts: places.map(({ text }) => text) };
}

function unreadable(check: OutputCheck, bytes: Buffer): CheckedAnswer {
  const refusal = judgeUnchecked(check, "unreadable_answer");
  return refusal === undefined ? { bytes } : { refusal };
}

function applyLocal(
  check: OutputCheck,
  guardrail: Extract<OutputGuardrail, { kind: "local" }>,
  answer: OpenAnswer,
): Refusal | undefined {
  const tally = createTally();
  const holds = guardrail.action === "Mask";
  answer.texts = answer.texts.map((text) => createTextStage({ scan: guardrail.scan(), tally, holds }).push(text, true));
  return judge(check, guardrail, resultOf(tally));
}

function replaceTexts(bytes: Buffer, { root, places, texts }: OpenAnswer): Buffer {
  const changed = places.flatMap(({ node, text }, index): Splice[] => {
    const now = texts[index] ?? text;
    return now === text ? [] : [{ start: node.start, end: node.end, text: JSON.stringify(now) }];
  });
  if (changed.length === 0) return bytes;
  const cleared = [memberOf(root, "choices"), memberOf(root, "output")].flatMap(logprobsIn).map(clearLogprobs);
  return spliceBytes(
    bytes,
    [...changed, ...cleared].toSorted((a, b) => a.start - b.start),
  );
}

/** Tokens would tell what a label stands for. */
export function clearLogprobs({ kind, start, end }: JsonNode): Splice {
  return { start, end, text: kind === "array" ? "[]" : "null" };
}
