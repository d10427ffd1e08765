import { it } from "vitest";
import { expectExact } from "./books.ts";
import type { FaultWorld } from "./fault-world.ts";

/** What a customer can do to the terms. */
export function planFaults(world: () => FaultWorld): void {
  it("another plan in the middle of an hour, by helm upgrade: each part under its own plan", async () => {
    await world().ask(2);
    await world().buyPlan("business");
    // The first thousand conversations of a month are included in this plan.
    await world().ask(3);
    world().off.free = { workflow_completed: 3n };
    await expectExact(world());
    await world().ask(1);
    world().off.free = { workflow_completed: 4n };
    await expectExact(world());
  });

  it("and back: what the other plan included stays free, what comes now is billed", async () => {
    await world().buyPlan("starter");
    await world().ask(2);
    await expectExact(world());
  });
}
