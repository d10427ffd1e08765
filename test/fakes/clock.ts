import { setImmediate as yieldLoop } from "node:timers/promises";
import type { Clock } from "../../services/runtime/clock.ts";

export interface FakeClock extends Clock {
  /** Lets time pass, one timer after the other in order, with room for what each sets off. */
  advance(ms: number): Promise<void>;
  /** Timers that are set. */
  pending(): number;
}

/** A clock that stands still until it is told to go on. */
export function createFakeClock(startMs = Date.parse("2026-01-01T00:00:00Z")): FakeClock {
  let elapsedMs = 0;
  let serial = 0;
  const timers = new Map<number, { readonly atMs: number; readonly run: () => void }>();
  const after = (ms: number, run: () => void): (() => void) => {
    serial += 1;
    const id = serial;
    timers.set(id, { atMs: elapsedMs + Math.max(0, ms), run });
    return () => void timers.delete(id);
  };
  const next = (untilMs: number): [number, { readonly atMs: number; readonly run: () => void }] | undefined =>
    [...timers].filter(([, timer]) => timer.atMs <= untilMs).sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)[0];
  return {
    now: () => startMs + elapsedMs,
    monotonic: () => elapsedMs,
    after,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) {
          reject(new Error("Aborted", { cause: signal.reason }));
          return;
        }
        const cancel = after(ms, resolve);
        signal?.addEventListener("abort", () => {
          cancel();
          reject(new Error("Aborted", { cause: signal.reason }));
        });
      }),
    async advance(ms) {
      const untilMs = elapsedMs + ms;
      await settle();
      for (let timer = next(untilMs); timer; timer = next(untilMs)) {
        timers.delete(timer[0]);
        elapsedMs = Math.max(elapsedMs, timer[1].atMs);
        timer[1].run();
        await settle();
      }
      elapsedMs = untilMs;
    },
    pending: () => timers.size,
  };
}

/** Lets promises that are ready run to their next wait. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await yieldLoop();
}
