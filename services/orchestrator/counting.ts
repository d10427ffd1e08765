import { Refusal } from "#core/errors.ts";
import type { Counters } from "#runtime/counters.ts";
import type { Logger } from "#runtime/log.ts";
import type { Journal } from "./store/journal.ts";

/** Base dimensions that the orchestrator counts. */
export const COUNTED_DIMENSIONS = ["workflow_completed", "tool_action"] as const;

/**
 * Dimensions of one counter file. An agent's declared ones change with its spec while the pod lives, and what was counted
 * once stays; with the sidecar's own they must fit into a PodUsage (32).
 */
const FILE_DIMENSIONS_MAX = 30;

/** Joins the journal's facts and the counter file, which share one order (contracts.md, 3). */
export interface FactCounter {
  /** The life of the counters: facts are written down as counted in it. */
  readonly countIn: string;
  /** The newest fact that the counter file holds. */
  readonly sequence: number;
  /**
   * Counts every fact of this life that the counter file does not hold yet, in the journal's order; call it in the same
   * tick as the transaction that wrote the fact. Throws Refusal metering_unavailable when the file cannot be written;
   * the facts stay in the journal and are counted by the next call. Returns how many were counted.
   */
  count(): number;
  /** Whether a dimension is counted already or can be added: the counter file holds a bounded number. */
  hasRoom(dimension: string): boolean;
  /** Why nothing can be counted now. */
  problem(): string | undefined;
}

/**
 * A process that died between fact and counter left the fact with a sequence above the file's: the first `count` of the
 * next process repairs that. Facts of another life (another pod or boot) are never counted here: they may have been
 * published already, and what is in doubt is not billed.
 */
export function createFactCounter(counters: Counters, journal: Journal, log: Logger): FactCounter {
  let problem: string | undefined;
  journal.reserveSequence(counters.journalSequence);
  return {
    countIn: counters.epoch,
    get sequence() {
      return counters.journalSequence;
    },
    count() {
      const facts = journal.factsAfter(counters.epoch, counters.journalSequence);
      try {
        for (const fact of facts) counters.count({ [fact.dimension]: BigInt(fact.amount) }, fact.sequence);
        problem = undefined;
        return facts.length;
      } catch (cause) {
        problem = "Cannot write the counter file";
        log.error({ err: cause }, "Failed to count usage");
        throw new Refusal("metering_unavailable", "Cannot answer as usage cannot be counted", { cause });
      }
    },
    hasRoom: (dimension) => counters.dimensions.includes(dimension) || counters.dimensions.length < FILE_DIMENSIONS_MAX,
    problem: () => problem,
  };
}
