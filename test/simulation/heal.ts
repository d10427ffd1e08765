import { HOUR_MS, hourKey, hourStart } from "#core/time.ts";
import { checkStep, isSold } from "./laws.ts";
import type { Leader } from "./leader.ts";
import type { World } from "./world.ts";

/** Hours after which a slot without an answer is dead, its day compared, its quantity carried on and accepted. */
const HOURS_MAX = 110;
/** When somebody looks after what was parked meanwhile: a re-created resource refuses for a day, and may not say why. */
const SECOND_LOOK_HOURS = 30;

/**
 * All is well again: whoever stood still goes on, late requests land, pods publish, one leader works until nothing is
 * left to do.
 */
export async function heal(world: World): Promise<void> {
  mend(world);
  // Clocks are right again, and may have come forward by hours: what is too late by now is so before anybody goes on.
  checkStep(world);
  for (const leader of world.leaders) await leader.resume(0, "Crash");
  for (const land of world.delayed.splice(0)) land();
  for (const leader of world.leaders) leader.upgrade("healed");
  const [leader] = world.leaders;
  if (leader) await healHours(world, leader);
}

async function healHours(world: World, leader: Leader): Promise<void> {
  // The hour of a plan change is closed first; what the new plan sells begins in the next.
  const hoursMin = world.plansSeen.size > 1 ? 2 : 1;
  for (let hours = 0; hours < HOURS_MAX && world.violations.length === 0; hours += 1) {
    if (hours === SECOND_LOOK_HOURS) leader.upgrade("healed again");
    await healHour(world, leader);
    if (hours >= hoursMin && isDone(world, leader)) return;
  }
}

async function healHour(world: World, leader: Leader): Promise<void> {
  await world.advance(hourStart(world.apiNowMs()) + HOUR_MS - world.apiNowMs() + 130_000);
  for (const pod of world.pods) world.operate(pod);
  checkStep(world);
  for (let turns = 0; turns < 2; turns += 1) {
    await leader.cycle(0, "Crash");
    checkStep(world);
  }
}

function mend(world: World): void {
  const { market } = world;
  market.faults.length = 0;
  market.listFault = "None";
  market.downUntilMs = 0;
  market.setActive(true);
  world.skewMs = 0;
  world.setNodeSkew(0);
  for (const pod of world.pods) {
    pod.uncut();
    if (!pod.running) pod.inApi = false;
  }
}

function isDone(world: World, leader: Leader): boolean {
  const ledger = world.api.ledger?.value;
  if (!ledger || ledger.planChange || leader.memory?.reconciled !== true || ledger.oldestOpenHour !== undefined)
    return false;
  // What is late is spread over later hours (R10).
  if (ledger.accounts.some((account) => BigInt(account.backlog) >= BigInt(account.divisor) && isSold(world, account)))
    return false;
  const closed = ledger.lastClosedHour >= hourKey(world.apiNowMs() - HOUR_MS);
  return closed && world.pods.every((pod) => pod.running || !world.api.podUsages.has(pod.uid));
}
