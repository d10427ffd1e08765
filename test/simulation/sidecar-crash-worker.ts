import { parentPort, workerData } from "node:worker_threads";
import { hookModules } from "./hooks.ts";
import type { Mutant } from "./mutants.ts";
import { isStruck, type Moment, type StrikePlan } from "./strike.ts";

/** What a worker is to play: one moment at every call, or at the calls of one name. */
export interface CrashOrder {
  readonly moment: Moment | "Never";
  readonly call?: string;
  /** A second strike so many calls later, for each of them. */
  readonly again?: readonly number[];
  readonly mutant?: Mutant;
  readonly isFirstEnough: boolean;
}

export interface CrashReport {
  /** Names of the calls of a life without a strike. */
  readonly calls: readonly string[];
  readonly lives: number;
  readonly failures: readonly { readonly at: number; readonly call: string; readonly problems: readonly string[] }[];
}

const order: CrashOrder = workerData;
hookModules(order.mutant);
// The product is loaded after the hooks are set.
const { live } = await import("./sidecar-life.ts");
parentPort?.postMessage(await playAll(order));

async function playAll(wanted: CrashOrder): Promise<CrashReport> {
  const clean = await live({ at: 0, moment: "DiesBefore" });
  const failures: { at: number; call: string; problems: readonly string[] }[] = [];
  if (clean.problems.length > 0) failures.push({ at: 0, call: "none", problems: clean.problems });
  let lives = 1;
  for (const plan of plansOf(wanted, clean.calls)) {
    if (wanted.isFirstEnough && failures.length > 0) break;
    const { problems } = await live(plan);
    if (problems.length > 0) failures.push({ at: plan.at, call: clean.calls[plan.at - 1] ?? "", problems });
    lives += 1;
  }
  return { calls: clean.calls, lives, failures };
}

function plansOf({ moment, call, again = [0] }: CrashOrder, calls: readonly string[]): StrikePlan[] {
  if (moment === "Never") return [];
  return calls.flatMap((name, index) => {
    const isWanted = isStruck(name, moment) && (call === undefined || call === name);
    return isWanted ? again.map((later) => ({ at: index + 1, moment, again: later })) : [];
  });
}
