import { setImmediate as yieldLoop } from "node:timers/promises";
import type { Work } from "./candidate.ts";

/** Some milliseconds of work with what comes beside it, a long request's worth: then others have their turn. */
const STEPS_PER_TURN = 65_536;

/** Lets others have the event loop when much has been done since the last time; nothing to wait for before that. */
export function createPause(work: Work): () => Promise<void> | undefined {
  let dueAt = work.steps + STEPS_PER_TURN;
  return () => {
    if (work.steps < dueAt) return undefined;
    dueAt = work.steps + STEPS_PER_TURN;
    return yieldLoop();
  };
}
