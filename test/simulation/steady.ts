import type { SimEvent } from "./events.ts";
import type { Random } from "./random.ts";

/** metering.md's measured run: so many pods for so long, each node lost every two days. */
export const STEADY = { pods: 20, hours: 72, nodeLifeHours: 48, lossPpmMax: 200 } as const;

const HOUR = 3600;
const END = STEADY.hours * HOUR;
/** For so long a lost node's pod stays in the API server before it is evicted. */
const EVICTION = 360;
const CUT = 300;
const AGENTS = 5;
/** Between the starts of two pods, so that not all publish at once. */
const STAGGER = 3;

interface Planned {
  readonly at: number;
  readonly events: readonly SimEvent[];
}

/** What happens in one run, in seconds from its start; pods are numbered in the order in which they come. */
class Plan {
  readonly planned: Planned[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  add(at: number, ...events: readonly SimEvent[]): void {
    if (at < END) this.planned.push({ at: Math.floor(at), events });
  }

  /** About once in so many hours, as independent things happen. */
  scatter(everyHours: number, make: (at: number) => readonly SimEvent[]): void {
    for (let at = this.#gap(everyHours); at < END; at += this.#gap(everyHours)) this.add(at, ...make(at));
  }

  #gap(everyHours: number): number {
    return -Math.log(1 - this.#random.next()) * everyHours * HOUR;
  }
}

/** One node with one pod at a time: lost every two days, counted from a random moment, and replaced at once. */
interface Place {
  readonly losses: readonly number[];
  /** The pod that stands there at an instant, by its number. */
  readonly podAt: (at: number) => number;
}

/** The events of a steady run: natural faults at natural density, of which only a lost node may cost usage. */
export function makeSteadyEvents(random: Random): SimEvent[] {
  const plan = new Plan(random);
  for (const place of makePlaces(plan, random)) addPodFaults(plan, random, place);
  addReporter(plan, random);
  const starts = Array.from({ length: STEADY.pods }, (_, pod): SimEvent[] => [
    { kind: "AddPod", agent: pod % AGENTS },
    { kind: "Work", seconds: STAGGER },
  ]);
  return [...starts.flat(), ...inOrder(plan.planned)];
}

/** Pods end by loss, or gracefully as an upgrade rolls over them once a day; whichever it is, a new one begins. */
function makePlaces(plan: Plan, random: Random): Place[] {
  const ends = Array.from({ length: STEADY.pods }, (_, place) => {
    const losses: number[] = [];
    for (let at = random.int(STEADY.nodeLifeHours * HOUR); at < END; at += STEADY.nodeLifeHours * HOUR) losses.push(at);
    const upgrades = [1, 2].map((day) => 24 * HOUR * day + 60 * place + random.int(30));
    return { losses, all: [...losses, ...upgrades].sort((a, b) => a - b) };
  });
  const order = ends.flatMap(({ all }, place) => all.map((at) => ({ at, place }))).sort((a, b) => a.at - b.at);
  const numbers = ends.map((_, place) => [{ at: 0, number: place }]);
  let count: number = STEADY.pods;
  for (const { at, place } of order) {
    const number = numbers[place]?.at(-1)?.number ?? 0;
    const isLoss = ends[place]?.losses.includes(at) === true;
    const next: SimEvent = { kind: "AddPod", agent: place % AGENTS };
    if (isLoss) plan.add(at, { kind: "KillPod", pod: number, gone: false }, next);
    else plan.add(at, { kind: "EndPod", pod: number }, next);
    if (isLoss) plan.add(at + EVICTION, { kind: "KillPod", pod: number, gone: true });
    numbers[place]?.push({ at, number: count });
    count += 1;
  }
  return ends.map(({ losses }, place) => ({
    losses,
    podAt: (at) => numbers[place]?.findLast((entry) => entry.at <= at)?.number ?? place,
  }));
}

/** A pod that dies while it is cut off is another row of the table: cuts keep away from losses. */
function addPodFaults(plan: Plan, random: Random, { losses, podAt }: Place): void {
  plan.scatter(24, (at) => [{ kind: "CrashService", pod: podAt(at) }]);
  plan.scatter(48, (at) => [
    { kind: "CrashSidecar", pod: podAt(at), log: random.pick(["Kept", "Kept", "Kept", "Torn", "Corrupt"]) },
  ]);
  plan.scatter(24, (at) => [{ kind: "PodWrite", pod: podAt(at), fault: random.pick(["Fail", "FailDone"]) }]);
  plan.scatter(24, (at) => [{ kind: "Scrape", pod: podAt(at), fault: "Silent" }]);
  plan.scatter(36, (at) => {
    const isNear = losses.some((loss) => loss > at - HOUR && loss < at + HOUR);
    const pod = podAt(at);
    if (isNear || podAt(at + CUT) !== pod) return [];
    plan.add(at + CUT, { kind: "Uncut", pod });
    return [{ kind: "Cut", pod }];
  });
}

/** The reporter's cycles, its crashes and changes of leader, and what becomes of its posts. */
function addReporter(plan: Plan, random: Random): void {
  let leader = 0;
  for (let at = 130; at < END; at += 600) {
    if (random.chance(1 / 72)) leader = 1 - leader;
    const isHurt = random.chance(1 / 36);
    plan.add(at, {
      kind: "Cycle",
      leader,
      at: isHurt ? 1 + random.int(30) : 0,
      how: random.pick(["Crash", "CrashDone", "Fail", "FailDone", "Delay"]),
    });
  }
  plan.scatter(8, () => [{ kind: "Post", fault: "LoseAnswer" }]);
  plan.scatter(12, () => [
    { kind: "Post", fault: random.pick(["LoseRequest", "Http500", "Http429", "Truncate", "Missing", "Shuffle"]) },
  ]);
  plan.scatter(6, () => [{ kind: "Land", index: 0 }]);
  if (random.chance(1 / 3)) plan.add(random.int(40 * HOUR), { kind: "Outage", hours: 30 });
}

function inOrder(planned: readonly Planned[]): SimEvent[] {
  const events: SimEvent[] = [];
  let nowS = 0;
  for (const { at, events: due } of planned.toSorted((a, b) => a.at - b.at)) {
    if (at > nowS) events.push({ kind: "Work", seconds: at - nowS });
    nowS = Math.max(nowS, at);
    events.push(...due);
  }
  return [...events, { kind: "Work", seconds: END - nowS }];
}
