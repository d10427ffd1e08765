import { expect } from "vitest";
import { acceptedOf, claimedOf } from "#core/ledger.ts";
import { dueAt } from "#core/overage.ts";
import { toPodView } from "#core/counted.ts";
import { toBaseUnits } from "#core/outcome.ts";
import { HOUR_MS } from "#core/time.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { CATALOGUE, type MeterWorld } from "./meter-world.ts";

export interface LawOptions {
  /** Books were restored from a backup: what dead pods had used may be forgotten, so I4 and I2 do not hold, nor I3. */
  readonly restored?: boolean;
}

/** The invariants of docs/metering.md that hold at every step, whatever happened. */
export function expectLaws(world: MeterWorld, options: LawOptions = {}): void {
  const problems: string[] = [];
  for (const [slot, quantities] of world.sent)
    if (quantities.size > 1 && !options.restored)
      problems.push(`I3: slot ${slot} was sent as ${[...quantities].join(" and ")}`);
  for (const { id, from, divisor } of CATALOGUE.dimensions) {
    const billed = BigInt(world.billed(id)) * BigInt(divisor);
    const counted = world.counted(from);
    if (billed > counted) problems.push(`I1: ${id} billed ${billed} of ${counted} counted`);
  }
  problems.push(...(options.restored ? [] : ledgerProblems(world)), ...receiptProblems(world));
  expect(problems).toEqual([]);
}

function ledgerProblems(world: MeterWorld): string[] {
  const ledger = world.ledger?.value;
  if (!ledger) return [];
  const views = [...world.podUsages.values()].map(toPodView);
  return ledger.accounts.flatMap((account) => {
    const due = dueAt(account, { ledger, pods: views, hour: "9999123123" });
    const foreign = world
      .booked(account.dimension)
      .filter((event) => event.writer === "foreign")
      .reduce((sum, event) => sum + toBaseUnits(String(event.quantity), BigInt(account.divisor)), 0n);
    const claimed = claimedOf(account);
    return claimed > due + foreign ? [`I4: ${account.dimension} claims ${claimed} of ${due} due`] : [];
  });
}

/** shares == quantity × divisor, and shares + adjustment == accepted. */
function receiptProblems(world: MeterWorld): string[] {
  return [...world.statements.values()].flatMap(({ value: { intent, outcome } }) => {
    const name = `${intent.hour} ${intent.dimension}`;
    const shares = intent.shares.reduce((sum, share) => sum + BigInt(share.baseUnits), 0n);
    const problems: string[] = [];
    if (shares !== BigInt(intent.baseUnits) || shares !== BigInt(intent.quantity) * BigInt(intent.divisor))
      problems.push(`shares of ${name} sum to ${shares}, the intent is ${intent.baseUnits}`);
    if (outcome && shares + BigInt(outcome.adjustmentBaseUnits) !== BigInt(outcome.acceptedBaseUnits))
      problems.push(`the receipt of ${name} does not add up`);
    return problems;
  });
}

/** All is well again: pods publish, hours pass, the leader works until nothing is left to do. */
export async function heal(world: MeterWorld, desk: Desk, options: LawOptions = {}): Promise<void> {
  world.faults.length = 0;
  for (let hours = 0; hours < 3; hours += 1) {
    for (let n = 0; n < 3; n += 1) {
      world.publishAll();
      await world.cycle(desk);
      world.advance(10 * 60_000);
    }
    world.advance(HOUR_MS / 2 + 1000);
    world.publishAll();
    await world.cycle(desk);
    expectLaws(world, options);
  }
  for (let waits = 0; waits < 200 && isBehind(world); waits += 1) {
    world.advance(HOUR_MS);
    world.publishAll();
    await world.cycle(desk);
  }
  world.advance(HOUR_MS);
  world.publishAll();
  await world.cycle(desk);
  await world.cycle(desk);
  expectLaws(world, options);
}

/** A slot is open, or a backlog is still being spread over hours (R10). */
function isBehind(world: MeterWorld): boolean {
  const ledger = world.ledger?.value;
  const isSpreading = ledger?.accounts.some((account) => account.oldestUnpostedHour !== undefined) === true;
  return isSpreading || ledger?.oldestOpenHour !== undefined;
}

/** I2 and I10 after healing: what Azure holds in all is what is due, less a remainder below one unit. */
export function healed(world: MeterWorld): string[] {
  const ledger = world.ledger?.value;
  if (!ledger) return ["no ledger"];
  const views = [...world.podUsages.values()].map(toPodView);
  const open = ledger.oldestOpenHour === undefined ? [] : [`slot ${ledger.oldestOpenHour} is open`];
  return ledger.accounts.reduce((problems, account) => {
    const due = dueAt(account, { ledger, pods: views, hour: ledger.lastClosedHour });
    const all = world
      .booked(account.dimension)
      .reduce((sum, event) => sum + toBaseUnits(String(event.quantity), BigInt(account.divisor)), 0n);
    const left = due - all - BigInt(account.dropped);
    if (left < 0n || left >= BigInt(account.divisor))
      problems.push(`I2: ${account.dimension} due ${due}, Azure holds ${all}`);
    if (acceptedOf(account) !== all)
      problems.push(`${account.dimension}: the ledger credits ${acceptedOf(account)}, Azure holds ${all}`);
    return problems;
  }, open);
}
