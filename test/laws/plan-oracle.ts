import { type PlanWorld, keyOf, publishedAt, usedAt } from "./plan-world.ts";

/**
 * What is due, counted on the fingers: each base unit gets its place in the queue of its period, and is charged by the
 * dimension whose range holds that place. Shares no arithmetic with #core/overage.ts: dates are strings that are counted
 * up day by day, no sums are clamped.
 */
export function expectedDue(world: PlanWorld, dimension: string, untilHour: number): bigint {
  const sold = world.catalogue.dimensions.find(({ id }) => id === dimension);
  if (!sold) throw new Error(`no dimension ${dimension}`);
  return sold.from === "billing_period"
    ? expectedFees(world, dimension, untilHour)
    : expectedUse(world, sold, untilHour);
}

function expectedUse(
  world: PlanWorld,
  sold: { readonly id: string; readonly from: string; readonly divisor: string },
  untilHour: number,
): bigint {
  const queues = new Map<string, number>();
  const divisor = Number(sold.divisor);
  let due = 0;
  for (const hour of attributedHours(world, sold.from, untilHour)) {
    const terms = termsAt(world, sold.id, hour);
    if (!terms?.isBilled) continue;
    // Without an included quantity there is no period, and every place is charged: a queue of a year will do.
    const { included = { quantity: "0", per: "Year" as const }, upTo = "Infinity" } = terms;
    const queue = `${terms.plan}|${periodLabel(world, hour, included.per)}`;
    const place = (queues.get(queue) ?? 0) + 1;
    queues.set(queue, place);
    if (place > Number(included.quantity) * divisor && place <= Number(upTo) * divisor) due += 1;
  }
  return BigInt(due);
}

/** One entry per base unit: the hour whose period it belongs to. */
function attributedHours(world: PlanWorld, base: string, untilHour: number): number[] {
  return world.pods.flatMap((pod) =>
    pod.uses.flatMap((use) => {
      const published = publishedAt(pod, use);
      if (use.base !== base || published > untilHour + 1) return [];
      // A mark that did not see the use leaves it to the plan after, whose period opens with the next hour.
      const marks = world.changes.map(({ hour }) => hour).filter((hour) => hour + 0.5 < published);
      const mark = Math.max(-1, ...marks);
      const hour = mark >= 0 && Math.floor(usedAt(use)) <= mark ? mark + 1 : use.hour;
      return Array.from({ length: use.amount }, () => hour);
    }),
  );
}

function expectedFees(world: PlanWorld, dimension: string, untilHour: number): bigint {
  const paid = new Map<string, number>();
  // At the close of an hour in which a plan change was seen the new plan's period opens.
  const last = world.changes.some(({ hour }) => hour === untilHour) ? untilHour + 1 : untilHour;
  for (let hour = 0; hour <= last; hour += 1) {
    const terms = termsAt(world, dimension, hour);
    if (terms?.fee) paid.set(`${terms.plan}|${periodLabel(world, hour, terms.fee.per)}`, Number(terms.fee.quantity));
  }
  return BigInt([...paid.values()].reduce((sum, fee) => sum + fee, 0));
}

function termsAt(world: PlanWorld, dimension: string, hour: number) {
  const id = world.changes.filter((change) => change.hour < hour).at(-1)?.plan ?? world.firstPlan;
  const plan = world.catalogue.plans.find((entry) => entry.id === id);
  const terms = plan?.dimensions.find((entry) => entry.id === dimension);
  return plan && terms ? { plan: id, isBilled: plan.billing === "Custom", ...terms } : undefined;
}

const labels = new Map<string, string[]>();

/** The newest period start, as a date with an hour, that is not after the hour. */
function periodLabel(world: PlanWorld, hour: number, per: "Day" | "Month" | "Year"): string {
  const key = `${world.anchor} ${per}`;
  const starts = labels.get(key) ?? listStarts(world.anchor, per);
  labels.set(key, starts);
  const now = keyOf(world, hour);
  return starts.findLast((start) => start <= now) ?? "before";
}

/** Every period start of eight years, the anchor first, by walking the calendar day by day from the anchor. */
export function listStarts(anchor: string, per: "Day" | "Month" | "Year"): string[] {
  const anchorMonth = Number(anchor.slice(4, 6));
  const anchorDay = Number(anchor.slice(6, 8));
  const starts: string[] = [];
  let [year, month, day] = [Number(anchor.slice(0, 4)), anchorMonth, anchorDay];
  for (let walked = 0; walked < 366 * 8; walked += 1) {
    const last = daysIn(year, month);
    const turns = day === Math.min(anchorDay, last);
    const begins = { Day: true, Month: turns, Year: turns && month === anchorMonth };
    if (begins[per]) starts.push(`${year}${two(month)}${two(day)}${anchor.slice(8)}`);
    [month, day] = day === last ? [month + 1, 1] : [month, day + 1];
    if (month > 12) [year, month] = [year + 1, 1];
  }
  return starts;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}
