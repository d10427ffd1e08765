import type { Ledger } from "./api/usage-ledger.ts";
import { type PodView, totalsAt } from "./counted.ts";
import { ringWanted } from "./ring.ts";
import { shiftHour } from "./time.ts";

/** Adds pods up by agent, one at a time. */
export interface PodMerger {
  add(pod: PodView): void;
  /** One view per agent, and each pod that could not be added up. */
  pods(): PodView[];
}

interface Sum {
  createdMs: number;
  team: string | undefined;
  readonly totals: Map<string, bigint>;
  readonly byHour: readonly Map<string, bigint>[];
}

/**
 * Makes of the live pods of each agent one that closes the ledger's next hour to the same ledger: closing adds pods up per
 * agent at a few hours, for every account and several times, which takes long for ten thousand. A pod that has forgotten
 * what it had counted where a period begins stays alone, as that is judged pod by pod.
 */
export function createPodMerger(ledger: Ledger): PodMerger {
  const { from, edges } = ringWanted(ledger);
  const openings = [...edges, from];
  const hours = [...new Set([...openings, shiftHour(from, 1)])].toSorted();
  const sums = new Map<string, Sum>();
  // In the order in which agents are first seen: shares are listed so, and a remainder goes to the first.
  const views: (() => PodView)[] = [];
  return {
    add(pod) {
      if (openings.some((edge) => hasForgotten(pod, edge))) {
        views.push(() => pod);
        return;
      }
      const sum = sums.get(pod.agent) ?? emptySum(hours.length);
      if (!sums.has(pod.agent)) views.push(() => toView(pod.agent, sum, hours));
      sums.set(pod.agent, sum);
      if (pod.team !== undefined && pod.createdMs >= sum.createdMs)
        Object.assign(sum, { team: pod.team, createdMs: pod.createdMs });
      addTotals(sum.totals, pod.totals);
      for (const [index, hour] of hours.entries()) addTotals(sum.byHour[index], totalsAt(pod, hour));
    },
    pods: () => views.map((view) => view()),
  };
}

/** The ring begins after the edge although something was counted before it. */
function hasForgotten(pod: PodView, edge: string): boolean {
  const oldest = pod.boundaries[0]?.hour ?? "";
  return oldest > edge && [...totalsAt(pod, edge).values()].some((total) => total > 0n);
}

function emptySum(hours: number): Sum {
  return {
    createdMs: 0,
    team: undefined,
    totals: new Map(),
    byHour: Array.from({ length: hours }, () => new Map<string, bigint>()),
  };
}

function addTotals(into: Map<string, bigint> | undefined, totals: ReadonlyMap<string, bigint>): void {
  for (const [dimension, total] of totals) into?.set(dimension, (into.get(dimension) ?? 0n) + total);
}

function toView(agent: string, sum: Sum, hours: readonly string[]): PodView {
  return {
    // No pod's UID, so no tombstone's.
    uid: `agent ${agent}`,
    agent,
    team: sum.team,
    createdMs: sum.createdMs,
    reportedMs: 0,
    final: false,
    totals: sum.totals,
    boundaries: hours.map((hour, index) => ({ hour, totals: sum.byHour[index] ?? new Map<string, bigint>() })),
  };
}
