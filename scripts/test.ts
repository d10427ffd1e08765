import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { z } from "zod";
import { heading, runMain, say, step } from "./console.ts";
import { tryCommand } from "./run-command.ts";

/** The part of vitest's JSON report that is read. */
const reportSchema = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
});

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

const CHECKS: readonly (readonly [name: string, command: readonly string[]])[] = [
  ["generated files are fresh", ["npm", "run", "--silent", "generate:check"]],
  ["types", ["npx", "tsc"]],
  ["lint", ["npx", "oxlint"]],
  ["format", ["npx", "oxfmt", "--check", "."]],
  ["dead code", ["npx", "knip"]],
];
const PROJECTS = ["unit", "api", "cluster"] as const;

await runMain(async () => {
  const only = process.argv.slice(2).filter((name) => !name.startsWith("-"));
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  mkdirSync(".cache", { recursive: true });

  if (only.length === 0 || only.includes("check")) {
    heading("Checks");
    for (const [name, command] of CHECKS) await runCheck(name, command, tally);
  }
  for (const project of PROJECTS) {
    if (only.length > 0 && !only.includes(project)) continue;
    heading(`Tests: ${project}`);
    await runProject(project, tally);
  }
  heading("Result");
  say("Not exercised here: kind (needs Docker), Azure itself (the emulator stands in), arm64.");
  if (tally.failed > 0) process.exitCode = 1;
  say(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
});

async function runCheck(name: string, command: readonly string[], tally: Tally): Promise<void> {
  await step(name, async () => {
    const result = await tryCommand(command);
    if (result.code === 0) tally.passed += 1;
    else {
      tally.failed += 1;
      say(`  ✗ ${name}\n${result.stdout}${result.stderr}`);
    }
  });
}

async function runProject(project: string, tally: Tally): Promise<void> {
  const report = `.cache/vitest-${project}.json`;
  rmSync(report, { force: true });
  const result = await tryCommand(
    [
      "npx",
      "vitest",
      "run",
      "--project",
      project,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
    ],
    { inherit: true, timeoutMs: 3_600_000 },
  );
  if (!existsSync(report)) {
    tally.failed += 1;
    say(`✗ vitest ended with code ${result.code} and left no report`);
    return;
  }
  const counts = reportSchema.parse(JSON.parse(readFileSync(report, "utf8")));
  tally.passed += counts.numPassedTests;
  tally.failed += counts.numFailedTests;
  tally.skipped += counts.numPendingTests + counts.numTodoTests;
  if (result.code !== 0 && counts.numFailedTests === 0) tally.failed += 1;
}
