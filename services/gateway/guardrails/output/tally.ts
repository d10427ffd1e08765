/** What one guardrail has found in one answer, by rule: numbers alone, never a text. */
export interface Tally {
  add(rule: string): void;
  /** Takes over what another has, as long as it has none of its own. */
  addUnlessAny(other: Tally): void;
  readonly counts: ReadonlyMap<string, number>;
}

export function createTally(): Tally {
  const counts = new Map<string, number>();
  return {
    add: (rule) => void counts.set(rule, (counts.get(rule) ?? 0) + 1),
    addUnlessAny(other) {
      if (counts.size === 0) for (const [rule, count] of other.counts) counts.set(rule, count);
    },
    counts,
  };
}
