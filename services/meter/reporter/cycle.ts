import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { closeHours } from "./close.ts";
import { type Desk, swapLedger, type Versioned } from "./desk.ts";
import { renewGrants } from "./grants.ts";
import { openLedger } from "./open-ledger.ts";
import { finishOpenSlots } from "./post.ts";
import { reconcileLedger } from "./reconcile.ts";
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
  const ledger = await writeProblem(desk, await openLedger(desk), input);
  const pods = await desk.books.listPodUsages();
  await renewGrants(desk, pods, input.offsetSeconds);
  const closed = mayClose(desk, input) ? await closeHours(desk, ledger, pods) : ledger;
  await settlePods(desk, closed, pods);
  if (closed !== ledger) await finishOpenSlots(desk);
  const found = await desk.books.readLedger();
  return { ledger: found?.value ?? closed.value, pods };
}

function mayClose(desk: Desk, input: CycleInput): boolean {
  return desk.memory.reconciled && desk.now() >= desk.memory.clockFaultUntilMs && Math.abs(input.skewMs) <= SKEW_MAX_MS;
}

/** The mode, and why nothing new is posted, where people and the operator look: in the ledger, written when it changes. */
async function writeProblem(desk: Desk, ledger: Versioned<Ledger>, input: CycleInput): Promise<Versioned<Ledger>> {
  const problem = findProblem(desk, input);
  const { problem: current, ...rest } = ledger.value;
  if (problem === current && rest.mode === desk.terms.mode) return ledger;
  const value = { ...rest, mode: desk.terms.mode, ...(problem === undefined ? {} : { problem }) };
  return swapLedger(desk, { value, version: ledger.version });
}

function findProblem(desk: Desk, input: CycleInput): string | undefined {
  const { terms, memory } = desk;
  if (Math.abs(input.skewMs) > SKEW_MAX_MS)
    return `This node's clock differs from the API server's by ${Math.round(input.skewMs / 1000)} s`;
  if (desk.now() < memory.clockFaultUntilMs) return "Azure calls fresh usage expired: our clock is wrong";
  if (terms.mode === "Silent" && terms.plan === undefined)
    return `The catalogue does not know the plan ${terms.planId}: usage is counted, not posted`.slice(0, 512);
  return memory.problem;
}
