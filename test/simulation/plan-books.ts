import type { Ledger } from "#core/api/usage-ledger.ts";
import type { PlanDimension } from "#core/plan.ts";
import { countedAt, edgesOf, toMs } from "./oracle-time.ts";
import type { World } from "./world.ts";

const HOUR_MS = 3_600_000;

/** Under one plan: from an instant, with what had been counted of each base dimension. */
interface Stretch {
  readonly planId: string;
  readonly fromMs: number;
  readonly opening: ReadonlyMap<string, bigint>;
}

/** What the oracle knows of the customer's plans. */
interface PlanBooks {
  /** `plan dimension period` → base units used in stretches that are over, also where it is 0: the period began. */
  readonly used: ReadonlyMap<string, bigint>;
  /** Absent: between the hour of a change and the new plan. */
  readonly now: Stretch | undefined;
}

const books = new WeakMap<Ledger, PlanBooks>();

/**
 * Looks at a ledger's write for the two moments of a plan change. Of the ledger only those and the marks are believed:
 * what falls into which period is told from what the pods have published until then.
 */
export function notePlanBooks(world: World, before: Ledger | undefined, after: Ledger): void {
  const known = before && books.get(before);
  if (before && known) books.set(after, turnOver(world, { before, after, known }));
  else books.set(after, born(world, after));
}

function born(world: World, ledger: Ledger): PlanBooks {
  const earlier = world.lostLedger && books.get(world.lostLedger);
  const now = { planId: ledger.planId, fromMs: world.bornMs, opening: new Map<string, bigint>() };
  return { used: earlier?.used ?? new Map(), now };
}

function turnOver(
  world: World,
  { before, after, known }: { readonly before: Ledger; readonly after: Ledger; readonly known: PlanBooks },
): PlanBooks {
  const change = after.planChange ?? before.planChange;
  if (!change || (after.planChange && before.planChange)) return known;
  const opening = sumByDimension(change.marks);
  const atMs = toMs(change.hour) + HOUR_MS;
  if (!after.planChange) return { ...known, now: { planId: after.planId, fromMs: atMs, opening } };
  if (world.pods.some((pod) => pod.isCut() || pod.longestCutMs > 0)) world.happened.add("PlanVague");
  for (const [base, amount] of opening)
    if (amount !== countedAt(world, base, Infinity)) world.happened.add("PlanVague");
  return closeStretch(world, known, { untilMs: atMs, counted: opening });
}

interface End {
  readonly untilMs: number;
  /** Nothing is counted beyond it. Absent: what the pods have published. */
  readonly counted?: ReadonlyMap<string, bigint>;
}

/** The books with the present stretch added to its periods. */
function closeStretch(world: World, known: PlanBooks, end: End): PlanBooks {
  const { now } = known;
  const { catalogue } = world.setup;
  const plan = catalogue.plans.find(({ id }) => id === now?.planId);
  const sold = now && plan?.billing === "Custom" ? plan.dimensions : [];
  const used = new Map(known.used);
  for (const part of now ? sold.flatMap((entry) => partsOf(world, { ...end, now, sold: entry })) : [])
    used.set(part.key, (used.get(part.key) ?? 0n) + part.amount);
  return { used, now: undefined };
}

function startsOf(world: World, sold: PlanDimension): number[] {
  const per = sold.fee?.per ?? sold.included?.per;
  return per ? edgesOf(world.setup, per) : [];
}

/** What a stretch brings to each of its periods, to those without any use too: their fee is due. */
function partsOf(
  world: World,
  { now, sold, untilMs, counted }: End & { readonly now: Stretch; readonly sold: PlanDimension },
): { readonly key: string; readonly amount: bigint }[] {
  const from = world.setup.catalogue.dimensions.find(({ id }) => id === sold.id)?.from ?? "";
  const starts = startsOf(world, sold);
  const first = starts.findLast((edge) => edge <= now.fromMs) ?? 0;
  const edges = starts.filter((edge) => edge > now.fromMs && edge < untilMs);
  const most = counted ? (counted.get(from) ?? 0n) : countedAt(world, from, Infinity);
  let before = now.opening.get(from) ?? 0n;
  return [first, ...edges].map((start, index) => {
    const atEnd = clamp(countedAt(world, from, edges[index] ?? Infinity), before, most);
    const amount = atEnd - before;
    before = atEnd;
    return { key: `${now.planId} ${sold.id} ${start}`, amount };
  });
}

function clamp(amount: bigint, least: bigint, most: bigint): bigint {
  const low = amount < most ? amount : most;
  return low > least ? low : least;
}

/** `plan dimension period` → base units used up to now, of each period that began. */
export function planUse(world: World, ledger: Ledger): PlanBooks["used"] {
  const known = books.get(ledger);
  if (!known) throw new Error("A ledger was written behind the oracle's back");
  return closeStretch(world, known, { untilMs: Math.floor(world.nowMs() / HOUR_MS) * HOUR_MS }).used;
}

function sumByDimension(marks: readonly { readonly dimension: string; readonly total: string }[]): Map<string, bigint> {
  const sums = new Map<string, bigint>();
  for (const { dimension, total } of marks) sums.set(dimension, (sums.get(dimension) ?? 0n) + BigInt(total));
  return sums;
}
