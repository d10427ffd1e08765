import { blankAccount } from "#core/accounts.ts";
import type { Account, Ledger } from "#core/api/usage-ledger.ts";
import { countedByAgent, type PodView, sumOf } from "#core/counted.ts";
import { newLedger } from "#core/ledger.ts";
import { settlePod } from "#core/settle.ts";
import { dueAt, markPeriods, openPeriod, periodOf, rollPeriods } from "#core/overage.ts";
import { type Catalogue, findPlan, type Plan } from "#core/plan.ts";
import { HOUR_MS, hourKey, parseHourKey, toIso } from "#core/time.ts";

/** Hours count from the first one that is closed. A plan change is seen in the middle of its hour. */
export interface PlanWorld {
  readonly catalogue: Catalogue;
  /** The hour that periods are counted from. */
  readonly anchor: string;
  /** The first hour. */
  readonly first: string;
  readonly hours: number;
  readonly firstPlan: string;
  readonly changes: readonly PlanSwitch[];
  /** Nobody closes these hours before the last of them is over. */
  readonly outages?: readonly Stretch[] | undefined;
  readonly pods: readonly PodScript[];
}

/** Nobody closed the last `lag` hours before; they are closed after the new plan was seen. */
export interface PlanSwitch {
  readonly hour: number;
  readonly plan: string;
  readonly lag?: number | undefined;
}

export interface Stretch {
  readonly from: number;
  readonly hours: number;
}

/** What a pod uses, and the hours in which its sidecar says nothing. It speaks before and at the end of all others. */
export interface PodScript {
  readonly uses: readonly Use[];
  readonly silent?: readonly Stretch[] | undefined;
  /** It ends with its last use, and is settled. */
  readonly ends?: boolean | undefined;
}

export interface Use {
  readonly hour: number;
  /** After the middle of the hour: seen by no mark of that hour. */
  readonly late?: boolean | undefined;
  readonly base: string;
  readonly amount: number;
}

/** When a use happened, in hours. */
export function usedAt(use: Use): number {
  return use.hour + (use.late === true ? 0.75 : 0.25);
}

/** When the pod's sidecar published a use: before the middle of an hour and at its end, unless it is silent. */
export function publishedAt(pod: PodScript, use: Use): number {
  const end = pod.ends === true ? endOf(pod) : Number.POSITIVE_INFINITY;
  for (let hour = use.hour; ; hour += 1) {
    const isSilent = (pod.silent ?? []).some((stretch) => isIn(stretch, hour));
    if (!isSilent && usedAt(use) < hour + 0.4) return hour + 0.4;
    if (!isSilent || hour + 1 >= end) return hour + 1;
  }
}

/** Due base units per dimension at the end of an hour, and what was counted per base. */
export interface Snapshot {
  readonly hour: number;
  readonly due: Readonly<Record<string, bigint>>;
  readonly counted: (base: string) => bigint;
  readonly accounts: readonly Account[];
}

/**
 * Plays a world through the folds of the money core as the reporter calls them: hour by hour, a plan change by its two
 * halves, pods that end settled after the hour is closed.
 */
export function playPlans(world: PlanWorld, watched: readonly number[]): Snapshot[] {
  const plan = mustFind(world.catalogue, world.firstPlan);
  const play: Play = { world, plan, ledger: bear(world, plan), marks: new Map(), settled: new Set() };
  const snapshots: Snapshot[] = [];
  for (let hour = 0; hour < world.hours; hour += 1) {
    const pods = closeOne(play, hour);
    if (watched.includes(hour)) snapshots.push(takeSnapshot(play.ledger, { hour, key: keyOf(world, hour), pods }));
    settleEnded(play, hour);
  }
  return snapshots;
}

interface Play {
  readonly world: PlanWorld;
  plan: Plan;
  ledger: Ledger;
  marks: ReadonlyMap<string, bigint>;
  readonly settled: Set<PodScript>;
}

function closeOne(play: Play, hour: number): PodView[] {
  const { world } = play;
  const key = keyOf(world, hour);
  const change = world.changes.find((entry) => hour >= seenBefore(entry) && hour <= entry.hour);
  if (change && seenBefore(change) === hour) seeChange(play, change);
  const outage = world.outages?.find((stretch) => isIn(stretch, hour));
  const closedAt = Math.max(hour + 1, (change?.hour ?? 0) + 0.5, outage ? outage.from + outage.hours : 0);
  const pods = viewPods(world, livePods(play), closedAt);
  play.ledger = rollAll(play.ledger, { plan: play.plan, key, pods });
  if (change?.hour !== hour) return pods;
  play.plan = mustFind(world.catalogue, change.plan);
  play.ledger = openAll(play.ledger, { plan: play.plan, key, marks: play.marks, next: keyOf(world, hour + 1) });
  return pods;
}

/** The hour that is closed next when the new plan is seen. */
function seenBefore({ hour, lag }: PlanSwitch): number {
  return hour - (lag ?? 0);
}

function seeChange(play: Play, { hour }: PlanSwitch): void {
  const pods = viewPods(play.world, livePods(play), hour + 0.5);
  play.marks = new Map(play.ledger.accounts.map(({ from }) => [from, newest(play.ledger, pods, from)]));
  play.ledger = markAll(play.ledger, { plan: play.plan, key: keyOf(play.world, hour), pods });
}

function settleEnded(play: Play, hour: number): void {
  const ended = livePods(play).filter((pod) => pod.ends === true && endOf(pod) === hour + 1);
  const nowMs = parseHourKey(keyOf(play.world, hour + 1));
  for (const view of viewPods(play.world, ended, hour + 1)) play.ledger = settlePod(play.ledger, view, nowMs);
  for (const pod of ended) play.settled.add(pod);
}

function livePods({ world, settled }: Play): PodScript[] {
  return world.pods.filter((pod) => !settled.has(pod));
}

/** Whether an hour lies in a stretch. */
export function isIn({ from, hours }: Stretch, hour: number): boolean {
  return from <= hour && hour < from + hours;
}

/** The key of an hour of the world. */
export function keyOf(world: PlanWorld, hour: number): string {
  return hourKey(parseHourKey(world.first) + hour * HOUR_MS);
}

function bear(world: PlanWorld, plan: Plan): Ledger {
  const firstMs = parseHourKey(world.first);
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: plan.id, catalogueDigest: "", term: 1 };
  const ledger = { ...newLedger({ ...birth, nowMs: firstMs }), anchor: toIso(parseHourKey(world.anchor)) };
  const accounts = world.catalogue.dimensions.map((dimension) => {
    const account = blankAccount(dimension);
    const period = termsOf(account, { ledger, hour: world.first }, plan);
    return openPeriod(account, period, { edge: ledger.lastClosedHour, opening: 0n });
  });
  return { ...ledger, accounts };
}

function termsOf(
  account: Account,
  at: { readonly ledger: Ledger; readonly hour: string },
  plan: Plan,
): ReturnType<typeof periodOf> {
  const identity = { dimension: account.dimension, divisor: BigInt(account.divisor) };
  return periodOf(plan, identity, { hour: at.hour, anchorMs: Date.parse(at.ledger.anchor) });
}

interface Step {
  readonly plan: Plan;
  /** The hour that is closed. */
  readonly key: string;
}

function rollAll(ledger: Ledger, at: Step & { readonly pods: readonly PodView[] }): Ledger {
  const accounts = ledger.accounts.map((account) => {
    const period = termsOf(account, { ledger, hour: at.key }, at.plan);
    return rollPeriods(account, period, { ledger, pods: at.pods, hour: at.key });
  });
  return { ...ledger, lastClosedHour: at.key, accounts };
}

function markAll(ledger: Ledger, at: Step & { readonly pods: readonly PodView[] }): Ledger {
  const input = { ledger, pods: at.pods, hour: at.key };
  return { ...ledger, accounts: ledger.accounts.map((account) => markPeriods(account, at.plan, input)) };
}

function openAll(
  ledger: Ledger,
  at: Step & { readonly next: string; readonly marks: ReadonlyMap<string, bigint> },
): Ledger {
  const accounts = ledger.accounts.map((account) =>
    openPeriod(account, termsOf(account, { ledger, hour: at.next }, at.plan), {
      edge: at.key,
      opening: at.marks.get(account.from) ?? 0n,
    }),
  );
  return { ...ledger, accounts };
}

function newest(ledger: Ledger, pods: readonly PodView[], base: string): bigint {
  const settled = ledger.settled.reduce(
    (sum, entry) => (entry.dimension === base ? sum + BigInt(entry.total) : sum),
    0n,
  );
  return pods.reduce((sum, pod) => sum + (pod.totals.get(base) ?? 0n), settled);
}

function takeSnapshot(
  ledger: Ledger,
  at: { readonly hour: number; readonly key: string; readonly pods: readonly PodView[] },
): Snapshot {
  const due = ledger.accounts.map((account) => [
    account.dimension,
    dueAt(account, { ledger, pods: at.pods, hour: at.key }),
  ]);
  return {
    hour: at.hour,
    due: Object.fromEntries(due),
    counted: (base) => sumOf(countedByAgent(ledger, at.pods, { dimension: base, hour: at.key })),
    accounts: ledger.accounts,
  };
}

function endOf(pod: PodScript): number {
  return Math.max(0, ...pod.uses.map(({ hour }) => hour + 1));
}

/** What the API server holds of pods at an instant: the newest total and the last 26 boundaries that were published. */
function viewPods(world: PlanWorld, pods: readonly PodScript[], nowHours: number): PodView[] {
  return pods.map((pod) => {
    const spoke = lastWord(pod, nowHours);
    const closed = Math.floor(spoke);
    const index = world.pods.indexOf(pod);
    return {
      uid: `pod-${index}`,
      agent: `n/agent-${index % 2}`,
      createdMs: 0,
      reportedMs: 0,
      final: pod.ends === true && endOf(pod) <= nowHours,
      totals: totalsOf(pod.uses.filter((use) => usedAt(use) < spoke)),
      boundaries: boundariesOf(world, pod).slice(Math.max(0, closed - 26), closed),
    };
  });
}

const known = new WeakMap<PlanWorld, Map<PodScript, PodView["boundaries"]>>();

/** The totals at the end of each hour: whoever speaks later says them all. */
function boundariesOf(world: PlanWorld, pod: PodScript): PodView["boundaries"] {
  const mine = known.get(world) ?? new Map<PodScript, PodView["boundaries"]>();
  known.set(world, mine);
  const found = mine.get(pod);
  if (found) return found;
  let totals = totalsOf([]);
  const boundaries = Array.from({ length: world.hours }, (_, hour) => {
    if (pod.uses.some((use) => use.hour === hour)) totals = totalsOf(pod.uses.filter((use) => use.hour <= hour));
    return { hour: keyOf(world, hour), totals };
  });
  mine.set(pod, boundaries);
  return boundaries;
}

/** The last instant at which the pod published anything. */
function lastWord(pod: PodScript, nowHours: number): number {
  if (pod.ends === true && endOf(pod) <= nowHours) return endOf(pod);
  for (let hour = Math.ceil(nowHours) - 1; hour >= 0; hour -= 1) {
    if ((pod.silent ?? []).some((stretch) => isIn(stretch, hour))) continue;
    if (hour + 1 <= nowHours) return hour + 1;
    return hour + 0.4;
  }
  return 0;
}

function totalsOf(uses: readonly Use[]): Map<string, bigint> {
  const totals = new Map<string, bigint>();
  for (const { base, amount } of uses) totals.set(base, (totals.get(base) ?? 0n) + BigInt(amount));
  return totals;
}

function mustFind(catalogue: Catalogue, id: string): Plan {
  const plan = findPlan(catalogue, id);
  if (!plan) throw new Error(`Cannot play plan as it must be in the catalogue: current value is ${id}`);
  return plan;
}
