import { expect, it } from "vitest";
import { waitFor } from "../../../scripts/demo/kubectl.ts";
import { endHours, expectExact, type FaultBooks, readFaultBooks } from "./books.ts";
import { addFault, BATCH, clearFaults } from "./emulator-faults.ts";
import type { FaultWorld } from "./fault-world.ts";

/** What the Marketplace, and the way to it, can do to a post. */
export function marketplaceFaults(world: () => FaultWorld): void {
  it("answer lost after booking: the same intent again, Duplicate is success", async () => {
    await world().ask(2);
    await addFault(world(), { kind: "DropAnswer", standIn: "metering", route: "batchUsageEvent", count: 2 });
    const books = await expectExact(world());
    expect(statesOf(books)).toContain("DuplicateSame");
  });

  it("403 for a while, then healed: nothing is lost, nothing is doubled", async () => {
    await world().ask(2);
    await addFault(world(), { kind: "Status", status: 403, standIn: "metering", route: "batchUsageEvent", count: 3 });
    const hour = await world().azure.advanceToNextHour();
    await waitForAttempts(world(), { hour, count: 3 });
    await world().ask(1);
    await expectExact(world());
  });

  it("a request that was given up lands later: its slot is taken, its repeat finds it booked", async () => {
    await world().ask(2);
    const caught = world().wire.catchNext({ ...BATCH, when: "Before" });
    await endHours(world());
    await caught.arrived;
    caught.cut();
    const late = await caught.land();
    await expectExact(world());
    expect(late).toMatch(/"(Accepted|Duplicate)"/);
  });

  it("30 h without the Marketplace, one booking unanswered: what died is carried, once", { timeout: 400_000 }, () =>
    outlive(world()),
  );

  it("extension re-created: refused for 24 h, then all of it is posted", { timeout: 400_000 }, async () => {
    await recreate(world());
    await world().ask(2);
    const hour = await world().azure.advanceToNextHour();
    await waitForAttempts(world(), { hour, count: 1 });
    const { statements } = await readFaultBooks(world());
    const refused = statements.find(({ spec }) => spec.intent.hour === hour);
    expect(JSON.stringify(refused?.spec.attempts)).toMatch(/Invalid usage state/);
    await world().ask(1);
    await passHours(world(), 26);
    await passHours(world(), 23);
    await expectExact(world());
  });

  it("and after it, another outage with a booking unanswered", { timeout: 400_000 }, () => outlive(world()));
}

/** A day and more of silence: one slot was booked without an answer, others never arrived. */
async function outlive(world: FaultWorld): Promise<void> {
  await world.ask(2);
  await addFault(world, { kind: "DropAnswer", standIn: "metering", route: "batchUsageEvent", count: 1 });
  const unanswered = await world.azure.advanceToNextHour();
  await waitForAttempts(world, { hour: unanswered, count: 1 });
  await addFault(world, { kind: "Status", status: 503, standIn: "metering", count: 1_000_000 });
  await world.ask(2);
  const unsent = await world.azure.advanceToNextHour();
  await waitForAttempts(world, { hour: unsent, count: 1 });
  await world.ask(1);
  await passHours(world, 29);
  await clearFaults(world);
  // What is carried is spread over a day of slots.
  await passHours(world, 23);
  const books = await expectExact(world);
  const stateOf = (hour: string): string[] =>
    books.statements.filter(({ spec }) => spec.intent.hour === hour).map(({ spec }) => spec.state);
  expect(stateOf(unanswered)).toContain("Reconciled");
  expect(stateOf(unsent)).toContain("Reconciled");
}

async function recreate(world: FaultWorld): Promise<void> {
  await world.azure.call("/control/resources/recreate", { resourceUri: world.resourceId });
}

async function passHours(world: FaultWorld, hours: number): Promise<void> {
  await endHours(world, hours);
}

function statesOf(books: FaultBooks): string[] {
  return books.statements.map(({ spec }) => spec.state);
}

/** Waits until a slot of that hour was sent that often, or has its outcome. */
async function waitForAttempts(
  world: FaultWorld,
  wanted: { readonly hour: string; readonly count: number },
): Promise<void> {
  await waitFor(
    async () => {
      const { statements } = await readFaultBooks(world);
      const slots = statements.filter(({ spec }) => spec.intent.hour === wanted.hour);
      return slots.some(({ spec }) => spec.attempts.count >= wanted.count) || undefined;
    },
    { what: `${wanted.count} attempts of a slot of ${wanted.hour}`, timeoutSeconds: 90 },
  );
}
