import type { Ledger } from "#core/api/usage-ledger.ts";
import type { Statement } from "#core/api/usage-statement.ts";
import { baseUnitsOf, creditSlots, isDead, openSlots, type Slot } from "#core/ledger.ts";
import { toBaseUnits } from "#core/outcome.ts";
import {
  type AzureDays,
  daysInQuestion,
  isBehind,
  raiseLastSlots,
  type Reconciliation,
  reconcileDays,
  sharesOfIntent,
} from "#core/reconcile.ts";
import { recordReconciled } from "#core/statement.ts";
import { HOUR_MS } from "#core/time.ts";
import { type Desk, swapLedger, type UsageRow, type Versioned } from "./desk.ts";

/** After a rollback Azure's list is believed when two answers this far apart are equal. */
const CONFIRMATION_MS = HOUR_MS;

/**
 * R6: compares the ledger with Azure's list when this leader has not yet done so, or when a slot died without an answer.
 * Until it has succeeded no new intent is made.
 */
export async function reconcileLedger(desk: Desk, ledger: Versioned<Ledger>): Promise<void> {
  const dead = openSlots(ledger.value).filter((slot) => isDead(slot.hour, desk.now()));
  if (desk.terms.mode !== "Marketplace") {
    desk.memory.reconciled = true;
    return;
  }
  if (desk.memory.reconciled && dead.length === 0) return;
  const statements = await desk.books.listStatements();
  const days = daysInQuestion(ledger.value, { nowMs: desk.now(), ...(await sinceOf(desk, statements)) });
  const listed = await desk.marketplace.list(days[0] ?? "");
  if (!listed.ok) return takeSilence(desk, ledger, { ...listed, dead, statements });
  const azure = toAzureDays(ledger.value, listed.rows);
  if (!azure) {
    desk.memory.listProblem = {
      reason: "UsageResourceUnclear",
      message: "Azure's list names several usage resources and the ledger knows none of them",
    };
    desk.log.error({ rows: listed.rows.length }, "Cannot tell which usage resource is ours");
    return;
  }
  await compare(desk, ledger, { azure, days, statements, fingerprint: JSON.stringify(listed.rows) });
}

async function compare(
  desk: Desk,
  ledger: Versioned<Ledger>,
  input: { azure: AzureDays; days: readonly string[]; statements: readonly Statement[]; fingerprint: string },
): Promise<void> {
  const sharesOf = (slot: Slot): ReadonlyMap<string, bigint> => {
    const statement = findStatement(input.statements, slot);
    return statement ? sharesOfIntent(statement.intent) : new Map();
  };
  const result = reconcileDays(ledger.value, { ...input, nowMs: desk.now(), sharesOf });
  const rolledBack =
    !desk.memory.reconciled &&
    (result.surplus.length > 0 ||
      isBehind(ledger.value, input.statements) ||
      (desk.memory.born && input.statements.length > 0));
  const next = rolledBack ? raiseLastSlots(result.ledger, desk.now()) : result.ledger;
  await writeIfChanged(desk, ledger, next);
  desk.memory.born = false;
  reportSurplus(desk, result);
  await recordOutcomes(desk, result.resolved, "Reconciled");
  desk.memory.reconciled = result.complete && isConfirmed(desk, rolledBack, input.fingerprint);
  desk.memory.listProblem = desk.memory.reconciled
    ? undefined
    : { reason: "AwaitingConfirmation", message: "Waiting for Azure's list to confirm what was accepted" };
}

/** Whether a rollback, if there was one, is over: the same list twice, an hour apart. */
function isConfirmed(desk: Desk, rolledBack: boolean, fingerprint: string): boolean {
  const { memory } = desk;
  if (rolledBack || (memory.rollback && memory.rollback.fingerprint !== fingerprint)) {
    if (rolledBack) desk.log.error({}, "Found a rolled back UsageLedger");
    memory.rollback = { atMs: desk.now(), fingerprint };
    return false;
  }
  if (memory.rollback && desk.now() - memory.rollback.atMs < CONFIRMATION_MS) return false;
  memory.rollback = undefined;
  return true;
}

/** Azure's list did not answer. Where it is not required, dead slots count as accepted: the customer's favour. */
async function takeSilence(
  desk: Desk,
  ledger: Versioned<Ledger>,
  silence: { refused: boolean; message: string; dead: ReturnType<typeof openSlots>; statements: readonly Statement[] },
): Promise<void> {
  desk.log.warn({ err: silence.message, refused: silence.refused }, "Failed to list usage events");
  desk.memory.listProblem = {
    reason: silence.refused ? "ListRefused" : "ListUnavailable",
    message: `Azure's list of usage events cannot be read: ${silence.message}`,
  };
  if (desk.terms.reconcileRequired) return;
  const credits = silence.dead.map((slot) => {
    const statement = findStatement(silence.statements, slot);
    return {
      ...slot,
      acceptedBaseUnits: baseUnitsOf(slot),
      shares: statement ? sharesOfIntent(statement.intent) : new Map<string, bigint>(),
    };
  });
  await writeIfChanged(desk, ledger, creditSlots(ledger.value, credits));
  await recordOutcomes(desk, credits, "Unknown");
  desk.memory.reconciled = true;
}

async function writeIfChanged(desk: Desk, from: Versioned<Ledger>, next: Ledger): Promise<void> {
  if (JSON.stringify(next) === JSON.stringify(from.value)) return;
  await swapLedger(desk, { value: next, version: from.version });
}

/** Receipts follow the money. A crash in between leaves a receipt open, never a wrong sum. */
async function recordOutcomes(
  desk: Desk,
  slots: readonly (Slot & { readonly acceptedBaseUnits: bigint })[],
  state: "Reconciled" | "Unknown",
): Promise<void> {
  for (const slot of slots) {
    desk.log.warn({ dimension: slot.dimension, hour: slot.hour, state }, "Closed a slot without an answer");
    const found = await desk.books.readStatement(slot);
    if (!found || found.value.outcome) continue;
    const value = recordReconciled(found.value, {
      state,
      acceptedBaseUnits: slot.acceptedBaseUnits,
      nowMs: desk.now(),
    });
    await desk.books.writeStatement({ value, version: found.version });
  }
}

/** A ledger that was just made asks back to its oldest pod, as no statement tells of earlier hours. */
async function sinceOf(desk: Desk, statements: readonly Statement[]): Promise<{ sinceMs?: number }> {
  if (!desk.memory.born || statements.length > 0) return {};
  const pods = await desk.books.listPodUsages();
  const created = pods.map((pod) => Date.parse(pod.metadata.creationTimestamp ?? "")).filter((ms) => !Number.isNaN(ms));
  return created.length === 0 ? {} : { sinceMs: Math.min(...created) };
}

/** Rows of our usage resource in base units by day and dimension; nothing when it is unclear which rows are ours. */
function toAzureDays(ledger: Ledger, rows: readonly UsageRow[]): AzureDays | undefined {
  const known = ledger.usageResourceId?.toLowerCase();
  const ids = new Set(rows.map((row) => row.usageResourceId.toLowerCase()));
  if (known === undefined && ids.size > 1) return undefined;
  const days = new Map<string, Map<string, bigint>>();
  for (const row of rows) {
    const divisor = divisorOf(ledger, row.dimension);
    if (divisor === undefined || (known !== undefined && row.usageResourceId.toLowerCase() !== known)) continue;
    const day = days.get(row.day) ?? new Map<string, bigint>();
    day.set(row.dimension, (day.get(row.dimension) ?? 0n) + toBaseUnits(row.quantity, divisor));
    days.set(row.day, day);
  }
  return days;
}

function divisorOf(ledger: Ledger, dimension: string): bigint | undefined {
  const account = ledger.accounts.find((entry) => entry.dimension === dimension);
  return account ? BigInt(account.divisor) : undefined;
}

function findStatement(statements: readonly Statement[], slot: Slot): Statement | undefined {
  return statements.find(({ intent }) => intent.dimension === slot.dimension && intent.hour === slot.hour);
}

function reportSurplus(desk: Desk, result: Reconciliation): void {
  for (const { day, dimension, baseUnits } of result.surplus)
    desk.log.error(
      { day, dimension, baseUnits: baseUnits.toString() },
      "Found usage at Azure that the ledger did not know",
    );
}
