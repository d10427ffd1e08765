import { z } from "zod";
import { type CheckResult, CLEAN, checkAll, isFarTooLong, TOO_LONG } from "./check.ts";
import { withCheckTime } from "./check-time.ts";
import type { CleanMemo } from "./clean-memo.ts";
import { callContentSafety, type CheckTime, type ContentSafety } from "./content-safety.ts";
import { splitText } from "./split-text.ts";

/** Azure's name of each harm category, and our name of the rule that it is. */
const RULES = { Hate: "hate", SelfHarm: "self_harm", Sexual: "sexual", Violence: "violence" } as const;

export interface AnalyzeTextOptions {
  readonly service: ContentSafety;
  readonly memo: CleanMemo;
  readonly timeoutMs: number;
  /** From which severity a category is a hit: 1 to 7, in eight levels. */
  readonly categories: readonly { readonly category: keyof typeof RULES; readonly severityMin: number }[];
  /** Blocklists of the resource; any match is a hit. */
  readonly blocklists: readonly string[];
}

/** Azure's limit (text:analyze, 2024-09-01), in characters: UTF-16 units are never fewer. */
const CHARACTERS_MAX = 10_000;
const OVERLAP = 1_000;
const CALLS_MAX = 32;
const PARALLEL_MAX = 4;

/** Asks Analyze text about a text, in as many calls as its length needs. */
export async function checkAnalyzeText(
  options: AnalyzeTextOptions,
  texts: readonly string[],
  cut: AbortSignal,
): Promise<CheckResult> {
  const { clock } = options.service;
  const nowMs = clock.monotonic();
  if (isFarTooLong(texts)) return TOO_LONG;
  const parts = splitText(texts.join("\n").toWellFormed(), { partMax: CHARACTERS_MAX, overlap: OVERLAP });
  const calls = [...new Set(parts)].filter((part) => !options.memo.has("analyze", part, nowMs));
  if (calls.length === 0) return CLEAN;
  if (calls.length > CALLS_MAX) return TOO_LONG;
  return withCheckTime({ clock, timeoutMs: options.timeoutMs, cut }, (time, stop) =>
    checkAll(calls, { parallel: PARALLEL_MAX, check: (text) => analyzeOnce(options, text, time), stop }),
  );
}

const answerSchema = z.object({
  blocklistsMatch: z.array(z.unknown()).nullish(),
  categoriesAnalysis: z.array(z.object({ category: z.string(), severity: z.int().min(0).max(7) })).nullish(),
});

async function analyzeOnce(options: AnalyzeTextOptions, text: string, time: CheckTime): Promise<CheckResult> {
  const { categories, blocklists } = options;
  const body = {
    text,
    categories: categories.map((each) => each.category),
    ...(blocklists.length === 0 ? {} : { blocklistNames: blocklists, haltOnBlocklistHit: true }),
    outputType: "EightSeverityLevels",
  };
  const result = await callContentSafety(options.service, { operation: "analyze", body }, time);
  if (!result.ok) return { kind: "failed", reason: result.reason };
  const { blocklistsMatch, categoriesAnalysis } = answerSchema.safeParse(result.answer).data ?? {};
  if (blocklistsMatch && blocklistsMatch.length > 0) return { kind: "hit", rule: "blocklist" };
  const severities = new Map(categoriesAnalysis?.map((each) => [each.category, each.severity]));
  const hit = categories.find(({ category, severityMin }) => (severities.get(category) ?? 0) >= severityMin);
  if (hit !== undefined) return { kind: "hit", rule: RULES[hit.category] };
  // Each category has its verdict, or there is none.
  if (!categoriesAnalysis || categories.some(({ category }) => !severities.has(category)))
    return { kind: "failed", reason: "unreadable_answer" };
  options.memo.add("analyze", text, options.service.clock.monotonic());
  return CLEAN;
}
