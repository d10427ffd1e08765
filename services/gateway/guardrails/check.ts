/** Why a check brought no verdict: a closed set, also values of a label and of audit lines. Never a text of somebody's. */
export type CheckFailure =
  /** No verdict within the time of the check. */
  | "timeout"
  | "unreachable"
  | "throttled"
  | "server_error"
  /** Our key or token is missing or refused. */
  | "credential"
  /** The service refuses what it was asked: its limits or its version are not what we think. */
  | "refused"
  | "unreadable_answer"
  /** The text needs more calls than one check may make. */
  | "too_long"
  /** Azure's own filter beside its model said that it had judged nothing. */
  | "filter_down"
  /** The request was ended while it was checked. */
  | "cut";

/** What one check found out. `rule` names what was hit, from a closed set of the check's own. */
export type CheckResult =
  | { readonly kind: "clean" }
  /** `counts`: where each match is known, how many of which rule. */
  | { readonly kind: "hit"; readonly rule: string; readonly counts?: ReadonlyMap<string, number> }
  | { readonly kind: "failed"; readonly reason: CheckFailure };

export const CLEAN: CheckResult = { kind: "clean" };

/** More than four times what one check may ask about: even with most of it known, it is not worth the time to look. */
const TEXT_MAX = 1_200_000;

/** Whether texts are so long together that no check of them can end. In UTF-16 units. */
export function isFarTooLong(texts: readonly string[]): boolean {
  return texts.reduce((sum, text) => sum + text.length, 0) > TEXT_MAX;
}

export const TOO_LONG: CheckResult = { kind: "failed", reason: "too_long" };

/**
 * Makes some calls, at most `parallel` at a time. A hit ends all others: `stop` is called, and no more begin. A failure ends none, since
 * another call may still hit: with a failure mode of Open, one call that fails must not hide what the others would have found.
 */
export async function checkAll<T>(
  calls: readonly T[],
  how: { readonly parallel: number; readonly check: (call: T) => Promise<CheckResult>; readonly stop: () => void },
): Promise<CheckResult> {
  let hit: CheckResult | undefined;
  let failure: CheckResult | undefined;
  let next = 0;
  const work = async (): Promise<void> => {
    for (let call = calls[next++]; call !== undefined && hit === undefined; call = calls[next++]) {
      const result = await how.check(call);
      if (result.kind === "failed") failure ??= result;
      if (result.kind !== "hit" || hit !== undefined) continue;
      hit = result;
      how.stop();
    }
  };
  await Promise.all(Array.from({ length: Math.min(how.parallel, calls.length) }, work));
  return hit ?? failure ?? CLEAN;
}
