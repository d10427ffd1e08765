import { CLEAN, type CheckResult } from "../check.ts";
import type { Work } from "./candidate.ts";
import { createLocalScan, findLocalMatches, type LocalMatch } from "./local-scan.ts";
import { createLocalMatcher, type LocalRules } from "./matcher.ts";
import { createPause } from "./pause.ts";

/**
 * Rules made ready. Takes time that grows with the length of the texts alone, whatever stands in them; `work` counts it. Others have
 * their turn meanwhile, and it ends with no verdict once `isCut`.
 */
export type LocalCheck = (texts: readonly string[], work: Work, isCut?: () => boolean) => Promise<CheckResult>;

/** How much of a text is looked at in one go, in UTF-16 units. */
export const PIECE_MAX = 16_384;

/** Built once per configuration. */
export function createLocalCheck(rules: LocalRules): LocalCheck {
  const matcher = createLocalMatcher(rules);
  return async (texts, work, isCut) => {
    const counts = new Map<string, number>();
    const pause = createPause(work);
    for (const text of texts) {
      if (text.length <= PIECE_MAX) countMatches(counts, findLocalMatches(matcher, text, work));
      else {
        const scan = createLocalScan(matcher, work);
        for (let at = 0; at < text.length && isCut?.() !== true; at += PIECE_MAX) {
          countMatches(counts, scan.push(text.slice(at, at + PIECE_MAX)));
          await pause();
        }
        countMatches(counts, scan.end());
      }
      const waiting = pause();
      if (waiting !== undefined) await waiting;
      if (isCut?.() === true) return { kind: "failed", reason: "cut" };
    }
    const [rule] = counts.keys();
    return rule === undefined ? CLEAN : { kind: "hit", rule, counts };
  };
}

/** Adds what was found, by rule. */
export function countMatches(counts: Map<string, number>, matches: readonly LocalMatch[]): void {
  for (const { rule, label } of matches) if (label !== "") counts.set(rule, (counts.get(rule) ?? 0) + 1);
}
