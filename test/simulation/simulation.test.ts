import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { z } from "zod";

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const HISTORIES = process.env["SIM_HISTORIES"] ?? "600";

const reportSchema = z.object({
  seed: z.number(),
  histories: z.number(),
  violations: z.record(z.string(), z.number()),
  overBilledUnits: z.number(),
  underBilledUnits: z.number(),
  lostPpmByRow: z.record(z.string(), z.number()),
  failures: z.array(z.unknown()),
});

/** The command's answer; it exits with 1 when a law was broken, or when a mutant lived. */
async function simulate(...args: readonly string[]): Promise<z.output<typeof reportSchema>> {
  const { stdout } = await run(process.execPath, [MAIN, "--json", "--jobs", "2", ...args], {
    maxBuffer: 16 * 1024 * 1024,
  }).catch((error: unknown) => z.object({ stdout: z.string() }).parse(error));
  return reportSchema.parse(JSON.parse(stdout));
}

describe("histories with all faults", () => {
  // Another seed each day would find more and explain less: the nightly run has its own.
  it("break no law and bill no unit too much", { timeout: 1_200_000 }, async () => {
    const report = await simulate("--seed", "20261125", "--histories", HISTORIES);
    expect(report).toMatchObject({ violations: {}, overBilledUnits: 0, failures: [] });
    expect(report.histories).toBe(Number(HISTORIES));
  });
});

describe("days of work with natural faults", () => {
  it("lose at most 200 ppm, by lost nodes alone, and bill the rest", { timeout: 120_000 }, async () => {
    const report = await simulate("--seed", "5", "--profile", "steady", "--histories", "3");
    expect(report).toMatchObject({ violations: {}, overBilledUnits: 0, underBilledUnits: 0 });
    expect(Object.keys(report.lostPpmByRow)).toEqual(["3"]);
    expect(report.lostPpmByRow["3"]).toBeGreaterThan(0);
    expect(report.lostPpmByRow["3"]).toBeLessThanOrEqual(200);
  });
});

describe("a seeded bug", () => {
  // One for each kind of law; `npm run sim -- --mutants` plays all of them.
  it.each([
    "carry-on-error",
    "quantity-recomputed-on-retry",
    "tombstone-dropped",
    "log-lost-epoch-recounted",
    "lease-as-an-amount",
  ])("%s breaks a law within a few hundred histories", { timeout: 120_000 }, async (mutant) => {
    const report = await simulate("--seed", "1", "--histories", "500", "--mutant", mutant);
    expect(Object.keys(report.violations)).not.toEqual([]);
  });
});
