import { setImmediate as yieldLoop } from "node:timers/promises";
import type { Work } from "./candidate.ts";

/** Some 2 ms of work at the most, a hundred requests' worth: then others have their turn. */
export const STEPS_PER_TURN = 262_144;

/** Lets others have the event loop when much has been done since the last time; nothing to wait for before that. */
export function createPause(work: Work): () => Promise<void> | undefined {
  let dueAt = work.steps + STEPS_PER_TURN;
  return () => {
    if (work.steps < dueAt) return undefined;
    dueAt = work.steps + STEPS_PER_TURN;
    return yieldLoop();
  };
}
