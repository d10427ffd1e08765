import type { Ledger } from "#core/api/usage-ledger.ts";
import { rebuildLedger } from "#core/reconcile.ts";
import { ConflictError, type Desk, swapLedger, type Versioned } from "./desk.ts";

/**
 * The ledger of our offer resource: read, or made from the statements that exist. A leader's first touch raises the term,
 * so that a slower old leader loses its next write. A revision below one we have seen means a restored ledger: nothing
 * new is posted until Azure's list was compared again.
 */
export async function openLedger(desk: Desk): Promise<Versioned<Ledger>> {
  const found = await desk.books.readLedger();
  const ledger = found ? await takeLedger(desk, found) : await bearLedger(desk);
  desk.memory.revision = BigInt(ledger.value.revision);
  return ledger;
}

async function takeLedger(desk: Desk, found: Versioned<Ledger>): Promise<Versioned<Ledger>> {
  if (!isOlder(desk, found.value)) return stampTerm(desk, found);
  forget(desk, found.value);
  return stampTerm(
    desk,
    await swapLedger(desk, { value: { ...found.value, confirmation: {} }, version: found.version }),
  );
}

/** Less than we have written ourselves: a backup was restored. */
function isOlder(desk: Desk, ledger: Ledger): boolean {
  return BigInt(ledger.revision) < desk.memory.revision || ledger.term < (desk.memory.term ?? 0);
}

function forget(desk: Desk, ledger: Ledger): void {
  desk.log.error({ revision: ledger.revision, seen: desk.memory.revision.toString() }, "Found a restored UsageLedger");
  desk.memory.reconciled = false;
  desk.memory.stored.clear();
  desk.memory.retries.clear();
}

async function stampTerm(desk: Desk, found: Versioned<Ledger>): Promise<Versioned<Ledger>> {
  if (desk.memory.term !== undefined && found.value.term >= desk.memory.term) {
    if (found.value.term > desk.memory.term) throw new ConflictError("UsageLedger as a newer leader holds it");
    return found;
  }
  const term = Math.max(found.value.term, desk.memory.term ?? 0) + 1;
  const written = await swapLedger(desk, { value: { ...found.value, term }, version: found.version });
  desk.memory.term = term;
  return written;
}

async function bearLedger(desk: Desk): Promise<Versioned<Ledger>> {
  const { terms } = desk;
  const statements = await desk.books.listStatements();
  const birth = { ...terms, nowMs: desk.now(), term: (desk.memory.term ?? 0) + 1 };
  const ledger = rebuildLedger(birth, statements);
  const created = await desk.books.createLedger(ledger);
  if (created === "Conflict") throw new ConflictError("UsageLedger");
  desk.memory.term = ledger.term;
  desk.memory.reconciled = false;
  desk.memory.stored.clear();
  desk.log.warn({ statements: statements.length, term: ledger.term }, "Created UsageLedger");
  return created;
}
