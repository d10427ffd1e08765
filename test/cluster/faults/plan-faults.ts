import { it } from "vitest";
import { waitFor } from "../../../scripts/demo/kubectl.ts";
import { endHours, expectExact, readFaultBooks, waitForCounted } from "./books.ts";
import type { FaultWorld } from "./fault-world.ts";

/** What a customer can do to the terms. */
export function planFaults(world: () => FaultWorld): void {
  it("another plan in the middle of an hour, by helm upgrade: each part under its own plan", async () => {
    await world().ask(2);
    await changePlan(world(), "business");
    // The first thousand conversations of a month are included in this plan.
    await world().ask(3);
    world().off.free = { workflow_completed: 3n };
    await expectExactLater(world());
  });

  it("and back: what the other plan included stays free, what comes now is billed", async () => {
    await changePlan(world(), "starter");
    await world().ask(2);
    await expectExactLater(world());
  });
}

/**
 * What pods have not yet published at the change would belong to the new plan: that is its bound, K. The change counts in
 * the hour in which a leader sees it, so that hour must not end before.
 */
async function changePlan(world: FaultWorld, planId: string): Promise<void> {
  await waitForCounted(world);
  await world.buyPlan(planId);
  await waitFor(async () => (await readFaultBooks(world)).ledgers[0]?.spec.planId === planId || undefined, {
    what: `the ledger to know the plan ${planId}`,
    timeoutSeconds: 120,
    everyMs: 300,
  });
}

/** A dimension has one slot in the hour of the change, which is the old plan's: the new plan's part is posted an hour later. */
async function expectExactLater(world: FaultWorld): Promise<void> {
  await endHours(world);
  await expectExact(world);
}
