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

/** The same with guardrails that may ask somebody, and for a long answer, which others need not wait for. `cut` ends it early; what it gives then is not to be used. */
export async function checkAnswerLater(check: OutputCheck, bytes: Buffer, cut: AbortSignal): Promise<CheckedAnswer> {
  const answer = open(check, bytes);
  if (answer === undefined) return unreadable(check, bytes);
  for (const guardrail of check.guardrails.list) {
    const refusal =
      guardrail.kind === "local"
        ? await applyInTurns(check, guardrail, answer)
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

type LocalGuardrail = Extract<OutputGuardrail, { kind: "local" }>;

function applyLocal(check: OutputCheck, guardrail: LocalGuardrail, answer: OpenAnswer): Refusal | undefined {
  const tally = createTally();
  const holds = guardrail.action === "Mask";
  answer.texts = answer.texts.map((text) => createTextStage({ scan: guardrail.scan(), tally, holds }).push(text, true));
  return judge(check, guardrail, resultOf(tally));
}

/** Some 2 ms of work: what a long text waits for in between is nothing to it, and all to the others. */
const PIECE_UNITS = 128 * 1024;

async function applyInTurns(
  check: OutputCheck,
  guardrail: LocalGuardrail,
  answer: OpenAnswer,
): Promise<Refusal | undefined> {
  const tally = createTally();
  const holds = guardrail.action === "Mask";
  const texts: string[] = [];
  for (const text of answer.texts) {
    const stage = createTextStage({ scan: guardrail.scan(), tally, holds });
    let out = "";
    for (let at = 0; at < text.length; at += PIECE_UNITS) {
      if (at > 0) await new Promise((resolve) => setImmediate(resolve));
      out += stage.push(text.slice(at, at + PIECE_UNITS), at + PIECE_UNITS >= text.length);
    }
    texts.push(out);
  }
  answer.texts = texts;
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
