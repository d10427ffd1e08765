import type { Statement } from "#core/api/usage-statement.ts";
import { addToTotals, CSV_HEADER, type DimensionTotal, toCsv, toExportJson } from "#core/export.ts";
import { monthOf, releaseMonth } from "#core/retention.ts";
import { toIso } from "#core/time.ts";
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
  const statements = ofMonth(month, streamStatements(door.client, offerHash(door.offerResourceId)));
  const totals =
    given["format"] === "csv" ? await writeCsv(statements, door) : await writeJson(month, statements, door);
  remarkTotals(month, totals, remark);
  return { ok: true };
}

async function* ofMonth(month: string, statements: AsyncIterable<Statement>): AsyncGenerator<Statement> {
  for await (const statement of statements) {
    const own = monthOf(statement.intent.hour);
    if (own > month) return;
    if (own === month) yield statement;
  }
}

async function writeCsv(statements: AsyncIterable<Statement>, door: CommandDoor): Promise<Totals> {
  const totals: Totals = new Map();
  await door.write(CSV_HEADER);
  for await (const statement of statements) {
    totals.set(statement.intent.dimension, addToTotals(totals, statement));
    await door.write(toCsv(statement));
  }
  return totals;
}

/** One document, a receipt a line, the totals at its end: a file that was cut is not JSON. */
async function writeJson(month: string, statements: AsyncIterable<Statement>, door: CommandDoor): Promise<Totals> {
  const totals: Totals = new Map();
  const head = { month, offerResourceId: door.offerResourceId, exportedAt: toIso(door.nowMs) };
  await door.write(`${JSON.stringify(head).slice(0, -1)},"statements":[`);
  let separator = "\n";
  for await (const statement of statements) {
    totals.set(statement.intent.dimension, addToTotals(totals, statement));
    await door.write(`${separator}${JSON.stringify(toExportJson(statement))}`);
    separator = ",\n";
  }
  await door.write(`\n],"totals":${JSON.stringify([...totals.values()])}}\n`);
  return totals;
}

function remarkTotals(month: string, totals: Totals, remark: Remark): void {
  if (totals.size === 0) remark(`${month}: no receipts`);
  for (const { dimension, events, quantity, unit, open } of totals.values())
    remark(
      `${month} ${dimension}: ${quantity} ${unit} in ${events} events${open === 0 ? "" : `, ${open} slots still open`}`,
    );
}

async function release(month: string, door: CommandDoor): Promise<CommandResult> {
  const result = await swapLedgerByCommand(door, (ledger) => releaseMonth(ledger, month));
  if (result.ok) await door.write(`Released ${month}: its receipts go when they are old enough\n`);
  return result;
}
