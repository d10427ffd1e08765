import { expect } from "vitest";
import type { Account } from "../../scripts/demo/receipt.ts";
import { endHour, type World } from "./world.ts";

/** Ends the hour and holds the books whole: booked == accepted == whole units counted, each slot once. */
export async function expectWholeBooks(world: World): Promise<Account> {
  const account = await endHour(world);
  const booked = await world.azure.events();
  const slots = booked.map((event) => `${event.dimension} ${event.effectiveStartTime}`);
  expect(new Set(slots).size).toBe(slots.length);
  for (const row of account.rows) {
    const units = booked
      .filter((event) => event.dimension === row.dimension)
      .reduce((sum, event) => sum + BigInt(event.quantity), 0n);
    expect(`${row.dimension} ${units * row.divisor}`).toBe(`${row.dimension} ${row.accepted}`);
    expect(`${row.dimension} ${units}`).toBe(`${row.dimension} ${row.counted / row.divisor}`);
  }
  return account;
}
