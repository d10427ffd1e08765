import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import type { CrashOrder, CrashReport } from "./sidecar-crash-worker.ts";
import { SIDECAR_MUTANTS } from "./sidecar-mutants.ts";
import type { Moment } from "./strike.ts";

/** On a thread of its own, where files lie in memory and a bug may be seeded. */
function playLives(order: CrashOrder): Promise<CrashReport> {
  const worker = new Worker(new URL("./sidecar-crash-worker.ts", import.meta.url), { workerData: order });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`The worker ended without an answer: ${code}`)));
  });
}

const MOMENTS: readonly Moment[] = ["DiesBefore", "DiesAfter", "DiesWithin", "DiesWithLog", "Fails", "FailsDone"];
/** Every port of the sidecar is struck. */
const PORTS = ["get", "updateStatus", "watch", "scrape"];
const FILES = ["readFile", "open", "fstat", "write", "fdatasync", "fsync", "rename", "close", "writeFile"];

describe("I1, I5, I7 and I11: a sidecar that is struck at every call of a pod's life, one after the other", () => {
  it.each(MOMENTS)(
    "%s: nothing falls or is counted twice, hours end exactly, all is counted and final only then",
    { timeout: 120_000 },
    async (moment) => {
      const report = await playLives({ moment, isFirstEnough: false });
      expect(report.failures).toEqual([]);
      expect([...new Set(report.calls)].toSorted()).toEqual([...PORTS, ...FILES].toSorted());
      expect(report.lives).toBeGreaterThan(moment === "DiesWithin" ? 30 : 90);
    },
  );
});

describe("I11: a sidecar that ends a second time before it has recovered", () => {
  it("keeps the same laws at each of its next six calls", { timeout: 120_000 }, async () => {
    const report = await playLives({ moment: "DiesAfter", again: [1, 2, 3, 4, 5, 6], isFirstEnough: false });
    expect(report.failures).toEqual([]);
    expect(report.lives).toBeGreaterThan(500);
  });
});

describe("a seeded bug of the sidecar", () => {
  it.each(SIDECAR_MUTANTS)("$name turns it red", { timeout: 120_000 }, async ({ strikes, ...mutant }) => {
    const report = await playLives({ ...(strikes ?? { moment: "Never" }), mutant, isFirstEnough: true });
    expect(report.failures).toHaveLength(1);
    // A bug that needs a strike hides from a life without one.
    expect(report.failures[0]?.at === 0).toBe(strikes === undefined);
  });
});
