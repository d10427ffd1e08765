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
    await world().azure.advanceToNextHour();
    await caught.arrived;
    caught.cut();
    const late = await caught.land();
    await expectExact(world());
    expect(late).toMatch(/"(Accepted|Duplicate)"/);
  });

  it("30 h without the Marketplace, one booking unanswered: what died is carried, once", async () => {
    await world().ask(2);
    await outlive(world());
  });

  it("extension re-created: refused for 24 h, then all of it is posted", async () => {
    await recreate(world());
    await world().ask(1);
    await endHours(world(), 26);
    await endHours(world(), 23);
    await expectExact(world());
  });

  it("and again, with the first booking under its new GUID unanswered until the slot is dead", async () => {
    await recreate(world());
    await setDown(world());
    await endHours(world(), 26);
    await world().ask(2);
    await outlive(world());
  });
}

/**
 * A day and more without the Marketplace: the batch of the hour that ends now was booked without an answer, others never
 * arrived. At the end all is exact.
 */
async function outlive(world: FaultWorld): Promise<void> {
  const caught = world.wire.catchNext({ ...BATCH, when: "Before" });
  await world.azure.advanceToNextHour();
  await caught.arrived;
  await clearFaults(world);
  const answer = await caught.land();
  await setDown(world);
  caught.cut();
  expect(answer).toMatch(/"Accepted"/);
  await world.ask(2);
  const unsent = await world.azure.advanceToNextHour();
  await waitForAttempts(world, { hour: unsent, count: 1 });
  await world.ask(1);
  await endHours(world, 29);
  await clearFaults(world);
  // What is carried is spread over a day of slots.
  await endHours(world, 23);
  const books = await expectExact(world);
  const died = books.statements.filter(({ spec }) => spec.intent.hour === unsent);
  expect(new Set(died.map(({ spec }) => spec.state))).toEqual(new Set(["Reconciled"]));
}

/** Every call of the metering API is answered 503 from now on. */
function setDown(world: FaultWorld): Promise<void> {
  return addFault(world, { kind: "Status", status: 503, standIn: "metering", count: 1_000_000 });
}

/** The extension is made again under the same resource id, and the Marketplace has said so to one post. */
async function recreate(world: FaultWorld): Promise<void> {
  await world.azure.call("/control/resources/recreate", { resourceUri: world.resourceId });
  await world.ask(2);
  const hour = await world.azure.advanceToNextHour();
  await waitForAttempts(world, { hour, count: 1 });
  const { statements } = await readFaultBooks(world);
  const refused = statements.filter(({ spec }) => spec.intent.hour === hour);
  expect(JSON.stringify(refused.map(({ spec }) => spec.attempts))).toMatch(/Invalid usage state/);
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
