import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import type { BatchReport, Failure } from "./batch.ts";
import { MUTANTS } from "./mutants.ts";
import { playOnThreads } from "./pool.ts";
import { profileOf } from "./setup.ts";
import { STEADY } from "./steady.ts";

const USAGE = `npm run sim -- [options]
  --histories N   histories to play (default 2000, for seeded bugs at most 20000)
  --seed N        where the choices come from (default: from the clock, printed)
  --history K     this history alone, with its events
  --profile NAME  ordinary, foreign or disaster only; steady: days of work of 20 pods, loss by cause in ppm
  --mutant NAME   with this seeded bug; success is a violation
  --mutants       all seeded bugs, as a table
  --failures N    end after so many failures (default 5)
  --jobs N        threads (default: all cores)
  --json          the figures as one JSON object`;

const { values } = parseArgs({
  options: {
    histories: { type: "string" },
    seed: { type: "string" },
    history: { type: "string" },
    profile: { type: "string" },
    mutant: { type: "string" },
    mutants: { type: "boolean", default: false },
    failures: { type: "string", default: "5" },
    jobs: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const say = (text: string): void => void (values.json || console.log(text));
const seed = values.seed === undefined ? Date.now() % 1_000_000 : toCount("seed", values.seed);
// A mutant's play ends at its first violation: what lives long needs many, the others cost nothing.
const HISTORIES = values.mutants || values.mutant !== undefined ? "20000" : "2000";
const single = values.history === undefined ? undefined : toCount("history", values.history);
const base = {
  seed,
  from: single ?? 0,
  to: single === undefined ? toCount("histories", values.histories ?? HISTORIES) : single + 1,
  profile: values.profile === undefined ? undefined : profileOf(values.profile),
  jobs: values.jobs === undefined ? availableParallelism() : toCount("jobs", values.jobs),
};

if (values.help) console.log(USAGE);
else if (values.mutants) await playMutants();
else await playHistories();

async function playHistories(): Promise<void> {
  const startedMs = Date.now();
  say(`Seed ${seed}, ${base.to - base.from} histories`);
  const said = { atMs: startedMs, failures: 0 };
  const report = await playOnThreads({
    ...base,
    mutant: values.mutant,
    failuresMax: values.mutant === undefined ? toCount("failures", values.failures) : 1,
    onProgress: (current) => {
      for (const failure of current.failures.slice(said.failures)) say(tell(failure));
      said.failures = current.failures.length;
      if (Date.now() - said.atMs < 10_000) return;
      said.atMs = Date.now();
      say(`  ${current.histories} histories, ${current.failures.length} failures`);
    },
  });
  const seconds = (Date.now() - startedMs) / 1000;
  const { failures, ...figures } = toJson(report, seconds);
  console.log(JSON.stringify(values.json ? { ...figures, failures } : figures, undefined, 2));
  const lost = base.profile === "Steady" ? steadyProblem(report) : undefined;
  if (lost !== undefined) console.error(lost);
  const failed = report.failures.length > 0 || lost !== undefined;
  process.exitCode = failed === (values.mutant !== undefined) ? 0 : 1;
}

async function playMutants(): Promise<void> {
  const rows = ["| mutant | caught by | histories | events of the shrunk case |", "|---|---|---|---|"];
  let missed = 0;
  for (const { name } of MUTANTS) {
    const report = await playOnThreads({ ...base, mutant: name, failuresMax: 1, onProgress: () => undefined });
    const [failure] = report.failures;
    if (!failure) missed += 1;
    rows.push(
      failure
        ? `| ${name} | ${failure.law} | ${failure.history + 1} | ${failure.events?.length ?? "-"} |`
        : `| ${name} | **nothing** | ${report.histories} | - |`,
    );
    say(rows.at(-1) ?? "");
  }
  console.log([`Seed ${seed}: ${MUTANTS.length - missed} of ${MUTANTS.length} mutants caught`, ...rows].join("\n"));
  process.exitCode = missed === 0 ? 0 : 1;
}

/** What a steady run must not show; nothing when all is well. */
function steadyProblem(report: BatchReport): string | undefined {
  const ppm = Object.values(report.lostBaseUnits).reduce((sum, lost) => sum + ppmOf(report, lost), 0);
  const rows = Object.keys(report.lostBaseUnits).filter((row) => row !== "3");
  if (rows.length > 0) return `Usage was lost by another cause than a lost node: row ${rows.join(", ")}`;
  return ppm <= STEADY.lossPpmMax ? undefined : `${ppm} ppm of usage were lost: at most ${STEADY.lossPpmMax} may be`;
}

function ppmOf({ usedBaseUnits }: BatchReport, lost: bigint): number {
  return usedBaseUnits === 0n ? 0 : Number((lost * 1_000_000n) / usedBaseUnits);
}

function toJson(report: BatchReport, seconds: number): Record<string, unknown> {
  return {
    seed,
    histories: report.histories,
    events: report.events,
    seconds,
    violations: report.violations,
    overBilledUnits: report.overBilledUnits,
    riskedUnits: report.riskedUnits,
    underBilledUnits: report.underBilledUnits,
    usedBaseUnits: report.usedBaseUnits.toString(),
    lostPpmByRow: Object.fromEntries(
      Object.entries(report.lostBaseUnits).map(([row, lost]) => [row, ppmOf(report, lost)]),
    ),
    failures: report.failures.map((failure) => ({ ...failure, replay: replayOf(failure) })),
  };
}

function tell(failure: Failure): string {
  return [
    `${failure.law} broken in history ${failure.history} (${failure.profile}): ${failure.problem}`,
    `  ${replayOf(failure)}`,
    ...(failure.events ?? []).map((event) => `  ${JSON.stringify(event)}`),
  ].join("\n");
}

function replayOf(failure: Failure): string {
  const profile = values.profile === undefined ? "" : ` --profile ${values.profile}`;
  const mutant = values.mutant === undefined ? "" : ` --mutant ${values.mutant}`;
  return `npm run sim -- --seed ${failure.seed} --history ${failure.history}${profile}${mutant}`;
}

function toCount(name: string, text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  throw new Error(`Cannot play as --${name} must be a number of at most nine digits: current value is ${text}`);
}
