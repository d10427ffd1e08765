import type { RunWorld } from "./active-run.ts";
import type { Runs } from "./runs.ts";

/** How often unowned runs and expired responses are looked for (orchestrator.md, 10: no run stays without an owner). */
const UPKEEP_MS = 10_000;
const FIRST_LOOK_MS = 100;

/**
 * Takes over what an earlier process left, as soon as there is a config to go on with, and forgets what has expired.
 * Returns how to stop.
 */
export function startUpkeep({ world, runs }: { readonly world: RunWorld; readonly runs: Runs }): () => void {
  let cancel = (): void => {};
  const look = (): void => {
    try {
      if (world.live.missing() !== undefined) return;
      runs.recover();
      const { countIn } = world.counter;
      world.journal.prune(world.clock.now(), { countIn, sequence: world.counter.sequence });
    } catch (err) {
      world.log.error({ err }, "Failed to look after the journal");
    }
  };
  const next = (afterMs: number): void => {
    cancel = world.clock.after(afterMs, () => {
      look();
      next(world.live.missing() === undefined ? UPKEEP_MS : FIRST_LOOK_MS);
    });
  };
  next(0);
  return () => cancel();
}
