import { decideOutcome, type PostAnswer } from "#core/outcome.ts";
import { HOUR_MS } from "#core/time.ts";
import type { Intent } from "#core/api/usage-statement.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { expectLaws } from "../simulation/meter-laws.ts";
import { type Fault, MeterWorld } from "../simulation/meter-world.ts";

/** What the cases of public metering agents share: a shop with one pod, whose agent took seven actions in the open hour. */
export const SLOT_MS = Date.UTC(2026, 10, 22, 8);
const INTENT = { dimension: "tool_action", quantity: 7n, divisor: 1n, slotStartMs: SLOT_MS };

/** What one answer means for the intent of the seven actions, an hour after its slot began or when told. */
export function judged(answer: Partial<PostAnswer>, nowMs = SLOT_MS + HOUR_MS): ReturnType<typeof decideOutcome> {
  const whole = { requestId: "r", httpStatus: 200, status: "Unknown", reasons: [], ...answer };
  return decideOutcome(INTENT, whole, { nowMs, ledgerAgeMs: 48 * HOUR_MS });
}

/** The world, and a leader that has opened the books. */
export async function openShop(): Promise<[MeterWorld, Desk]> {
  const world = new MeterWorld();
  world.addPod("a");
  world.use("a", "tool_action", 7n);
  world.publishAll();
  const desk = world.desk();
  await world.cycle(desk);
  return [world, desk];
}

/** The hour ends, the pod says its totals, the leader turns once; the laws hold. */
export async function nextHour(world: MeterWorld, desk: Desk, ...faults: Fault[]): Promise<void> {
  world.faults.push(...faults);
  world.advance(HOUR_MS);
  world.publishAll();
  await world.cycle(desk);
  expectLaws(world);
}

/** The leader that notes what it posts, and when. */
export function notePosts(world: MeterWorld, desk: Desk): [Desk, { atMs: number; intents: readonly Intent[] }[]] {
  const posts: { atMs: number; intents: readonly Intent[] }[] = [];
  const post: Desk["marketplace"]["post"] = (intents) => {
    posts.push({ atMs: world.nowMs, intents });
    return desk.marketplace.post(intents);
  };
  return [{ ...desk, marketplace: { ...desk.marketplace, post } }, posts];
}

/** The process ends before this call of the leader's next cycle. */
export async function killBefore(world: MeterWorld, call: string, cycle: () => Promise<unknown>): Promise<void> {
  world.onCall = (name) => {
    if (name === call) throw new Error(`Killed before ${call}`);
  };
  await cycle().catch(() => undefined);
  world.onCall = () => undefined;
}
