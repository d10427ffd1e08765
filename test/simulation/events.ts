import { limitedDimensions } from "#core/leases.ts";
import { findPlan } from "#core/plan.ts";
import type { Stop } from "./gate.ts";
import { createRandom, type Random } from "./random.ts";
import { USED } from "./catalogues.ts";
import { type Setup } from "./setup.ts";
import { makeSteadyEvents } from "./steady.ts";

/** What becomes of the next POST. Delay: it lands later. ItemError: one item fails, the others are booked. */
export type PostFault =
  | "LoseAnswer"
  | "LoseRequest"
  | "Delay"
  | "Http500"
  | "Http429"
  | "Http403"
  | "Http400"
  | "Truncate"
  | "Shuffle"
  | "Missing"
  | "ItemError"
  | "Foreign";

/** What the disk of a crashed sidecar holds of its log. */
export type LogFate = "Kept" | "Lost" | "Torn" | "Corrupt";
export type PodWriteFault = "Fail" | "FailDone" | "Delay";
export type ScrapeFault = "Silent" | "Cut" | "Duplicate";

type OnPod = { readonly pod: number };
type Turn = { readonly leader: number; readonly at: number; readonly how: Stop };
type Nothing = Readonly<Record<never, never>>;

/** What may happen. Pods and leaders go by number; a number without a bearer means that nothing happens. */
interface EventShapes {
  Use: OnPod & { readonly dimension: string; readonly amount: number };
  Advance: { readonly seconds: number };
  /** Time passes with every pod at work (work.ts). */
  Work: { readonly seconds: number };
  /** To `seconds` after the next edge of an hour. */
  Hour: { readonly seconds: number };
  /** A leader's turn; at its call number `at`, or the `at`th of a kind, it is stopped, unless 0. */
  Cycle: Turn & { readonly call?: "applyGrants" };
  /** A leader that stood still goes on. */
  Resume: Turn;
  /** A request that was given up arrives. */
  Land: { readonly index: number };
  Post: { readonly fault: PostFault };
  List: { readonly fault: "None" | "Down" | "Refused" };
  Outage: { readonly hours: number };
  Suspend: Nothing;
  Activate: Nothing;
  Recreate: Nothing;
  ChangePlan: { readonly planId: string };
  Operator: Nothing;
  Backup: Nothing;
  DeleteLedger: Nothing;
  Restore: { readonly versionsFall: boolean };
  AddPod: { readonly agent: number };
  EndPod: OnPod;
  /** The pod leaves the API server while its containers run on. */
  ForceDelete: OnPod;
  Cut: OnPod;
  Uncut: OnPod;
  CrashService: OnPod;
  /** The service shows older counters under the same epoch: a fault of its own. */
  CountersFall: OnPod;
  DeletePodUsage: OnPod;
  KillPod: OnPod & { readonly gone: boolean };
  Reboot: OnPod & { readonly fileLost: boolean };
  CrashSidecar: OnPod & { readonly log: LogFate };
  PodWrite: OnPod & { readonly fault: PodWriteFault };
  Scrape: OnPod & { readonly fault: ScrapeFault };
  /** The API server's clock less the true time. */
  Skew: { readonly seconds: number };
  NodeSkew: { readonly seconds: number };
}
export type EventKind = keyof EventShapes;
export type EventOf<K extends EventKind> = { readonly kind: K } & EventShapes[K];
export type SimEvent = { [K in EventKind]: EventOf<K> }[EventKind];

type Used = (typeof USED)[number];
type Maker = (random: Random) => readonly SimEvent[];

const PODS = 4;
const EVENTS_MAX = 70;
const STOPS = ["Crash", "CrashDone", "Fail", "FailDone", "Delay", "Pause", "PauseDone"] as const;
const POST_FAULTS = [
  "LoseAnswer",
  "LoseAnswer",
  "LoseRequest",
  "Delay",
  "Delay",
  "Http500",
  "Http429",
  "Http403",
  "Http400",
  "Truncate",
  "Shuffle",
  "Missing",
  "ItemError",
] as const;

const pod = (random: Random): number => random.int(PODS);
const podEvent =
  (kind: "EndPod" | "ForceDelete" | "Cut" | "Uncut" | "CrashService" | "CountersFall" | "DeletePodUsage"): Maker =>
  (random) => [{ kind, pod: pod(random) }];
const plain =
  (kind: "Suspend" | "Activate" | "Recreate" | "Operator" | "Backup" | "DeleteLedger"): Maker =>
  () => [{ kind }];

const cycleOf = (random: Random): EventOf<"Cycle"> => ({
  kind: "Cycle",
  leader: random.chance(0.8) ? 0 : 1,
  at: random.chance(0.6) ? 0 : 1 + random.int(random.chance(0.5) ? 12 : 40),
  how: random.pick(STOPS),
});
const cycle: Maker = (random) => [cycleOf(random)];

const hour: Maker = (random) => [
  { kind: "Hour", seconds: random.chance(0.8) ? 45 + random.int(120) : random.int(45) },
  ...(random.chance(0.7) ? cycle(random) : []),
];

const use: Maker = (random) => {
  const [dimension, most] = random.pick(USED);
  return [{ kind: "Use", pod: pod(random), dimension, amount: random.int(most + 1) }];
};

/** An answer is lost, and nobody can ask again before the slot is about to be too old, by a clock that lags behind Azure's. */
const limbo: Maker = (random) => [
  ...use(random),
  { kind: "Hour", seconds: 60 },
  { kind: "Post", fault: "LoseAnswer" },
  { kind: "Cycle", leader: 0, at: 0, how: "Crash" },
  { kind: "Skew", seconds: random.pick([-3000, -1200, 0]) },
  { kind: "Outage", hours: 22 },
  { kind: "Advance", seconds: 23 * 3600 + random.int(3000) },
  ...cycle(random),
];

/** What a restored ledger has forgotten, and usage that comes late for the hour that it would close again. */
const relapse: Maker = (random) => {
  const late = pod(random);
  return [
    ...use(random),
    { kind: "Cut", pod: late },
    { kind: "Cycle", leader: 0, at: 0, how: "Crash" },
    { kind: "Backup" },
    { kind: "Use", pod: late, dimension: "tool_action", amount: 1 + random.int(8) },
    { kind: "Hour", seconds: 140 },
    ...cycle(random),
    { kind: "Restore", versionsFall: random.chance(0.5) },
    { kind: "Uncut", pod: late },
  ];
};

/**
 * A leader stands still, or gives up, as it is about to raise the ceiling of a pod that then is cut off; another takes its
 * place and gives what is left to the other pod; then the first one's write arrives.
 */
const usurp =
  (limited: readonly Used[]): Maker =>
  (random) => {
    const idle = random.int(2);
    const one = [random.pick(limited)];
    const use = (number: number): SimEvent => useOf(random, one, number);
    const turn = (leader: number): SimEvent => ({ kind: "Cycle", leader, at: 0, how: "Crash" });
    const press = (): SimEvent[] => [use(1 - idle), use(1 - idle), { kind: "Advance", seconds: 70 }, turn(1)];
    return [
      turn(0),
      turn(0),
      use(idle),
      { kind: "Advance", seconds: 70 },
      { kind: "Cycle", leader: 0, call: "applyGrants", at: 1 + random.int(2), how: random.pick(["Pause", "Delay"]) },
      { kind: "Cut", pod: idle },
      ...Array.from({ length: 2 + random.int(5) }, press).flat(),
      { kind: "Resume", leader: 0, at: 0, how: "Crash" },
      { kind: "Land", index: 0 },
      { kind: "Uncut", pod: idle },
    ];
  };

/** Pods come up against the cap, and a reporter that gives them more may fail in the middle of it. */
const press =
  (limited: readonly Used[]): Maker =>
  (random) => [
    useOf(random, limited, pod(random)),
    { kind: "Advance", seconds: 10 + random.int(80) },
    ...(random.chance(0.7)
      ? cycle(random)
      : [{ ...cycleOf(random), call: "applyGrants" as const, at: 1 + random.int(3) }]),
  ];

function useOf(random: Random, of: readonly Used[], number: number): SimEvent {
  const [dimension, most] = random.pick(of);
  return { kind: "Use", pod: number, dimension, amount: 1 + random.int(most) };
}

/** Up or down, and often back again: within the hour, or after it was closed. */
const changePlan: Maker = (random) => {
  const plans = ["starter", "tiers", "hybrid", "gratis"] as const;
  const change = (): SimEvent => ({ kind: "ChangePlan", planId: random.pick(plans) });
  return [change(), ...cycle(random), ...use(random), ...(random.chance(0.6) ? hour(random) : []), change()];
};

const ORDINARY: readonly (readonly [number, Maker])[] = [
  [22, use],
  [22, hour],
  [14, cycle],
  [
    5,
    (random) => [
      {
        kind: "Resume",
        leader: random.int(2),
        at: random.chance(0.6) ? 0 : 1 + random.int(8),
        how: random.pick(STOPS),
      },
    ],
  ],
  [0.7, limbo],
  [5, (random) => [{ kind: "Advance", seconds: random.int(random.chance(0.7) ? 300 : 5400) }]],
  [1, (random) => [{ kind: "Advance", seconds: 3600 * random.int(30) }]],
  [8, (random) => [{ kind: "Post", fault: random.pick(POST_FAULTS) }]],
  [3, (random) => [{ kind: "Land", index: random.int(4) }]],
  [2, (random) => [{ kind: "List", fault: random.pick(["None", "Down", "Refused"]) }]],
  [0.7, (random) => [{ kind: "Outage", hours: random.pick([1, 5, 23, 25, 27]) }]],
  [0.5, plain("Suspend")],
  [0.7, plain("Activate")],
  [0.3, plain("Recreate")],
  [1.5, (random) => [{ kind: "AddPod", agent: random.int(3) }]],
  [2, podEvent("EndPod")],
  [1.5, (random) => [{ kind: "KillPod", pod: pod(random), gone: random.chance(0.6) }]],
  [1, podEvent("ForceDelete")],
  [1.5, podEvent("Cut")],
  [2, podEvent("Uncut")],
  [1.5, podEvent("CrashService")],
  [0.5, podEvent("CountersFall")],
  [0.7, (random) => [{ kind: "Reboot", pod: pod(random), fileLost: random.chance(0.5) }]],
  [
    2,
    (random) => [
      { kind: "CrashSidecar", pod: pod(random), log: random.pick(["Kept", "Kept", "Lost", "Torn", "Corrupt"]) },
    ],
  ],
  [1.5, (random) => [{ kind: "PodWrite", pod: pod(random), fault: random.pick(["Fail", "FailDone", "Delay"]) }]],
  [1.5, (random) => [{ kind: "Scrape", pod: pod(random), fault: random.pick(["Silent", "Cut", "Duplicate"]) }]],
  [0.7, (random) => [{ kind: "Skew", seconds: random.pick([-3000, -400, -60, 60, 400, 3000]) }]],
  [0.5, (random) => [{ kind: "NodeSkew", seconds: random.pick([-4000, -100, 0, 100, 4000]) }]],
];

const FOREIGN: typeof ORDINARY = [...ORDINARY, [6, () => [{ kind: "Post", fault: "Foreign" }]]];

const DISASTER: typeof ORDINARY = [
  ...ORDINARY,
  [4, plain("Backup")],
  [1.5, relapse],
  [3, (random) => [{ kind: "Restore", versionsFall: random.chance(0.5) }]],
  [1.5, plain("DeleteLedger")],
  [1, podEvent("DeletePodUsage")],
  [1, plain("Operator")],
];

const MAKERS = { Ordinary: ORDINARY, Foreign: FOREIGN, Disaster: DISASTER } as const;

/** The events of history `index` under `seed`. */
export function makeEvents(seed: number, index: number, setup: Setup): SimEvent[] {
  const random = createRandom(seed, 2 * index + 1);
  return setup.profile === "Steady" ? makeSteadyEvents(random) : makeChaos(random, setup, setup.profile);
}

function makeChaos(random: Random, setup: Setup, profile: keyof typeof MAKERS): SimEvent[] {
  const wanted = 8 + random.int(EVENTS_MAX - 8);
  const events: SimEvent[] = [];
  for (let pods = 1 + random.int(3); pods > 0; pods -= 1) events.push({ kind: "AddPod", agent: random.int(3) });
  events.push({ kind: "Advance", seconds: 10 }, { kind: "Cycle", leader: 0, at: 0, how: "Crash" });
  const limited = limitedOf(setup);
  const changes: typeof ORDINARY = setup.changesPlan ? [[5, changePlan]] : [];
  const makers = [...MAKERS[profile], ...cappedMakers(limited), ...changes];
  if (limited.length > 0 && random.chance(0.5)) events.push(...usurp(limited)(random));
  while (events.length < wanted) events.push(...random.weighted(makers)(random));
  return setup.calm ? events.filter(isCalm).map(calmDown) : events;
}

/** What the plan puts a cap on. */
function limitedOf({ catalogue, planId }: Setup): readonly Used[] {
  const bases = limitedDimensions(findPlan(catalogue, planId), catalogue);
  return USED.filter(([dimension]) => bases.includes(dimension));
}

function cappedMakers(limited: readonly Used[]): typeof ORDINARY {
  if (limited.length === 0) return [];
  return [
    [4, usurp(limited)],
    [15, press(limited)],
  ];
}

/** Nothing that would let a leader begin anew, or a slot die. */
function isCalm(event: SimEvent): boolean {
  if (event.kind === "Advance") return event.seconds <= 5400;
  return !["Resume", "List", "Outage", "Suspend", "Recreate", "Skew", "NodeSkew", "ChangePlan"].includes(event.kind);
}

function calmDown(event: SimEvent): SimEvent {
  return event.kind === "Cycle" ? { ...event, leader: 0, at: 0 } : event;
}
