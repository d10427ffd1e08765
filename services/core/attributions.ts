import type { Attribution, Share } from "./api/usage-ledger.ts";
import type { PodView } from "./counted.ts";
import { maxOf, splitByWeight } from "./shares.ts";

/** Base units by AgentDeployment. */
export type Parts = ReadonlyMap<string, bigint>;

/** Adds parts of one dimension to what its agents were billed, or to what they had for nothing. */
export function addParts(
  attributions: readonly Attribution[],
  field: "billed" | "free",
  added: { readonly dimension: string; readonly parts: Parts },
): Attribution[] {
  const others = attributions.filter((entry) => entry.dimension !== added.dimension);
  const mine = new Map(attributionsOf(attributions, added.dimension).map((entry) => [entry.agent, entry]));
  for (const [agent, part] of added.parts) {
    const entry = mine.get(agent) ?? { agent, dimension: added.dimension, billed: "0", free: "0" };
    mine.set(agent, { ...entry, [field]: maxOf(0n, BigInt(entry[field]) + part).toString() });
  }
  return [...others, ...mine.values()];
}

/** What each agent of a dimension was billed or had for nothing so far. */
export function coveredBy(attributions: readonly Attribution[], dimension: string): Map<string, bigint> {
  return new Map(
    attributionsOf(attributions, dimension).map(({ agent, billed, free }) => [agent, BigInt(billed) + BigInt(free)]),
  );
}

/**
 * An intent that brought another quantity than meant: the difference goes back to its owners, so that the carried rest
 * has one; what is written off is theirs for nothing.
 */
export function correctParts(
  attributions: readonly Attribution[],
  dimension: string,
  correction: { readonly difference: bigint; readonly shares: Parts; readonly isDropped: boolean },
): Attribution[] {
  const { difference, shares, isDropped } = correction;
  if (difference === 0n || shares.size === 0) return [...attributions];
  const sign = difference < 0n ? -1n : 1n;
  const split = splitByWeight(difference * sign, shares);
  const parts = new Map([...split].map(([agent, part]) => [agent, part * sign]));
  const billed = addParts(attributions, "billed", { dimension, parts });
  return isDropped && sign < 0n ? addParts(billed, "free", { dimension, parts: split }) : billed;
}

/** The team of each agent: the newest label of its pods, or the last one known where it has none. */
export function teamsOf(attributions: readonly Attribution[], pods: readonly PodView[]): ReadonlyMap<string, string> {
  const named = [...attributions, ...pods.toSorted((a, b) => a.createdMs - b.createdMs)];
  return new Map(named.flatMap(({ agent, team }) => (team === undefined ? [] : [[agent, team] as const])));
}

/** Attributions with these teams; an agent that is none of them keeps its own. */
export function nameTeams(attributions: readonly Attribution[], teams: ReadonlyMap<string, string>): Attribution[] {
  return attributions.map((entry) => {
    const team = teams.get(entry.agent);
    return team === undefined || team === entry.team ? entry : { ...entry, team };
  });
}

/** The shares of an intent of `hour`, each with its agent's team. */
export function toShares(
  parts: Parts,
  input: { readonly hour: string; readonly teams: ReadonlyMap<string, string> },
): Share[] {
  return [...parts]
    .filter(([, part]) => part > 0n)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([agent, part]) => {
      const team = input.teams.get(agent);
      const share = { agent, attributedHour: input.hour, baseUnits: part.toString() };
      return team === undefined ? share : { ...share, team };
    });
}

function attributionsOf(attributions: readonly Attribution[], dimension: string): Attribution[] {
  return attributions.filter((entry) => entry.dimension === dimension);
}
