import type { Ledger } from "#core/api/usage-ledger.ts";
import type { Statement } from "#core/api/usage-statement.ts";
import { slotKey } from "#core/close-hour.ts";
import {
  type Credit,
  creditSlots,
  isDead,
  isSendable,
  type OpenSlot,
  openSlots,
  parkDimension,
  resolvedSlots,
} from "#core/ledger.ts";
import { decideOutcome, type PostAnswer, type Verdict } from "#core/outcome.ts";
import { sharesOfIntent } from "#core/reconcile.ts";
import { recordAnswer, toStatement } from "#core/statement.ts";
import { parseHourKey } from "#core/time.ts";
import { backoffDelayMs } from "#runtime/retry.ts";
import { ConflictError, type Desk, type Retry, trySwapLedger, type Versioned } from "./desk.ts";

/** The Marketplace takes at most 25 items per batch. */
const BATCH_MAX = 25;
const RETRY_DELAY = { delayMinMs: 2_000, delayMaxMs: 300_000 };
const CAS_TRIES_MAX = 5;
const CLOCK_FAULT_MS = 600_000;

export type Sheet = Versioned<Statement>;

interface Judged {
  readonly answer: PostAnswer;
  readonly verdict: Verdict;
}

interface Parking {
  readonly dimension: string;
  readonly hour: string;
  readonly planId: string;
  readonly reason: string;
  readonly message: string;
}

/**
 * Steps two to five of a post for every open reservation that is due: statement, POST, outcome, credit
 * (docs/metering.md). Whoever made the reservation: a crash anywhere is finished from here.
 */
export async function finishOpenSlots(desk: Desk): Promise<void> {
  const found = await desk.books.readLedger();
  if (!found) return;
  forgetClosed(desk, found.value);
  const due = openSlots(found.value).filter((slot) => isDue(desk, slot));
  for (let from = 0; from < due.length; from += BATCH_MAX)
    await finishBatch(desk, found.value, due.slice(from, from + BATCH_MAX));
}

async function finishBatch(desk: Desk, ledger: Ledger, slots: readonly OpenSlot[]): Promise<void> {
  const sheets: Sheet[] = [];
  for (const slot of slots) {
    const sheet = await findStatement(desk, ledger, slot);
    if (sheet) sheets.push(sheet);
  }
  const done = sheets.filter((sheet) => sheet.value.outcome);
  const open = sheets.filter((sheet) => !sheet.value.outcome && mayBeSent(desk, ledger, sheet.value));
  const sent = open.length === 0 ? [] : await sendBatch(desk, ledger, open);
  const parkings = sent.flatMap(({ parking }) => (parking ? [parking] : []));
  await creditSheets(desk, [...done, ...sent.map(({ sheet }) => sheet)], parkings);
}

/**
 * Step two. A statement that is there already rules: its quantity is the one to send. None is made for a slot that died
 * before it had one, until its fate is known: nothing was ever sent. Nor before Azure's list was compared (R6): in a backup
 * that came back such a slot may be one that was billed otherwise since.
 */
export async function findStatement(desk: Desk, ledger: Ledger, slot: OpenSlot): Promise<Sheet | undefined> {
  const found = await desk.books.readStatement(slot);
  const mayMake = slot.resolved !== undefined || (desk.memory.reconciled && !isDead(slot.hour, desk.now()));
  const sheet = found ?? (mayMake ? await createStatement(desk, ledger, slot) : undefined);
  if (sheet) desk.memory.stored.add(slotKey(slot));
  return sheet;
}

async function createStatement(desk: Desk, ledger: Ledger, slot: OpenSlot): Promise<Sheet> {
  const created = await desk.books.createStatement(toStatement(ledger, slot, desk.terms.catalogue));
  if (created !== "Conflict") return created;
  const other = await desk.books.readStatement(slot);
  if (!other) throw new ConflictError("UsageStatement");
  return other;
}

/** Steps three and four. */
async function sendBatch(
  desk: Desk,
  ledger: Ledger,
  sheets: readonly Sheet[],
): Promise<{ readonly sheet: Sheet; readonly parking: Parking | undefined }[]> {
  const answers = await desk.marketplace.post(sheets.map((sheet) => sheet.value.intent));
  const results = [];
  for (const [index, sheet] of sheets.entries()) {
    const answer = answers[index];
    if (answer) results.push(await takeAnswer(desk, { ledger, sheet, answer }));
  }
  return results;
}

async function takeAnswer(
  desk: Desk,
  sent: { readonly ledger: Ledger; readonly sheet: Sheet; readonly answer: PostAnswer },
): Promise<{ readonly sheet: Sheet; readonly parking: Parking | undefined }> {
  const { intent } = sent.sheet.value;
  const verdict = decideOutcome(
    {
      dimension: intent.dimension,
      quantity: BigInt(intent.quantity),
      divisor: BigInt(intent.divisor),
      slotStartMs: parseHourKey(intent.hour),
    },
    sent.answer,
    { nowMs: desk.now(), ledgerAgeMs: desk.now() - Date.parse(sent.ledger.anchor) },
  );
  report(desk, sent.sheet.value, { answer: sent.answer, verdict });
  planRetry(desk, sent.sheet.value, { answer: sent.answer, verdict });
  noteAlarm(desk, verdict);
  const sheet = await writeAnswer(desk, sent.sheet, { answer: sent.answer, verdict });
  const parking = verdict.next === "park" ? { ...intent, reason: verdict.reason, message: verdict.message } : undefined;
  return { sheet, parking };
}

/** Step four: an outcome is written once. If one is there already, it stays and is the one to credit. */
async function writeAnswer(desk: Desk, sheet: Sheet, judged: Judged): Promise<Sheet> {
  let current = sheet;
  for (let tries = 0; tries < CAS_TRIES_MAX; tries += 1) {
    const next = recordAnswer(current.value, judged.answer, { verdict: judged.verdict, nowMs: desk.now() });
    const written = await desk.books.writeStatement({ value: next, version: current.version });
    if (written !== "Conflict") return written;
    const found = await desk.books.readStatement(sheet.value.intent);
    if (!found) throw new ConflictError("UsageStatement");
    if (found.value.outcome) return found;
    current = found;
  }
  throw new ConflictError("UsageStatement");
}

/** Step five: reservation out, accepted quantity in, in one write. A reservation that is gone was credited: stop. */
export async function creditSheets(
  desk: Desk,
  sheets: readonly Sheet[],
  parkings: readonly Parking[] = [],
): Promise<void> {
  const credits = sheets.flatMap(toCredit);
  if (credits.length === 0 && parkings.length === 0) return;
  for (let tries = 0; tries < CAS_TRIES_MAX; tries += 1) {
    const found = await desk.books.readLedger();
    if (!found) throw new ConflictError("UsageLedger");
    const next = parkings.reduce(
      (ledger, parking) => parkDimension(ledger, { ...parking, nowMs: desk.now() }),
      creditSlots(found.value, credits),
    );
    if (next === found.value) return;
    if (!(await trySwapLedger(desk, { value: next, version: found.version }))) continue;
    for (const credit of credits) desk.memory.retries.delete(slotKey(credit));
    return;
  }
  throw new ConflictError("UsageLedger");
}

function toCredit(sheet: Sheet): Credit[] {
  const { intent, outcome } = sheet.value;
  if (!outcome) return [];
  return [
    {
      dimension: intent.dimension,
      hour: intent.hour,
      acceptedBaseUnits: BigInt(outcome.acceptedBaseUnits),
      shares: sharesOfIntent(intent),
      isDropped: outcome.state === "Dropped",
      usageResourceId: outcome.usageResourceId,
      ...(outcome.resolvedBy === "Answer" ? { answeredAt: outcome.at } : {}),
    },
  ];
}

/** Parked dimensions and slots that are too old wait; they were looked at for an outcome that only needs its credit. */
function mayBeSent(desk: Desk, ledger: Ledger, statement: Statement): boolean {
  const { dimension, hour } = statement.intent;
  const account = ledger.accounts.find((entry) => entry.dimension === dimension);
  if (account?.parked === undefined && isSendable(hour, desk.now())) return true;
  desk.memory.retries.set(slotKey(statement.intent), {
    ...retryOf(desk, statement),
    notBeforeMs: desk.now() + RETRY_DELAY.delayMaxMs,
  });
  return false;
}

function isDue(desk: Desk, slot: OpenSlot): boolean {
  const retry = desk.memory.retries.get(slotKey(slot));
  return retry === undefined || desk.now() >= retry.notBeforeMs;
}

/** What is known of a slot's attempts: the statement remembers the first across leaders. */
function retryOf(desk: Desk, statement: Statement): Retry {
  const { intent, attempts } = statement;
  const first = attempts.first[0]?.at;
  const firstMs = first === undefined ? desk.now() : Date.parse(first);
  const fresh = {
    dimension: intent.dimension,
    hour: intent.hour,
    attempts: 0,
    notBeforeMs: 0,
    why: "NoAnswer" as const,
  };
  return { ...(desk.memory.retries.get(slotKey(intent)) ?? fresh), firstMs };
}

function planRetry(desk: Desk, statement: Statement, judged: Judged): void {
  const last = retryOf(desk, statement);
  const attempts = last.attempts + 1;
  const delayMs = backoffDelayMs(attempts, RETRY_DELAY, () => 0.5 + desk.random() / 2);
  const notBeforeMs = desk.now() + Math.max(delayMs, judged.answer.retryAfterMs ?? 0);
  desk.memory.retries.set(slotKey(statement.intent), { ...last, attempts, notBeforeMs, why: whyOf(judged) });
}

function whyOf({ answer, verdict }: Judged): Retry["why"] {
  if (answer.status === "NoCredential") return "NoCredential";
  return verdict.next === "retry" && verdict.alarm === "Refused" ? "Refused" : "NoAnswer";
}

function noteAlarm(desk: Desk, verdict: Verdict): void {
  const alarm = "alarm" in verdict ? verdict.alarm : undefined;
  if (alarm === "ClockFault") desk.memory.clockFaultUntilMs = desk.now() + CLOCK_FAULT_MS;
  if (alarm === "ForeignWriter") desk.memory.foreignMs = desk.now();
}

/** What this leader remembers of slots that are closed is of no use any more. */
function forgetClosed(desk: Desk, ledger: Ledger): void {
  const open = new Set([...openSlots(ledger), ...resolvedSlots(ledger)].map(slotKey));
  for (const key of desk.memory.retries.keys()) if (!open.has(key)) desk.memory.retries.delete(key);
  for (const key of desk.memory.stored) if (!open.has(key)) desk.memory.stored.delete(key);
}

function report(desk: Desk, statement: Statement, judged: Judged): void {
  const { intent } = statement;
  const { answer, verdict } = judged;
  const alarm = "alarm" in verdict ? verdict.alarm : undefined;
  const fields = {
    dimension: intent.dimension,
    effectiveStartTime: intent.effectiveStartTime,
    quantity: intent.quantity,
    planId: intent.planId,
    code: answer.status,
    httpStatus: answer.httpStatus,
    requestId: answer.requestId,
    ...(answer.reasons.length > 0 ? { reasons: answer.reasons } : {}),
    ...(alarm ? { alarm } : {}),
  };
  desk.onPost?.(answer, alarm);
  if (verdict.next === "credit") {
    desk.onAccepted?.(intent, Number(verdict.acceptedQuantity));
    desk.log.info(
      { ...fields, acceptedQuantity: verdict.acceptedQuantity, state: verdict.state },
      "Submitted UsageEvent",
    );
  } else if (verdict.next === "park") desk.log.error(fields, "Parked dimension");
  else desk.log.warn(fields, "Failed to submit UsageEvent");
}
