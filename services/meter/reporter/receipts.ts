import { type OpenSlot, resolvedSlots } from "#core/ledger.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { recordEnding } from "#core/statement.ts";
import type { Desk } from "./desk.ts";
import { creditSheets, findStatement, type Sheet } from "./post.ts";

/**
 * Receipts follow the money: a slot that the ledger has given up gets its outcome, and only then leaves the ledger. A
 * crash in between is finished by whoever comes next. An outcome that is there already was a definite answer, and stays.
 */
export async function writeReceipts(desk: Desk): Promise<void> {
  const found = await desk.books.readLedger();
  const slots = found ? resolvedSlots(found.value) : [];
  const sheets: Sheet[] = [];
  for (const slot of slots) {
    const sheet = found && (await writeReceipt(desk, found.value, slot));
    if (sheet) sheets.push(sheet);
  }
  await creditSheets(desk, sheets);
}

async function writeReceipt(desk: Desk, ledger: Ledger, slot: OpenSlot): Promise<Sheet | undefined> {
  const sheet = await findStatement(desk, ledger, slot);
  const { resolved, dimension, hour } = slot;
  if (!sheet || !resolved || sheet.value.outcome) return sheet;
  const acceptedBaseUnits = BigInt(resolved.acceptedBaseUnits);
  const value = recordEnding(sheet.value, { state: resolved.state, acceptedBaseUnits, nowMs: desk.now() });
  const written = await desk.books.writeStatement({ value, version: sheet.version });
  desk.log.warn({ dimension, hour, state: resolved.state }, "Closed a slot without an answer");
  return written === "Conflict" ? undefined : written;
}
