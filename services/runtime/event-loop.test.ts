import { expect, it } from "vitest";
import { systemClock } from "./clock.ts";
import { watchEventLoop } from "./event-loop.ts";

it("tells how late the loop was since it was last asked", async () => {
  const told = new Map<string, number>();
  const tell = watchEventLoop((percentile, seconds) => told.set(percentile, seconds));
  await systemClock.sleep(50);
  const until = performance.now() + 120;
  while (performance.now() < until);
  await systemClock.sleep(30);
  tell();
  expect([...told.keys()]).toEqual(["50", "99", "100"]);
  expect(told.get("100")).toBeGreaterThan(0.1);
  await systemClock.sleep(60);
  tell();
  expect(told.get("100")).toBeLessThan(0.1);
});
