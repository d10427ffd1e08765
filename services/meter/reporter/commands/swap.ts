import type { Ledger } from "#core/api/usage-ledger.ts";
import { sealLedger } from "#core/ledger.ts";
import type { CommandDoor, CommandResult } from "./run.ts";

/** Beside a leader that writes every few seconds one try more is enough; this many lost in a row is no accident. */
const CAS_TRIES_MAX = 10;

/** Changes the ledger by compare-and-swap, again from the newest one when the leader was first. */
export async function swapLedgerByCommand(
  door: Pick<CommandDoor, "books">,
  change: (ledger: Ledger) => { ok: true; value: Ledger } | { ok: false; problem: string },
): Promise<CommandResult> {
  for (let tries = 0; tries < CAS_TRIES_MAX; tries += 1) {
    const found = await door.books.readLedger();
    if (!found)
      return { ok: false, problem: "Cannot change the UsageLedger as there is none: no reporter has led yet" };
    const next = change(found.value);
    if (!next.ok) return next;
    if (next.value === found.value) return { ok: true };
    const written = await door.books.writeLedger({ value: sealLedger(next.value), version: found.version });
    if (written !== "Conflict") return { ok: true };
  }
  return { ok: false, problem: `Cannot write the UsageLedger as another writer was first ${CAS_TRIES_MAX} times` };
}
