import type { SimEvent } from "./events.ts";
import { play, type Played } from "./player.ts";
import type { Setup } from "./setup.ts";

export interface Shrunk {
  readonly events: readonly SimEvent[];
  readonly played: Played;
}

/** Trials of one shrink: a bound, as each plays a whole history. */
const TRIALS_MAX = 3000;

/**
 * The fewest events that still break the same law: ever smaller pieces are left out, from the end to the start, until no
 * single event can go.
 */
export async function shrink(setup: Setup, events: readonly SimEvent[], law: string): Promise<Shrunk> {
  let best: Shrunk = { events, played: await play(setup, events) };
  let trials = 0;
  const attempt = async (candidate: readonly SimEvent[]): Promise<boolean> => {
    trials += 1;
    const played = await play(setup, candidate);
    if (!played.violations.some((violation) => violation.law === law)) return false;
    best = { events: candidate.slice(0, played.events), played };
    return true;
  };
  await attempt(best.events.slice(0, best.played.events));
  for (let size = Math.ceil(best.events.length / 2); size >= 1 && trials < TRIALS_MAX;) {
    const before = best.events.length;
    for (let from = best.events.length - size; from > -size && trials < TRIALS_MAX; from -= size) {
      const start = Math.max(0, from);
      await attempt([...best.events.slice(0, start), ...best.events.slice(start + size)]);
    }
    if (size > 1 || best.events.length === before) size = Math.floor(size / 2);
  }
  return best;
}
