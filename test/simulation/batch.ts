import { makeEvents, type SimEvent } from "./events.ts";
import { play } from "./player.ts";
import { makeSetup, type Profile, type Setup } from "./setup.ts";
import { shrink } from "./shrink.ts";
import type { Violation } from "./world.ts";

/** Histories `from` up to and without `to` of one seed. */
export interface BatchOrder {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  readonly profile: Profile | undefined;
  /** Failures that are shrunk; the rest is only counted. */
  readonly shrinkMax: number;
  /** The batch ends at its first failure. */
  readonly stopAtFailure: boolean;
}

export interface Failure {
  readonly seed: number;
  readonly history: number;
  readonly profile: Profile;
  readonly law: string;
  readonly problem: string;
  /** The fewest events found that break the law; nothing when it was not shrunk. */
  readonly events: readonly SimEvent[] | undefined;
}

/** Sums of many histories; plain values, as they travel between threads. */
export interface BatchReport {
  readonly histories: number;
  readonly events: number;
  readonly violations: Readonly<Record<string, number>>;
  readonly overBilledUnits: number;
  readonly riskedUnits: number;
  readonly underBilledUnits: number;
  readonly usedBaseUnits: bigint;
  readonly lostBaseUnits: Readonly<Record<string, bigint>>;
  readonly failures: readonly Failure[];
}

export const EMPTY_REPORT: BatchReport = {
  histories: 0,
  events: 0,
  violations: {},
  overBilledUnits: 0,
  riskedUnits: 0,
  underBilledUnits: 0,
  usedBaseUnits: 0n,
  lostBaseUnits: {},
  failures: [],
};

/** Plays the histories of an order one after the other. */
export async function playBatch(order: BatchOrder): Promise<BatchReport> {
  let report = EMPTY_REPORT;
  for (let history = order.from; history < order.to; history += 1) {
    report = addReports(report, await playOne(order, history, report.failures.length < order.shrinkMax));
    if (order.stopAtFailure && report.failures.length > 0) break;
  }
  return report;
}

async function playOne(order: BatchOrder, history: number, mayShrink: boolean): Promise<BatchReport> {
  const setup = makeSetup(order.seed, history, order.profile);
  const events = makeEvents(order.seed, history, setup);
  const { violations, events: count, figures } = await play(setup, events);
  const [first] = violations;
  const { used = 0n, lost = [], overBilledUnits = 0, riskedUnits = 0, underBilledUnits = 0 } = figures ?? {};
  return {
    histories: 1,
    events: count,
    violations: first ? { [first.law]: 1 } : {},
    overBilledUnits,
    riskedUnits,
    underBilledUnits,
    usedBaseUnits: used,
    lostBaseUnits: Object.fromEntries(lost),
    failures: first ? [await describe({ seed: order.seed, history, setup, events, first }, mayShrink)] : [],
  };
}

interface Broken {
  readonly seed: number;
  readonly history: number;
  readonly setup: Setup;
  readonly events: readonly SimEvent[];
  readonly first: Violation;
}

async function describe({ seed, history, setup, events, first }: Broken, mayShrink: boolean): Promise<Failure> {
  const { law } = first;
  const told = { seed, history, profile: setup.profile, law };
  if (!mayShrink || setup.profile === "Steady") return { ...told, problem: first.problem, events: undefined };
  const shrunk = await shrink(setup, events, law);
  const same = shrunk.played.violations.find((violation) => violation.law === law) ?? first;
  return { ...told, problem: same.problem, events: shrunk.events };
}

/** Both together. */
export function addReports(a: BatchReport, b: BatchReport): BatchReport {
  return {
    histories: a.histories + b.histories,
    events: a.events + b.events,
    violations: addNumbers(a.violations, b.violations),
    overBilledUnits: a.overBilledUnits + b.overBilledUnits,
    riskedUnits: a.riskedUnits + b.riskedUnits,
    underBilledUnits: a.underBilledUnits + b.underBilledUnits,
    usedBaseUnits: a.usedBaseUnits + b.usedBaseUnits,
    lostBaseUnits: addBigints(a.lostBaseUnits, b.lostBaseUnits),
    failures: [...a.failures, ...b.failures],
  };
}

function addNumbers(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> {
  const sum = { ...a };
  for (const [key, value] of Object.entries(b)) sum[key] = (sum[key] ?? 0) + value;
  return sum;
}

function addBigints(a: Readonly<Record<string, bigint>>, b: Readonly<Record<string, bigint>>): Record<string, bigint> {
  const sum = { ...a };
  for (const [key, value] of Object.entries(b)) sum[key] = (sum[key] ?? 0n) + value;
  return sum;
}
