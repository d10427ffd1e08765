import { HOUR_MS, hourStart } from "#core/time.ts";
import type { EventKind, EventOf, SimEvent } from "./events.ts";
import { heal } from "./heal.ts";
import { checkHealed, checkStep, type Figures } from "./laws.ts";
import type { PodModel } from "./pod-model.ts";
import type { Setup } from "./setup.ts";
import { work } from "./work.ts";
import { drain, type Violation, World } from "./world.ts";

export interface Played {
  readonly violations: readonly Violation[];
  readonly events: number;
  /** Nothing when the history ended at a violation. */
  readonly figures: Figures | undefined;
}

/** Plays one history to its end, or to the first violation, and heals it. */
export async function play(setup: Setup, events: readonly SimEvent[]): Promise<Played> {
  const world = new World(setup);
  let count = 0;
  for (const event of events) {
    count += 1;
    await happen(world, event);
    checkStep(world);
    if (world.violations.length > 0) return { violations: world.violations, events: count, figures: undefined };
  }
  await heal(world);
  const figures = world.violations.length > 0 ? undefined : checkHealed(world);
  return { violations: world.violations, events: count, figures };
}

type Handlers = { readonly [K in EventKind]: (world: World, event: EventOf<K>) => void | Promise<void> };

/** With restores a leader that another followed has forgotten, as its process ended: its old memory says nothing of a backup. */
async function cycle(world: World, event: EventOf<"Cycle">): Promise<void> {
  noteTime(world);
  const other = world.leaders[1 - event.leader];
  if (!world.setup.splitBrain && other && !other.isPaused) other.kill();
  await world.leaders[event.leader]?.cycle(event.at, event.how, event.call);
}

/**
 * A leader that compares after a restore takes the hours that are over for used. If its clock has gone back since they
 * were, it may use one twice: that bills less, never more.
 */
function noteTime(world: World): void {
  const nowMs = world.apiNowMs();
  if (world.happened.has("Restore") && hourStart(nowMs) < hourStart(world.highestMs)) world.happened.add("ClockFell");
  world.highestMs = Math.max(world.highestMs, nowMs);
}

const onPod =
  (run: (pod: PodModel, world: World) => void | Promise<void>) =>
  (world: World, event: { readonly pod: number }): void | Promise<void> => {
    const pod = world.pods[event.pod];
    return pod && run(pod, world);
  };

const HANDLERS: Handlers = {
  Use: (world, { pod, dimension, amount }) => world.pods[pod]?.use(dimension, BigInt(amount)),
  Advance: (world, { seconds }) => world.advance(seconds * 1000),
  Work: (world, { seconds }) => work(world, seconds),
  Hour: (world, { seconds }) =>
    world.advance(hourStart(world.apiNowMs()) + HOUR_MS - world.apiNowMs() + seconds * 1000),
  Cycle: cycle,
  Resume: (world, { leader, at, how }) => {
    noteTime(world);
    return world.leaders[leader]?.resume(at, how);
  },
  Land: (world, { index }) => world.delayed.splice(index, 1)[0]?.(),
  Post: (world, { fault }) => void world.market.faults.push(fault),
  List: (world, { fault }) => {
    world.market.listFault = fault;
    if (fault !== "None") world.happened.add("ListSilent");
  },
  Outage: (world, { hours }) => {
    world.market.downUntilMs = world.nowMs() + hours * HOUR_MS;
    world.happened.add("ListSilent");
  },
  Suspend: (world) => world.market.setActive(false),
  Activate: (world) => world.market.setActive(true),
  Recreate: (world) => world.market.recreate(),
  ChangePlan: (world, { planId }) => world.changePlan(planId),
  AddPod: async (world, { agent }) => {
    world.addPod(agent);
    await drain();
  },
  EndPod: onPod(async (pod) => {
    await pod.end();
    pod.inApi = false;
  }),
  KillPod: (world, { pod: number, gone }) => {
    const pod = world.pods[number];
    pod?.kill();
    if (pod && gone) pod.inApi = false;
  },
  ForceDelete: onPod((pod) => {
    pod.inApi = false;
    pod.orphan("14");
  }),
  Cut: onPod((pod) => pod.cut()),
  Uncut: onPod((pod) => pod.uncut()),
  CrashService: onPod((pod) => pod.crashService()),
  CountersFall: onPod((pod) => pod.dropCounters()),
  CrashSidecar: (world, { pod, log }) => world.pods[pod]?.crashSidecar(log),
  Reboot: (world, { pod, fileLost }) => world.pods[pod]?.reboot(fileLost),
  PodWrite: (world, { pod, fault }) => world.pods[pod]?.failWrite(fault),
  Scrape: (world, { pod, fault }) => world.pods[pod]?.failScrape(fault),
  Skew: (world, { seconds }) => {
    world.skewMs = seconds * 1000;
    if (seconds !== 0) world.happened.add("Skew");
  },
  NodeSkew: (world, { seconds }) => world.setNodeSkew(seconds * 1000),
  Operator: (world) => world.pods.forEach((pod) => world.operate(pod)),
  Backup: (world) => void (world.backup = world.api.backup()),
  Restore: (world, { versionsFall }) => {
    if (!world.backup) return;
    endProcesses(world);
    world.happened.add("Restore");
    world.loseLedger();
    world.api.restore(world.backup, versionsFall);
  },
  DeleteLedger: (world) => {
    endProcesses(world);
    world.happened.add("DeleteLedger");
    world.loseLedger();
    world.api.ledger = undefined;
  },
  DeletePodUsage: onPod((pod, world) => {
    const object = world.api.podUsages.get(pod.uid);
    if (!object) return;
    world.happened.add("DeletePodUsage");
    pod.orphan("hand");
    world.api.deletePodUsage(object);
  }),
};

/**
 * Whoever stood still in the middle of a cycle dies with the API server, and what was on its way has arrived: a request
 * that nobody remembers and that lands hours later is beyond what comparing with Azure's list can find.
 */
function endProcesses(world: World): void {
  for (const leader of world.leaders) if (leader.isPaused) leader.kill();
  for (const land of world.delayed.splice(0)) land();
}

async function happen<K extends EventKind>(world: World, event: EventOf<K>): Promise<void> {
  const handler: Handlers[K] = HANDLERS[event.kind];
  await handler(world, event);
}
