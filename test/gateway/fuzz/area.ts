import fc from "fast-check";
import type { FuzzWorld } from "./world.ts";

/** One thing that strangers write and the gateway reads. */
export interface FuzzArea {
  readonly name: string;
  /** Cases in a test; the bench command goes on as long as it is told to. */
  readonly runs: number;
  run(world: FuzzWorld, options: FuzzOptions): Promise<FuzzReport>;
}

export interface FuzzOptions {
  readonly seed: number;
  /** @default those of the area */
  readonly runs?: number;
  /** The path of a failure that is to be seen again, as its report told it. */
  readonly path?: string | undefined;
}

export interface FuzzReport {
  readonly area: string;
  readonly cases: number;
  /** How many cases came to what: `ok`, or a code of docs/errors.md. */
  readonly verdicts: Readonly<Record<string, number>>;
  /** What was wrong, with seed and path. */
  readonly problem: string | undefined;
}

/** `check` throws with what is wrong with a case, or gives back what it came to. */
export function createArea<T>(
  about: { readonly name: string; readonly runs: number },
  cases: fc.Arbitrary<T>,
  check: (world: FuzzWorld, value: T) => Promise<string>,
): FuzzArea {
  return {
    ...about,
    async run(world, { seed, runs = about.runs, path }) {
      const verdicts: Record<string, number> = {};
      const property = fc.asyncProperty(cases, async (value) => {
        const verdict = await check(world, value);
        verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
        // What peers remember is looked at within a case; a long run must not keep all of it.
        world.model.requests.length = 0;
        world.gateway.orchestrator.requests.length = 0;
      });
      const details = await fc.check(property, { seed, numRuns: runs, ...(path === undefined ? {} : { path }) });
      const problem = details.failed
        ? `${String(details.errorInstance)}; ${fc.defaultReportMessage(details)}`
        : undefined;
      return { area: about.name, cases: details.numRuns, verdicts, problem };
    },
  };
}
