import { CLEAN, type CheckResult } from "../check.ts";
import type { Work } from "./candidate.ts";
import { findLocalMatches } from "./local-scan.ts";
import { createLocalMatcher, type LocalRules } from "./matcher.ts";

/** Rules made ready. Takes time that grows with the length of the texts alone, whatever stands in them; `work` counts it. */
export type LocalCheck = (texts: readonly string[], work: Work) => CheckResult;

/** Built once per configuration. */
export function createLocalCheck(rules: LocalRules): LocalCheck {
  const matcher = createLocalMatcher(rules);
  return (texts, work) => {
    for (const text of texts) {
      const [first] = findLocalMatches(matcher, text, work);
      if (first !== undefined) return { kind: "hit", rule: first.rule };
    }
    return CLEAN;
  };
}
