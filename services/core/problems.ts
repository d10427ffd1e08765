import type { Problem, ProblemReason } from "./api/usage-ledger.ts";
import { toIso } from "./time.ts";

/** A problem as it is found now; since when it lasts stands in the ledger. */
export interface Finding {
  readonly reason: ProblemReason;
  readonly message: string;
}

/**
 * The problems to write: one per reason, each with the moment it was first found. The same list when nothing changed, so
 * that a lasting problem costs one write.
 */
export function mergeProblems(current: Problem[], found: readonly Finding[], nowMs: number): Problem[] {
  const known = new Map(current.map((problem) => [problem.reason, problem]));
  const merged = found.map(({ reason, message }) => {
    const text = message.slice(0, 512);
    const same = known.get(reason);
    return same?.message === text ? same : { reason, message: text, since: same?.since ?? toIso(nowMs) };
  });
  const isSame = merged.length === current.length && merged.every((problem) => known.get(problem.reason) === problem);
  return isSame ? current : merged;
}
