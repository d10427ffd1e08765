import type { Ledger } from "./api/usage-ledger.ts";

/** Which boundaries of a pod the folds will ask for. */
export interface RingWanted {
  /** All from this hour on: the newest closed one, at whose end a period may begin, and those that are not closed yet. */
  readonly from: string;
  /** Hours before it at which periods begin that late reports may still reach. */
  readonly edges: readonly string[];
}

/** For who asks for no hour. */
export const NO_RING: RingWanted = { from: "9999999999", edges: [] };

/** What closing hours with this ledger needs of the pods' rings. */
export function ringWanted(ledger: Ledger): RingWanted {
  const open = ledger.accounts.flatMap((account) => account.segments).filter((segment) => segment.frozen === "No");
  return { from: ledger.lastClosedHour, edges: [...new Set(open.map((segment) => segment.edge))] };
}

/**
 * The part of a ring that answers the same as the whole for every wanted hour: a total at an hour is that of the first
 * boundary at or after it, and the one at or before an edge tells that the pod remembers it. The newest stays too, as it
 * tells when the pod last spoke. Of 26 boundaries two or three are left: with all of them ten thousand pods fill the reporter's memory.
 */
export function thinRing<T extends { readonly hour: string }>(boundaries: readonly T[], wanted: RingWanted): T[] {
  const hours = boundaries.map(({ hour }) => hour).toSorted();
  const kept = new Set([hours.at(-1)]);
  for (const edge of [wanted.from, ...wanted.edges])
    kept.add(hours.find((hour) => hour >= edge)).add(hours.findLast((hour) => hour <= edge));
  return boundaries.filter(({ hour }) => hour >= wanted.from || kept.has(hour));
}
