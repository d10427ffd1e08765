import { expect } from "vitest";
import { say } from "../../../scripts/console.ts";
import { waitFor } from "../../../scripts/demo/kubectl.ts";
import { type BookObjects, passConfirmation, readBooks } from "../../../scripts/demo/receipt.ts";
import type { FaultWorld } from "./fault-world.ts";

/** What a Marketplace dimension is counted in; written down here again, so that the catalogue is not its own judge. */
const SOLD = [
  { dimension: "workflow_completed", from: "workflow_completed", divisor: 1n },
  { dimension: "tool_action", from: "tool_action", divisor: 1n },
  { dimension: "tokens_1k_in", from: "input_tokens", divisor: 1000n },
  { dimension: "tokens_1k_out", from: "output_tokens", divisor: 1000n },
] as const;

/** One dimension in base units, from four sides that know nothing of each other. */
export interface Row {
  readonly dimension: string;
  readonly from: string;
  readonly divisor: bigint;
  /** By the test and the model. */
  readonly used: bigint;
  /** By PodUsage and the ledger's settled totals. */
  readonly counted: bigint;
  /** By the ledger. */
  readonly accepted: bigint;
  /** By the receipts. */
  readonly receipted: bigint;
  /** By the emulated Marketplace, and by our own writer alone. */
  readonly booked: bigint;
}

export interface FaultBooks extends BookObjects {
  readonly rows: readonly Row[];
  readonly lastClosedHour: string;
  /** Slots that were booked twice. */
  readonly doubled: readonly string[];
}

/** Reads all four sides. */
export async function readFaultBooks(world: FaultWorld): Promise<FaultBooks> {
  const objects = await readBooks(world.kubectl, world.resourceId);
  const booked = await world.azure.events(world.resourceId);
  const used = await world.used();
  const rows = SOLD.map(({ dimension, from, divisor }) => ({
    dimension,
    from,
    divisor,
    used: used[from] ?? 0n,
    counted: countedOf(objects, from),
    accepted: acceptedIn(objects, dimension),
    receipted: sum(
      objects.statements
        .filter(({ spec }) => spec.intent.dimension === dimension)
        .map(({ spec }) => BigInt(spec.outcome?.acceptedBaseUnits ?? "0")),
    ),
    booked: sum(
      booked.filter((event) => event.dimension === dimension).map((event) => BigInt(event.quantity) * divisor),
    ),
  }));
  const slots = booked.map((event) => `${event.dimension} ${event.effectiveStartTime}`);
  return {
    ...objects,
    rows,
    lastClosedHour: objects.ledgers[0]?.spec.lastClosedHour ?? "",
    doubled: slots.filter((slot, index) => slots.indexOf(slot) !== index),
  };
}

function countedOf({ usages, ledgers }: BookObjects, from: string): bigint {
  const tombstones = new Set(ledgers.flatMap(({ spec }) => spec.tombstones.map(({ uid }) => uid)));
  const live = usages.filter(({ metadata }) => !tombstones.has(metadata.name));
  const totals = [
    ...live.flatMap(({ status }) => status?.totals ?? []),
    ...ledgers.flatMap(({ spec }) => spec.settled),
  ];
  return sum(totals.filter(({ dimension }) => dimension === from).map(({ total }) => BigInt(total)));
}

function acceptedIn({ ledgers }: BookObjects, dimension: string): bigint {
  const accounts = ledgers.flatMap(({ spec }) => spec.accounts).filter((account) => account.dimension === dimension);
  return sum(
    accounts.flatMap(({ acceptedBefore, acceptedDays }) => [
      BigInt(acceptedBefore),
      ...acceptedDays.map(({ baseUnits }) => BigInt(baseUnits)),
    ]),
  );
}

function sum(numbers: readonly bigint[]): bigint {
  return numbers.reduce((total, number) => total + number, 0n);
}

/** Moves the emulator's clock to the next hour, or by hours, and waits until the ledger has closed the hour that ended. */
export async function endHours(world: FaultWorld, hours = 1): Promise<FaultBooks> {
  if (hours > 1) await world.azure.call("/control/clock", { advanceSeconds: (hours - 1) * 3600 });
  const hour = await world.azure.advanceToNextHour();
  return waitClosed(world, hour);
}

function waitClosed(world: FaultWorld, hour: string): Promise<FaultBooks> {
  return waitFor(
    async () => {
      const books = await readFaultBooks(world);
      for (const { spec } of books.ledgers) await passConfirmation(world.azure, spec);
      return books.lastClosedHour >= hour ? books : undefined;
    },
    { what: `hour ${hour} to be closed`, timeoutSeconds: 180, everyMs: 500 },
  );
}

/**
 * After a rollback the reporter wants two equal answers of Azure's list, an hour apart: ends hours until it has them, and
 * the ledger names no such problem any more.
 */
export async function healBooks(world: FaultWorld): Promise<void> {
  await waitForProblem(world, "AwaitingConfirmation");
  for (let hour = 0; hour < HEALING_HOURS_MAX; hour += 1) {
    if (await isHealed(world)) return;
    await world.azure.advanceToNextHour();
  }
  throw new Error(`Cannot go on as Azure's list was not confirmed within ${HEALING_HOURS_MAX} hours`);
}

const HEALING_HOURS_MAX = 12;

/** Gives the leader some cycles to find out. */
function isHealed(world: FaultWorld): Promise<boolean> {
  const healed = async (): Promise<true | undefined> => {
    const books = await readFaultBooks(world);
    return books.ledgers.length > 0 && !problemsOf(books).includes("AwaitingConfirmation") ? true : undefined;
  };
  return waitFor(healed, { what: "the list to be confirmed", timeoutSeconds: 5 }).catch(() => false);
}

/** Everything used so far stands in PodUsage. */
export function waitForCounted(world: FaultWorld): Promise<FaultBooks> {
  return waitFor(
    async () => {
      const books = await readFaultBooks(world);
      const { lost } = world.off;
      return books.rows.every((row) => row.counted === row.used - (lost[row.from] ?? 0n)) ? books : undefined;
    },
    { what: "all usage in PodUsage", timeoutSeconds: 60, everyMs: 300 },
  );
}

/** Waits until the ledger names that problem. */
export async function waitForProblem(world: FaultWorld, reason: string): Promise<void> {
  await waitFor(async () => problemsOf(await readFaultBooks(world)).includes(reason) || undefined, {
    what: `the problem ${reason} in the ledger`,
    timeoutSeconds: 60,
  });
}

/** Reasons why something is not as it should be, as the ledger names them. */
function problemsOf(books: BookObjects): string[] {
  return (books.ledgers[0]?.spec.problems ?? []).map(({ reason }) => reason);
}

/**
 * The claim of the whole product: what the Marketplace booked is what was used, in whole units; each slot is booked once;
 * every receipt adds up. Ends the hour first, and waits for the last answers.
 */
export async function expectExact(world: FaultWorld): Promise<FaultBooks> {
  await endHours(world);
  const exact = async (): Promise<FaultBooks | undefined> => {
    const books = await readFaultBooks(world);
    return describeRows(world, books).every(({ seen, wanted }) => seen === wanted) ? books : undefined;
  };
  const books = await waitFor(exact, { what: "exact books", timeoutSeconds: 90 }).catch(() => readFaultBooks(world));
  const described = describeRows(world, books);
  expect(described.map(({ seen }) => seen)).toEqual(described.map(({ wanted }) => wanted));
  expectReceipts(books);
  sayFigures(books);
  return books;
}

/** One line per fault for people: base units used, counted, accepted and booked. */
function sayFigures(books: FaultBooks): void {
  const figures = books.rows.map(
    ({ dimension, ...row }) => `${dimension} ${row.used} / ${row.counted} / ${row.accepted} / ${row.booked}`,
  );
  say(`  used / counted / accepted / booked: ${figures.join(", ")}; ${books.statements.length} receipts`);
}

function describeRows({ off }: FaultWorld, books: FaultBooks): { readonly seen: string; readonly wanted: string }[] {
  return books.rows.map((row) => {
    const counted = row.used - (off.lost[row.from] ?? 0n);
    const whole = ((counted - (off.free[row.from] ?? 0n)) / row.divisor) * row.divisor;
    const receipted = whole - (off.receipts[row.from] ?? 0n);
    return {
      seen: `${row.dimension}: counted ${row.counted}, accepted ${row.accepted}, booked ${row.booked}, on receipts ${row.receipted}`,
      wanted: `${row.dimension}: counted ${counted}, accepted ${whole}, booked ${whole}, on receipts ${receipted}`,
    };
  });
}

/** No slot twice, every statement answered, and shares + adjustment == accepted × divisor for each. */
export function expectReceipts(books: FaultBooks): void {
  expect(books.doubled).toEqual([]);
  for (const { metadata, spec } of books.statements) {
    const { intent, outcome } = spec;
    const shares = sum(intent.shares.map((share) => BigInt(share.baseUnits)));
    expect(`${metadata.name} ${shares}`).toBe(`${metadata.name} ${BigInt(intent.quantity) * BigInt(intent.divisor)}`);
    expect(`${metadata.name} ${shares + BigInt(outcome?.adjustmentBaseUnits ?? "0")}`).toBe(
      `${metadata.name} ${outcome?.acceptedBaseUnits ?? "has no outcome"}`,
    );
  }
}
