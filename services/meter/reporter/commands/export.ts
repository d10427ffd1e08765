import type { Statement } from "#core/api/usage-statement.ts";
import {
  addToTotals,
  addUnreceipted,
  CSV_HEADER,
  type DimensionTotal,
  toCsv,
  toExportJson,
  toUnreceiptedCsv,
  toUnreceiptedJson,
} from "#core/export.ts";
import { monthOf, releaseMonth } from "#core/retention.ts";
import { toIso } from "#core/time.ts";
import { addToDay, type DaySums, findUnreceipted, type Unreceipted } from "#core/unreceipted.ts";
import { offerHash } from "#runtime/offer.ts";
import type { Flags, Given } from "./flags.ts";
import type { CommandDoor, CommandResult, Remark } from "./run.ts";
import { streamStatements } from "./statements.ts";
import { swapLedgerByCommand } from "./swap.ts";

export const EXPORT_FLAGS: Flags = {
  month: {
    allowed: "a month in UTC as YYYY-MM",
    accepts: (value) => /^[0-9]{4}-(0[1-9]|1[0-2])$/.test(value),
    required: true,
  },
  format: { allowed: "csv or json", accepts: (value) => value === "csv" || value === "json" },
  release: {},
};

type Totals = Map<string, DimensionTotal>;

/**
 * Writes every receipt of a month, or with --release marks the month as exported. Two steps on purpose: a file that was
 * cut on its way must not open the door to deletion.
 */
export async function exportMonth(given: Given, door: CommandDoor, remark: Remark): Promise<CommandResult> {
  const month = given["month"] ?? "";
  if (given["release"] !== undefined && given["format"] !== undefined)
    return {
      ok: false,
      problem: "Cannot export and release at once: look at the file first, then run --release alone",
    };
  if (given["release"] !== undefined) return release(month, door);
  if (given["format"] === undefined)
    return { ok: false, problem: "Cannot export as --format must be csv or json, or --release given in its place" };
  const sums = await (given["format"] === "csv" ? writeCsv(month, door) : writeJson(month, door));
  remarkTotals(month, sums, remark);
  return { ok: true };
}

/** What the receipts of a month come to, and what was accepted beside them. */
interface Sums {
  readonly totals: Totals;
  readonly unreceipted: readonly Unreceipted[];
}

async function writeCsv(month: string, door: CommandDoor): Promise<Sums> {
  await door.write(CSV_HEADER);
  const sums = await sumReceipts(month, door, (statement) => door.write(toCsv(statement)));
  for (const one of sums.unreceipted) await door.write(toUnreceiptedCsv(one));
  return sums;
}

/** One document, a receipt a line, the totals at its end: a file that was cut is not JSON. */
async function writeJson(month: string, door: CommandDoor): Promise<Sums> {
  const head = { month, offerResourceId: door.offerResourceId, exportedAt: toIso(door.nowMs) };
  await door.write(`${JSON.stringify(head).slice(0, -1)},"statements":[`);
  let separator = "\n";
  const sums = await sumReceipts(month, door, async (statement) => {
    await door.write(`${separator}${JSON.stringify(toExportJson(statement))}`);
    separator = ",\n";
  });
  const unreceipted = JSON.stringify(sums.unreceipted.map(toUnreceiptedJson));
  await door.write(`\n],"unreceipted":${unreceipted},"totals":${JSON.stringify([...sums.totals.values()])}}\n`);
  return sums;
}

/** Shows `take` each receipt of the month, in the order of their hours. */
async function sumReceipts(
  month: string,
  door: CommandDoor,
  take: (statement: Statement) => Promise<void>,
): Promise<Sums> {
  const totals: Totals = new Map();
  const days: DaySums = new Map();
  const before = await door.books.readLedger();
  for await (const statement of streamStatements(door.client, offerHash(door.offerResourceId))) {
    const own = monthOf(statement.intent.hour);
    if (own > month) break;
    if (own !== month) continue;
    totals.set(statement.intent.dimension, addToTotals(totals, statement));
    addToDay(days, statement);
    await take(statement);
  }
  const after = await door.books.readLedger();
  const unreceipted = before && after ? findUnreceipted(month, { before: before.value, after: after.value }, days) : [];
  for (const one of unreceipted) totals.set(one.dimension, addUnreceipted(totals, one));
  return { totals, unreceipted };
}

function remarkTotals(month: string, { totals, unreceipted }: Sums, remark: Remark): void {
  if (totals.size === 0) remark(`${month}: no receipts`);
  for (const { dimension, events, quantity, unit, open } of totals.values())
    remark(
      `${month} ${dimension}: ${quantity} ${unit} in ${events} events${open === 0 ? "" : `, ${open} slots still open`}`,
    );
  for (const { dimension, day, quantity } of unreceipted)
    remark(`${day} ${dimension}: ${quantity} accepted beside all receipts; it is part of the total`);
}

async function release(month: string, door: CommandDoor): Promise<CommandResult> {
  const result = await swapLedgerByCommand(door, (ledger) => releaseMonth(ledger, month));
  if (result.ok) await door.write(`Released ${month}: its receipts go when they are old enough\n`);
  return result;
}
