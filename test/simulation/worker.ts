import { parentPort, workerData } from "node:worker_threads";
import type { BatchOrder } from "./batch.ts";
import { hookModules } from "./hooks.ts";
import { findMutant } from "./mutants.ts";

// The product is loaded after the hooks are set: they change its files' source and give it files in memory.
const data: { readonly mutant: string | undefined } = workerData;
hookModules(findMutant(data.mutant));
const { playBatch } = await import("./batch.ts");

parentPort?.on("message", (order: BatchOrder) => {
  playBatch(order).then(
    (report) => parentPort?.postMessage({ report }),
    (error: unknown) =>
      parentPort?.postMessage({ problem: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
