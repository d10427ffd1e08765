import { z } from "zod";
import { type CheckResult, CLEAN, checkAll, isFarTooLong, TOO_LONG } from "./check.ts";
import type { CleanMemo } from "./clean-memo.ts";
import { callContentSafety, type CheckTime, type ContentSafety } from "./content-safety.ts";
import { withCheckTime } from "./check-time.ts";
import type { RequestTexts } from "./request-texts.ts";
import { splitText } from "./split-text.ts";

export interface PromptShieldsOptions {
  readonly service: ContentSafety;
  readonly memo: CleanMemo;
  /** For all calls of one check, retries and waits included. */
  readonly timeoutMs: number;
}

/** Azure's limits (text:shieldPrompt, 2024-09-01), in characters: UTF-16 units are never fewer. */
const CHARACTERS_MAX = 10_000;
const DOCUMENTS_MAX = 5;
/** An attack of this length is seen whole wherever a text had to be cut. */
export const SHIELD_OVERLAP = 1_000;
/** 300,000 characters or so of each kind; a text beyond that is a failure. */
const SHIELD_CALLS_MAX = 32;
const PARALLEL_MAX = 4;

/** One call of the API. */
export interface ShieldCall {
  readonly body: { readonly userPrompt?: string; readonly documents: readonly string[] };
  /** The document parts that stand in it, each for itself. */
  readonly parts: readonly string[];
}

/** Asks Prompt Shields about all of a request's texts, in as many calls as their length needs. */
export async function checkPromptShields(
  options: PromptShieldsOptions,
  texts: RequestTexts,
  cut: AbortSignal,
): Promise<CheckResult> {
  const { clock } = options.service;
  const nowMs = clock.monotonic();
  /** Each part once, but for those that were clean a moment ago. */
  const newOf = (kind: string, all: readonly string[]): string[] =>
    [...new Set(all)].filter((part) => !options.memo.has(kind, part, nowMs));
  if (isFarTooLong(texts.prompts) || isFarTooLong(texts.documents)) return TOO_LONG;
  const parts = toShieldParts(texts);
  const calls = packShieldCalls({
    prompts: newOf("prompt", parts.prompts),
    documents: newOf("document", parts.documents),
  });
  if (calls.length === 0) return CLEAN;
  if (calls.length > SHIELD_CALLS_MAX) return TOO_LONG;
  return withCheckTime({ clock, timeoutMs: options.timeoutMs, cut }, (time, stop) =>
    checkAll(calls, { parallel: PARALLEL_MAX, check: (call) => shieldOnce(options, call, time), stop }),
  );
}

/** All texts as parts that Azure takes. What users wrote is one text, so that an attack in pieces is seen as one. */
export function toShieldParts({ prompts, documents }: RequestTexts): RequestTexts {
  const split = { partMax: CHARACTERS_MAX, overlap: SHIELD_OVERLAP };
  return {
    prompts: splitText(prompts.join("\n").toWellFormed(), split),
    documents: documents.flatMap((document) => splitText(document.toWellFormed(), split)),
  };
}

/**
 * The parts as few calls, each with one prompt part and as many documents as fit. Where that makes too many calls, since Azure takes five
 * documents at once however short they are, short ones are sent together as one.
 */
export function packShieldCalls(parts: RequestTexts): ShieldCall[] {
  const apart = pack(parts, "apart");
  return apart.length <= SHIELD_CALLS_MAX ? apart : pack(parts, "together");
}

interface Batch {
  readonly documents: string[];
  readonly parts: string[];
  room: number;
}

function pack({ prompts, documents }: RequestTexts, how: "apart" | "together"): ShieldCall[] {
  const batches: Batch[] = [];
  for (const document of documents) {
    const last = batches.at(-1);
    if (last === undefined || !put(last, document, how))
      batches.push({ documents: [document], parts: [document], room: CHARACTERS_MAX - document.length });
  }
  return Array.from({ length: Math.max(prompts.length, batches.length) }, (_, index) => {
    const userPrompt = prompts[index];
    const { documents: sent, parts } = batches[index] ?? { documents: [], parts: [] };
    return { body: { ...(userPrompt === undefined ? {} : { userPrompt }), documents: sent }, parts };
  });
}

/** Puts a document into a batch, if there is room. */
function put(batch: Batch, document: string, how: "apart" | "together"): boolean {
  const isFull = batch.documents.length >= DOCUMENTS_MAX;
  const joined = isFull ? `${batch.documents.at(-1) ?? ""}\n${document}` : document;
  const added = isFull ? document.length + 1 : document.length;
  if (added > batch.room || (isFull && how === "apart")) return false;
  if (isFull) batch.documents.pop();
  batch.documents.push(joined);
  batch.parts.push(document);
  batch.room -= added;
  return true;
}

const analysis = z.object({ attackDetected: z.boolean() });
const answerSchema = z.object({
  userPromptAnalysis: analysis.nullish(),
  documentsAnalysis: z.array(analysis).nullish(),
});

async function shieldOnce(options: PromptShieldsOptions, call: ShieldCall, time: CheckTime): Promise<CheckResult> {
  const result = await callContentSafety(options.service, { operation: "shieldPrompt", body: call.body }, time);
  if (!result.ok) return { kind: "failed", reason: result.reason };
  const { data: answer } = answerSchema.safeParse(result.answer);
  const verdict = answer === undefined ? UNREADABLE : judge(answer, call.body);
  if (verdict.kind === "clean") remember(options, call);
  return verdict;
}

const UNREADABLE: CheckResult = { kind: "failed", reason: "unreadable_answer" };

/** Each part has its verdict, or there is none: silence is not innocence. */
function judge(answer: z.output<typeof answerSchema>, asked: ShieldCall["body"]): CheckResult {
  const prompt = answer.userPromptAnalysis?.attackDetected;
  const documents = answer.documentsAnalysis ?? [];
  if (prompt === true) return { kind: "hit", rule: "prompt_attack" };
  if (documents.some((each) => each.attackDetected)) return { kind: "hit", rule: "document_attack" };
  const isWhole = (asked.userPrompt === undefined || prompt === false) && documents.length === asked.documents.length;
  return isWhole ? CLEAN : UNREADABLE;
}

function remember({ memo, service }: PromptShieldsOptions, call: ShieldCall): void {
  const nowMs = service.clock.monotonic();
  if (call.body.userPrompt !== undefined) memo.add("prompt", call.body.userPrompt, nowMs);
  for (const document of call.parts) memo.add("document", document, nowMs);
}
