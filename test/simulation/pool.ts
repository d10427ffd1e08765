import { Worker } from "node:worker_threads";
import { addReports, EMPTY_REPORT, type BatchOrder, type BatchReport } from "./batch.ts";

export interface PoolOptions {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  readonly profile: BatchOrder["profile"];
  readonly mutant: string | undefined;
  /** Threads. */
  readonly jobs: number;
  /** No new batch begins after so many failures. */
  readonly failuresMax: number;
  readonly onProgress: (report: BatchReport) => void;
}

const BATCH_MAX = 250;
/** Of few histories each thread takes several, so that none waits for long. */
const BATCHES_PER_JOB = 4;
const SHRINK_MAX = 2;

/** Plays histories on several threads, in batches; the sum does not depend on their number. */
export async function playOnThreads(options: PoolOptions): Promise<BatchReport> {
  const pool = { next: options.from, report: EMPTY_REPORT };
  const histories = options.to - options.from;
  const jobs = Math.min(options.jobs, histories || 1);
  const batch = Math.min(BATCH_MAX, Math.ceil(histories / (jobs * BATCHES_PER_JOB)) || 1);
  await Promise.all(Array.from({ length: jobs }, () => work({ ...options, batch }, pool)));
  const failures = pool.report.failures.toSorted((a, b) => a.history - b.history);
  return { ...pool.report, failures };
}

async function work(
  options: PoolOptions & { readonly batch: number },
  pool: { next: number; report: BatchReport },
): Promise<void> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: { mutant: options.mutant } });
  try {
    while (pool.next < options.to && pool.report.failures.length < options.failuresMax) {
      const from = pool.next;
      pool.next = Math.min(options.to, from + options.batch);
      const { seed, profile, failuresMax } = options;
      const stopAtFailure = failuresMax === 1;
      const order = { seed, from, to: pool.next, profile, stopAtFailure, shrinkMax: SHRINK_MAX };
      const report = await ask(worker, order);
      pool.report = addReports(pool.report, report);
      options.onProgress(pool.report);
    }
  } finally {
    await worker.terminate();
  }
}

function ask(worker: Worker, order: BatchOrder): Promise<BatchReport> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (answer: { readonly report?: BatchReport; readonly problem?: string }) => {
      worker.off("error", reject);
      if (answer.report) resolve(answer.report);
      else reject(new Error(answer.problem ?? "A worker gave no answer"));
    });
    worker.postMessage(order);
  });
}
