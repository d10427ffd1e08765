import type { LOCAL_DETECTORS } from "#core/api/guardrails.ts";
import { CLEAN, type CheckResult } from "../check.ts";
import { findCard, findEmail } from "./personal.ts";
import { findSecret, type Span } from "./secrets.ts";
import { createWordFinder, foldWord, type Work } from "./words.ts";

/** What to look for. */
export interface LocalRules {
  readonly detect: readonly (typeof LOCAL_DETECTORS)[number][];
  readonly denyWords: readonly string[];
  /** A card or an address that is one of these is none. */
  readonly allowWords: readonly string[];
}

/** Rules made ready. Takes time that grows with the length of the texts alone, whatever stands in them; `work` counts it. */
export type LocalCheck = (texts: readonly string[], work: Work) => CheckResult;

type Rule = "secret" | "card" | "email" | "deny_word";
type Find = (text: string, from: number, work: Work) => Span | undefined;

/** Built once per configuration. */
export function createLocalCheck(rules: LocalRules): LocalCheck {
  const allowed = new Set(rules.allowWords.map((word) => foldWord(word).trim()));
  const words = rules.denyWords.length === 0 ? undefined : createWordFinder(rules.denyWords);
  const isFound = (find: Find, text: string, work: Work): boolean => {
    for (let span = find(text, 0, work); span !== undefined; span = find(text, span.end, work))
      if (!allowed.has(foldWord(text.slice(span.start, span.end)))) return true;
    return false;
  };
  const ruleOf = (text: string, work: Work): Rule | undefined => {
    // An allowed word never lets a secret pass: whoever knows one would have written it into the spec.
    if (rules.detect.includes("Secrets") && findSecret(text, work) !== undefined) return "secret";
    if (rules.detect.includes("Cards") && isFound(findCard, text, work)) return "card";
    if (rules.detect.includes("Emails") && isFound(findEmail, text, work)) return "email";
    return words?.isIn(text, work) === true ? "deny_word" : undefined;
  };
  return (texts, work) => {
    for (const text of texts) {
      const rule = ruleOf(text, work);
      if (rule !== undefined) return { kind: "hit", rule };
    }
    return CLEAN;
  };
}
