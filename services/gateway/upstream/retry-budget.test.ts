import { describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { createRetryBudget } from "./retry-budget.ts";

describe("createRetryBudget()", () => {
  const takeAll = (budget: { take(): boolean }): number => {
    let taken = 0;
    while (budget.take()) taken += 1;
    return taken;
  };

  it.each([
    [0, 10],
    [50, 10],
    [100, 20],
    [1000, 200],
  ])("after %i requests allows %i retries, and as many again in the next window", (requests, retries) => {
    const time = { ms: 0 };
    const budget = createRetryBudget({ ...systemClock, monotonic: () => time.ms });
    for (let window = 0; window < 2; window += 1) {
      for (let request = 0; request < requests; request += 1) budget.noteRequest();
      expect(takeAll(budget)).toBe(retries);
      time.ms += 10_000;
    }
  });
});
