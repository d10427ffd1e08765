import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger, NearLimit } from "#core/api/usage-ledger.ts";
import { toPodView } from "#core/counted.ts";
import { nearLimits } from "#core/leases.ts";
import { findProblems, mergeProblems, SKEW_MAX_MS } from "#core/problems.ts";
import { ringWanted } from "#core/ring.ts";
import { closeHours, graceMsOf } from "./close.ts";
import { compareOldDays } from "./compare.ts";
import { type Desk, swapLedger, type Versioned } from "./desk.ts";
import { renewGrants } from "./grants.ts";
import { openLedger } from "./open-ledger.ts";
import { notePlan } from "./plan-change.ts";
import { finishOpenSlots } from "./post.ts";
import { writeReceipts } from "./receipts.ts";
import { reconcileLedger } from "./reconcile.ts";
import { retireStatements } from "./retention.ts";
import { settlePods } from "./settle.ts";

export interface CycleInput {
  readonly offsetSeconds: number;
  /** This machine's clock less the API server's. */
  readonly skewMs: number;
}

export interface CycleReport {
  readonly ledger: Ledger;
  readonly pods: readonly PodUsage[];
}

/**
 * One turn of the leader: finish what is open, compare where there is doubt, close what is over, settle who is gone.
 * Level-triggered: each step reads the world again, so a crash between any two is finished by whoever comes next.
 */
export async function runCycle(desk: Desk, input: CycleInput): Promise<CycleReport> {
  await notePlan(desk, await openLedger(desk));
  await finishOpenSlots(desk);
  await reconcileLedger(desk, await openLedger(desk));
  await writeReceipts(desk);
  await compareOldDays(desk, await openLedger(desk));
  const opened = await openLedger(desk);
  const pods = await desk.books.listPodUsages(ringWanted(opened.value));
  const noted = await writeProblems(desk, opened, { pods, skewMs: input.skewMs });
  const ledger = await renewGrants(desk, { ledger: noted, pods, offsetSeconds: input.offsetSeconds });
  const closed = mayClose(desk, input) ? await closeHours(desk, ledger, pods) : ledger;
  await settlePods(desk, closed, pods);
  if (closed !== ledger) await finishOpenSlots(desk);
  const found = (await desk.books.readLedger())?.value ?? closed.value;
  await retireStatements(desk, found);
  return { ledger: found, pods };
}

/** R9: with a clock in doubt nothing is closed; R6: neither before Azure's list was compared. */
function mayClose(desk: Desk, input: CycleInput): boolean {
  return desk.memory.reconciled && desk.now() >= desk.memory.clockFaultUntilMs && Math.abs(input.skewMs) <= SKEW_MAX_MS;
}

/** The mode, what is wrong and which limits are near, where people and the operator look: in the ledger, written when it changes. */
async function writeProblems(
  desk: Desk,
  ledger: Versioned<Ledger>,
  seen: { readonly pods: readonly PodUsage[]; readonly skewMs: number },
): Promise<Versioned<Ledger>> {
  const { memory, terms } = desk;
  const found = findProblems(ledger.value, {
    nowMs: desk.now(),
    skewMs: seen.skewMs,
    clockFaultUntilMs: memory.clockFaultUntilMs,
    catalogue: terms.catalogue,
    list: memory.listProblem,
    waiting: [...memory.retries.values()],
    foreignMs: memory.foreignMs,
    pods: seen.pods.map(toPodView),
    graceMs: graceMsOf(desk, seen.pods),
  });
  const problems = mergeProblems(ledger.value.problems, found, desk.now());
  const near = nearNow(desk, ledger.value);
  const isSame = problems === ledger.value.problems && ledger.value.mode === terms.mode;
  if (isSame && JSON.stringify(near) === JSON.stringify(ledger.value.nearLimits ?? [])) return ledger;
  const value = { ...ledger.value, mode: terms.mode, problems, nearLimits: near };
  return swapLedger(desk, { value, version: ledger.version });
}

/** As of the cycle before. A new leader leaves what stands until it knows better: each change is an event for people. */
function nearNow({ memory, terms }: Desk, ledger: Ledger): NearLimit[] {
  const { limits } = memory.leases;
  return limits ? nearLimits(terms.plan, limits) : (ledger.nearLimits ?? []);
}
