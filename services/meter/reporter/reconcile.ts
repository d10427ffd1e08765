import { openListed } from "#core/accounts.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import type { Statement } from "#core/api/usage-statement.ts";
import { isBlank, isDead, type OpenSlot, openSlots, type Slot } from "#core/ledger.ts";
import { NO_RING } from "#core/ring.ts";
import { toBaseUnits } from "#core/outcome.ts";
import type { Finding } from "#core/problems.ts";
import {
  adoptStatements,
  assumeAccepted,
  type AzureDays,
  confirmLedger,
  daysInQuestion,
  isOverdue,
  raiseLastSlots,
  type Reconciliation,
  reconcileDays,
  sharesOfIntent,
} from "#core/reconcile.ts";
import { isRecreated, ownUsageResources } from "#core/usage-resource.ts";
import { backoffDelayMs } from "#runtime/retry.ts";
import { type Desk, type ListAnswer, swapLedger, type UsageRow, type Versioned } from "./desk.ts";

/** Between two questions about the same doubt: a slot may stay in doubt for hours, and the list may cover many days. */
const LIST_DELAY = { delayMinMs: 15_000, delayMaxMs: 300_000 };

/**
 * R6: compares the ledger with Azure's list when this leader has not yet done so, or when a slot died without an answer.
 * Until it has succeeded no new intent is made. As long as the doubt lasts Azure is asked ever more rarely, down to once in
 * five minutes.
 */
export async function reconcileLedger(desk: Desk, ledger: Versioned<Ledger>): Promise<void> {
  const open = openSlots(ledger.value);
  const dead = open.filter((slot) => isDead(slot.hour, desk.now()));
  if (!mayPost(desk, ledger.value) && open.length === 0) desk.memory.reconciled = true;
  else if (desk.memory.reconciled && dead.length === 0) desk.memory.list = { attempts: 0, notBeforeMs: 0 };
  else if (mayAsk(desk)) await askAzure(desk, ledger, dead);
}

async function askAzure(desk: Desk, ledger: Versioned<Ledger>, dead: readonly OpenSlot[]): Promise<void> {
  const statements = await desk.books.listStatements();
  const since = await sinceOf(desk, ledger.value, statements);
  const days = daysInQuestion(ledger.value, { nowMs: desk.now(), ...since });
  const askedMs = desk.now();
  const listed = await desk.marketplace.list(days[0] ?? "");
  desk.onList?.(listed);
  if (!listed.ok) return takeSilence(desk, ledger, { listed, dead, statements });
  const rows = ownRows(ledger.value, listed.rows, { isRecreated: isRecreated(statements) });
  if (!rows) {
    desk.memory.listProblem = {
      reason: "UsageResourceUnclear",
      message: "Azure's list names several usage resources, and no answer has said yet which is ours",
    };
    desk.log.error({ rows: listed.rows.length }, "Cannot tell which usage resource is ours");
    return;
  }
  // The list speaks of the moment of its answer: a process that stands still behind it must not take a slot for dead that
  // was not yet, and what Azure booked and listed is judged by the clock that stamped both.
  await compare(desk, ledger, { rows, days, statements, listedMs: listed.dateMs ?? askedMs });
}

/** Whether Azure may be asked now; if so, the next question is planned at once, whatever becomes of this one. */
function mayAsk(desk: Desk): boolean {
  const { attempts, notBeforeMs } = desk.memory.list;
  const nowMs = desk.now();
  if (nowMs < notBeforeMs) return false;
  const delayMs = backoffDelayMs(attempts, LIST_DELAY, desk.random);
  desk.memory.list = { attempts: attempts + 1, notBeforeMs: nowMs + delayMs };
  return true;
}

/** Whether an hour that is still to be closed may bring an intent; the hours before a plan change belong to the old plan. */
function mayPost(desk: Desk, ledger: Ledger): boolean {
  return desk.terms.mode === "Marketplace" || (desk.terms.mode === "Silent" && ledger.planChange !== undefined);
}

async function compare(
  desk: Desk,
  ledger: Versioned<Ledger>,
  input: { rows: readonly UsageRow[]; days: readonly string[]; statements: readonly Statement[]; listedMs: number },
): Promise<void> {
  const { memory } = desk;
  const listed = new Set(input.rows.map((row) => row.dimension));
  const known = openListed(ledger.value, listed, desk.terms.catalogue);
  const adopted = memory.reconciled ? known : adoptStatements(known, input.statements);
  const result = reconcileDays(adopted, {
    azure: toAzureDays(adopted, input.rows),
    days: input.days,
    nowMs: input.listedMs,
    lateUsage: desk.terms.lateUsage,
    sharesOf: sharesIn(input.statements),
  });
  const isRolledBack = !memory.reconciled && (adopted !== known || result.surplus.length > 0);
  const next = judgeLedger(desk, result, { isRolledBack, listedMs: input.listedMs });
  await writeIfChanged(desk, ledger, next);
  memory.compared = true;
  reportSurplus(desk, result);
  memory.reconciled = result.complete && next.confirmation === undefined;
  // Nothing is wrong with a new installation: it waits for its first hour anyway.
  memory.listProblem =
    memory.reconciled || isBlank(next)
      ? undefined
      : { reason: "AwaitingConfirmation", message: "Waiting for Azure's list to confirm what was accepted" };
}

/** What the comparison makes of the ledger: to be believed, or to wait for another list. */
function judgeLedger(
  desk: Desk,
  result: Reconciliation,
  seen: { readonly isRolledBack: boolean; readonly listedMs: number },
): Ledger {
  const { isRolledBack, listedMs } = seen;
  const isLate = !desk.memory.compared && isOverdue(result.ledger, { nowMs: desk.now(), listedMs });
  if (isRolledBack) desk.log.error({}, "Found a rolled back UsageLedger");
  else if (isLate) desk.log.warn({ hour: result.ledger.lastClosedHour }, "Found a UsageLedger that stood still");
  const raised = isRolledBack ? raiseLastSlots(result.ledger, desk.now()) : result.ledger;
  return confirmLedger(raised, { listedMs, isDoubtful: isRolledBack || isLate, isComplete: result.complete });
}

/** Azure's list did not answer. Where it is not required, dead slots count as accepted: the customer's favour. */
async function takeSilence(
  desk: Desk,
  ledger: Versioned<Ledger>,
  silence: {
    readonly listed: Extract<ListAnswer, { readonly ok: false }>;
    readonly dead: readonly OpenSlot[];
    readonly statements: readonly Statement[];
  },
): Promise<void> {
  const { refused, message } = silence.listed;
  desk.log.warn({ err: message, refused }, "Failed to list usage events");
  desk.memory.listProblem = toFinding(silence.listed);
  if (desk.terms.reconcileRequired) return;
  const { confirmation: _, ...unasked } = ledger.value;
  await writeIfChanged(desk, ledger, assumeAccepted(unasked, silence.dead, sharesIn(silence.statements)));
  desk.memory.reconciled = true;
}

function toFinding(listed: Extract<ListAnswer, { readonly ok: false }>): Finding {
  const message = `Azure's list of usage events cannot be read: ${listed.message}`;
  if (listed.noCredential) return { reason: "NoCredential", message };
  return { reason: listed.refused ? "ListRefused" : "ListUnavailable", message };
}

async function writeIfChanged(desk: Desk, from: Versioned<Ledger>, next: Ledger): Promise<void> {
  if (JSON.stringify(next) === JSON.stringify(from.value)) return;
  await swapLedger(desk, { value: next, version: from.version });
}

/** A ledger that was just made asks back to its oldest pod once, as no statement tells of earlier hours. */
async function sinceOf(desk: Desk, ledger: Ledger, statements: readonly Statement[]): Promise<{ sinceMs?: number }> {
  const isUnlisted = ledger.confirmation !== undefined && ledger.confirmation.listedAt === undefined;
  if (!isUnlisted || !isBlank(ledger) || statements.length > 0) return {};
  const pods = await desk.books.listPodUsages(NO_RING);
  const created = pods.map((pod) => Date.parse(pod.metadata.creationTimestamp ?? "")).filter((ms) => !Number.isNaN(ms));
  return created.length === 0 ? {} : { sinceMs: Math.min(...created) };
}

/** Rows of our usage resource; nothing when it is unclear which rows are ours. */
export function ownRows(
  ledger: Ledger,
  rows: readonly UsageRow[],
  facts: { readonly isRecreated: boolean },
): UsageRow[] | undefined {
  const listed = rows.map((row) => row.usageResourceId);
  const own = ownUsageResources(ledger, listed, facts);
  return own && rows.filter((row) => own.has(row.usageResourceId.toLowerCase()));
}

/** Base units by day and dimension. */
function toAzureDays(ledger: Ledger, rows: readonly UsageRow[]): AzureDays {
  const divisors = new Map(ledger.accounts.map((account) => [account.dimension, BigInt(account.divisor)]));
  const days = new Map<string, Map<string, bigint>>();
  for (const row of rows) {
    const divisor = divisors.get(row.dimension);
    if (divisor === undefined) continue;
    const day = days.get(row.day) ?? new Map<string, bigint>();
    day.set(row.dimension, (day.get(row.dimension) ?? 0n) + toBaseUnits(row.quantity, divisor));
    days.set(row.day, day);
  }
  return days;
}

function sharesIn(statements: readonly Statement[]): (slot: Slot) => ReadonlyMap<string, bigint> {
  return (slot) => {
    const found = statements.find(({ intent }) => intent.dimension === slot.dimension && intent.hour === slot.hour);
    return found ? sharesOfIntent(found.intent) : new Map();
  };
}

function reportSurplus(desk: Desk, result: Reconciliation): void {
  if (desk.memory.reconciled && result.surplus.length > 0) desk.memory.foreignMs = desk.now();
  for (const { day, dimension, baseUnits } of result.surplus)
    desk.log.error(
      { day, dimension, baseUnits: baseUnits.toString() },
      "Found usage at Azure that the ledger did not know",
    );
}
