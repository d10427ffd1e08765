import { type FuzzReport } from "./area.ts";
import { AREAS } from "./areas.ts";
import { checkAftermath, startFuzzWorld } from "./world.ts";

export interface FuzzRunOptions {
  readonly seed: number;
  /** At least one pass over the areas is made. */
  readonly minutes: number;
  /** Only this one; all if absent. */
  readonly area?: string | undefined;
  /** Of a failure, as its report told it: that case alone is played. */
  readonly path?: string | undefined;
}

export interface FuzzRunResult {
  readonly seed: number;
  readonly seconds: number;
  /** Cases of each area, and what they came to. */
  readonly areas: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly cases: number;
  readonly problems: readonly string[];
}

/** Passes over the areas until the time is over or something is wrong; each pass has the seed after the one before. */
export async function fuzzGateway(options: FuzzRunOptions): Promise<FuzzRunResult> {
  const chosen = AREAS.filter(({ name }) => options.area === undefined || name === options.area);
  if (chosen.length === 0)
    throw new Error(
      `Cannot fuzz as the area must be ${AREAS.map(({ name }) => name).join(" or ")}: current value is ${options.area}`,
    );
  const startMs = performance.now();
  const reports: FuzzReport[] = [];
  const problems: string[] = [];
  const world = await startFuzzWorld();
  try {
    for (let { seed } = options; ; seed += 1) {
      for (const area of chosen) {
        const report = await area.run(world, { seed, path: options.path });
        reports.push(report);
        problems.push(...problemsOf(report, seed));
      }
      if (problems.length > 0 || performance.now() - startMs > options.minutes * 60_000) break;
    }
    await checkAftermath(world).catch((error: unknown) => problems.push(String(error)));
  } finally {
    await world.stop();
  }
  const seconds = Math.round((performance.now() - startMs) / 1000);
  const cases = reports.reduce((sum, report) => sum + report.cases, 0);
  return { seed: options.seed, seconds, areas: sumVerdicts(reports), cases, problems };
}

function problemsOf({ area, problem }: FuzzReport, seed: number): string[] {
  return problem === undefined ? [] : [`${area}, to be seen again with --area ${area} --seed ${seed}: ${problem}`];
}

function sumVerdicts(reports: readonly FuzzReport[]): Record<string, Record<string, number>> {
  const areas: Record<string, Record<string, number>> = {};
  for (const { area, verdicts } of reports) {
    const sums = (areas[area] ??= {});
    for (const [verdict, count] of Object.entries(verdicts)) sums[verdict] = (sums[verdict] ?? 0) + count;
  }
  return areas;
}
