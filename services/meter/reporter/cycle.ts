import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { type Finding, mergeProblems } from "#core/problems.ts";
import { closeHours } from "./close.ts";
import { type Desk, swapLedger, type Versioned } from "./desk.ts";
import { renewGrants } from "./grants.ts";
import { openLedger } from "./open-ledger.ts";
import { finishOpenSlots } from "./post.ts";
import { reconcileLedger } from "./reconcile.ts";
import { retireStatements } from "./retention.ts";
import { settlePods } from "./settle.ts";

/** Above this skew between our clock and the API server's nothing is closed (R9). */
export const SKEW_MAX_MS = 300_000;

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
  await openLedger(desk);
  await finishOpenSlots(desk);
  await reconcileLedger(desk, await openLedger(desk));
  const opened = await writeProblems(desk, await openLedger(desk), input);
  const pods = await desk.books.listPodUsages();
  const ledger = await renewGrants(desk, { ledger: opened, pods, offsetSeconds: input.offsetSeconds });
  const closed = mayClose(desk, input) ? await closeHours(desk, ledger, pods) : ledger;
  await settlePods(desk, closed, pods);
  if (closed !== ledger) await finishOpenSlots(desk);
  const found = (await desk.books.readLedger())?.value ?? closed.value;
  await retireStatements(desk, found);
  return { ledger: found, pods };
}

function mayClose(desk: Desk, input: CycleInput): boolean {
  return desk.memory.reconciled && desk.now() >= desk.memory.clockFaultUntilMs && Math.abs(input.skewMs) <= SKEW_MAX_MS;
}

/** The mode, and what is wrong, where people and the operator look: in the ledger, written when it changes. */
async function writeProblems(desk: Desk, ledger: Versioned<Ledger>, input: CycleInput): Promise<Versioned<Ledger>> {
  const problems = mergeProblems(ledger.value.problems, findProblems(desk, input), desk.now());
  if (problems === ledger.value.problems && ledger.value.mode === desk.terms.mode) return ledger;
  const value = { ...ledger.value, mode: desk.terms.mode, problems };
  return swapLedger(desk, { value, version: ledger.version });
}

function findProblems(desk: Desk, input: CycleInput): Finding[] {
  const { terms, memory } = desk;
  const found: Finding[] = [];
  if (Math.abs(input.skewMs) > SKEW_MAX_MS)
    found.push({ reason: "ClockSkew", message: "This node's clock is more than 5 min off: nothing is closed" });
  if (desk.now() < memory.clockFaultUntilMs)
    found.push({ reason: "ClockFault", message: "Azure calls fresh usage expired: our clock is wrong" });
  if (terms.mode === "Silent" && terms.plan === undefined)
    found.push({
      reason: "PlanUnknown",
      message: `The catalogue does not know the plan ${terms.planId}: usage is counted, not posted`,
    });
  return memory.listProblem ? [...found, memory.listProblem] : found;
}
