import { expect, it } from "vitest";
import { offerHash } from "#runtime/offer.ts";
import { waitFor } from "../../../scripts/demo/kubectl.ts";
import { killBundle, processesOf, signal } from "../kill.ts";
import { endHours, expectExact, healBooks, readFaultBooks, waitForProblem } from "./books.ts";
import { addFault, BATCH, clearFaults } from "./emulator-faults.ts";
import { type FaultWorld, freeLease, leaseHolder, waitForLeader } from "./fault-world.ts";
import type { CatchRule } from "./snare.ts";

type Step = Omit<CatchRule, "when">;

/** The five writes of a post (docs/metering.md), as they look on the wire. */
const WRITES = {
  reserve: { door: "ApiServer", method: "PUT", path: /\/usageledgers\//, body: /"reservations":\[\{/ },
  plan: { door: "ApiServer", method: "POST", path: /\/usagestatements\b/ },
  post: BATCH,
  answer: { door: "ApiServer", method: "PUT", path: /\/usagestatements\// },
  // The one write of the ledger that leaves no reservation behind.
  credit: { door: "ApiServer", method: "PUT", path: /\/usageledgers\//, body: /^(?!.*"reservations":\[\{)/s },
} as const satisfies Readonly<Record<string, Step>>;

/** What can happen to the reporters themselves. */
export function reporterFaults(world: () => FaultWorld): void {
  it("kill -9 at each of the five writes, before it arrives and after it is done", { timeout: 400_000 }, () =>
    killAtEachWrite(world()),
  );

  it.each(["reserve", "post", "credit"] as const)(
    "two reporters: the leader is paused at `%s`, its Lease is stolen, and it wakes up",
    (step) => wakeAfterTheft(world(), step),
  );

  it("clock skew over five minutes: nothing is closed; under it, or healed: all is billed", () => skewClock(world()));

  it("ledger deleted in the middle of a post: rebuilt from receipts and Azure's list, nothing twice", () =>
    deleteLedger(world()));
}

async function killAtEachWrite(world: FaultWorld): Promise<void> {
  await world.ask(3);
  const points = Object.values(WRITES).flatMap((write) => [
    { ...write, when: "Before" as const },
    { ...write, when: "After" as const },
  ]);
  for (const [index, point] of points.entries()) {
    const caught = world.wire.catchNext(point);
    if (index === 0) await world.azure.advanceToNextHour();
    else await freeLease(world.kubectl);
    await caught.arrived;
    expect(killBundle("reporter")).toBeGreaterThan(0);
    caught.cut();
  }
  await freeLease(world.kubectl);
  await expectExact(world);
}

async function wakeAfterTheft(world: FaultWorld, step: keyof typeof WRITES): Promise<void> {
  await world.ask(2);
  const old = await waitForLeader(world);
  const caught = world.wire.catchNext({ ...WRITES[step], when: "Before" });
  const hour = await world.azure.advanceToNextHour();
  await caught.arrived;
  const paused = processesOf("reporter", podOf(old));
  expect(paused).toHaveLength(1);
  for (const pid of paused) signal(pid, "SIGSTOP");
  await freeLease(world.kubectl);
  await waitForOther(world, old);
  await waitFor(
    async () => {
      const { lastClosedHour, statements } = await readFaultBooks(world);
      return (lastClosedHour >= hour && statements.every(({ spec }) => spec.outcome)) || undefined;
    },
    { what: "the thief to finish the hour", timeoutSeconds: 60 },
  );
  caught.pass();
  for (const pid of paused) signal(pid, "SIGCONT");
  await world.ask(1);
  await expectExact(world);
}

async function skewClock(world: FaultWorld): Promise<void> {
  await world.ask(2);
  world.wire.shiftDate(90);
  await expectExact(world);
  await world.ask(2);
  world.wire.shiftDate(400);
  await waitForProblem(world, "ClockSkew");
  const before = await readFaultBooks(world);
  const hour = await world.azure.advanceToNextHour();
  await waitForCycles(world, 3);
  const during = await readFaultBooks(world);
  expect(during.lastClosedHour < hour).toBe(true);
  expect(during.lastClosedHour).toBe(before.lastClosedHour);
  expect(during.statements.length).toBe(before.statements.length);
  world.wire.shiftDate(0);
  await expectExact(world);
}

async function deleteLedger(world: FaultWorld): Promise<void> {
  await world.ask(2);
  await addFault(world, { kind: "Status", status: 503, standIn: "metering", route: "batchUsageEvent", count: 1000 });
  await endHours(world);
  await waitFor(
    async () => {
      const { statements } = await readFaultBooks(world);
      return statements.some(({ spec }) => spec.outcome === undefined && spec.attempts.count > 0) || undefined;
    },
    { what: "a slot without an answer", timeoutSeconds: 60 },
  );
  await world.kubectl.run(["delete", "usageledger", offerHash(world.resourceId)]);
  await clearFaults(world);
  await world.ask(1);
  await healBooks(world);
  await expectExact(world);
}

function podOf(identity: string): string {
  return identity.replace(/_[^_]*$/, "");
}

async function waitForOther(world: FaultWorld, old: string): Promise<void> {
  await waitFor(
    async () => {
      const holder = await leaseHolder(world.kubectl);
      return (holder !== "" && holder !== old) || undefined;
    },
    { what: "another leader", timeoutSeconds: 60, everyMs: 200 },
  );
}

/** Waits until the leader has asked the time that often, as it does at the start of each cycle. */
async function waitForCycles(world: FaultWorld, count: number): Promise<void> {
  for (let cycle = 0; cycle < count; cycle += 1) {
    const caught = world.wire.catchNext({ door: "ApiServer", method: "GET", path: /^\/version/, when: "Before" });
    await caught.arrived;
    caught.pass();
  }
}
