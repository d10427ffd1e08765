import type { Ledger } from "./api/usage-ledger.ts";
import type { Statement } from "./api/usage-statement.ts";

/** GUIDs of before that a ledger remembers. */
const FORMER_MAX = 8;

/**
 * Takes the GUID that an answer named. An extension that was deleted and made again keeps its resource id and gets another
 * GUID: the list then names both, and both are ours.
 */
export function learnUsageResource(ledger: Ledger, id: string | undefined): Ledger {
  if (id === undefined || knownIds(ledger).has(id.toLowerCase())) return ledger;
  const { usageResourceId: current, formerUsageResourceIds: former = [] } = ledger;
  if (current === undefined) return { ...ledger, usageResourceId: id };
  return { ...ledger, usageResourceId: id, formerUsageResourceIds: [...former, current].slice(-FORMER_MAX) };
}

/**
 * Which of the listed GUIDs are ours; nothing when that is unclear. Without a known one, and after a re-creation whose new
 * GUID no answer has named yet, a single stranger is ours: to call it another's would bill a lost answer twice.
 */
export function ownUsageResources(
  ledger: Ledger,
  listed: readonly string[],
  facts: { readonly isRecreated: boolean },
): ReadonlySet<string> | undefined {
  const known = knownIds(ledger);
  if (known.size > 0 && !facts.isRecreated) return known;
  const strangers = new Set(listed.map((id) => id.toLowerCase()).filter((id) => !known.has(id)));
  return strangers.size > 1 ? undefined : new Set([...known, ...strangers]);
}

/** What Azure says for 24 h of a resource that was registered before, deleted, and made again (marketplace.md §3.2). */
export function isInvalidUsageState(reason: string): boolean {
  return /invalid usage state/i.test(reason);
}

/** Whether Azure has said `Invalid usage state.` (the resource was made again) since an answer last named a GUID. */
export function isRecreated(statements: readonly Statement[]): boolean {
  const refused = statements.flatMap(({ attempts }) =>
    [...attempts.first, ...attempts.last]
      .filter(({ message }) => isInvalidUsageState(message ?? ""))
      .map(({ at }) => at),
  );
  const named = statements.flatMap(({ outcome }) => (outcome?.usageResourceId === undefined ? [] : [outcome.at]));
  return newest(refused) > newest(named);
}

function knownIds(ledger: Ledger): ReadonlySet<string> {
  const { usageResourceId: current, formerUsageResourceIds: former = [] } = ledger;
  return new Set([...former, ...(current === undefined ? [] : [current])].map((id) => id.toLowerCase()));
}

/** Of ISO instants, which sort as text. */
function newest(instants: readonly string[]): string {
  return instants.reduce((a, b) => (a > b ? a : b), "");
}
