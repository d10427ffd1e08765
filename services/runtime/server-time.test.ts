import { expect, it } from "vitest";
import type { Clock } from "./clock.ts";
import { createServerTime } from "./server-time.ts";

function manualClock(): Clock & { tick(ms: number): void } {
  let monotonicMs = 500;
  return {
    now: () => 1_000_000 + monotonicMs,
    monotonic: () => monotonicMs,
    sleep: () => Promise.resolve(),
    after: () => () => undefined,
    tick: (ms) => void (monotonicMs += ms),
  };
}

it("tells no time before the server has, then carries the server's on", () => {
  const clock = manualClock();
  const time = createServerTime(clock);
  expect(time.isKnown()).toBe(false);
  expect(() => time.now()).toThrow("Cannot tell the time as the API server has not answered yet");
  time.observe(undefined);
  expect(time.isKnown()).toBe(false);
  time.observe(50_000);
  clock.tick(2_500);
  expect(time.now()).toBe(52_500);
  expect(time.skewMs()).toBe(1_000_000 + 3_000 - 52_500);
});

it("does not run back by the whole seconds of the header, but follows a corrected server clock", () => {
  const clock = manualClock();
  const time = createServerTime(clock);
  time.observe(500_000);
  clock.tick(900);
  expect(time.now()).toBe(500_900);
  time.observe(500_000);
  expect(time.now()).toBe(500_900);
  time.observe(400_000);
  expect(time.now()).toBe(400_000);
});

it("adds an offset that only goes forward", () => {
  const time = createServerTime(manualClock());
  time.observe(1_000);
  expect([time.setOffset(0), time.setOffset(60), time.setOffset(30)]).toEqual([false, true, false]);
  expect(time.offsetSeconds()).toBe(60);
  expect(time.now()).toBe(61_000);
});
