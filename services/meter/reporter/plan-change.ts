import { toPodView } from "#core/counted.ts";
import { markPlanChange } from "#core/plan-change.ts";
import { ringWanted } from "#core/ring.ts";
import { type Desk, swapLedger, type Versioned } from "./desk.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";

/** Notes the plan that we were started with, if the ledger knows another, before anything is closed under it. */
export async function notePlan(desk: Desk, ledger: Versioned<Ledger>): Promise<Versioned<Ledger>> {
  const { planId, catalogue } = desk.terms;
  if (planId === ledger.value.planId) return ledger;
  const pods = (await desk.books.listPodUsages(ringWanted(ledger.value))).map(toPodView);
  const value = markPlanChange(ledger.value, { planId, pods, catalogue, nowMs: desk.now() });
  const written = await swapLedger(desk, { value, version: ledger.version });
  desk.log.warn({ planId, fromPlanId: ledger.value.planId, hour: value.planChange?.hour }, "Found another plan");
  return written;
}
