import { HOUR_MS, hourStart } from "#core/time.ts";
import type { PodModel } from "./pod-model.ts";
import { CHECKPOINT_SECONDS, SCRAPE_SECONDS } from "./setup.ts";
import type { World } from "./world.ts";

/** Base units per hour of every pod at work. */
const PER_HOUR = [
  ["tool_action", 180],
  ["input_tokens", 180_000],
  ["workflow_completed", 80],
] as const;
const CHECKPOINT_MS = CHECKPOINT_SECONDS * 1000;
const SCRAPE_MS = SCRAPE_SECONDS * 1000;

/** Since when a pod is at work, until when its usage is counted, and when its sidecar turns next. */
interface Shift {
  readonly sinceMs: number;
  readonly counted: Map<string, number>;
  turnMs: number;
}

const shifts = new WeakMap<PodModel, Shift>();

/**
 * Time passes with every pod at work, evenly. A sidecar turns where it would publish: at the scrape K after the last time, and
 * at the first one of an hour; the scrapes in between go into a log that is lost with the node.
 */
export async function work(world: World, seconds: number): Promise<void> {
  const endMs = world.nowMs() + seconds * 1000;
  for (;;) {
    const next = nextTurn(world);
    if (!next || next.turnMs > endMs) break;
    world.moveTo(next.turnMs);
    countUsage(next.pod, next.shift, next.turnMs);
    next.pod.wake();
    next.shift.turnMs = turnAfter(next.shift, next.turnMs);
  }
  world.moveTo(endMs);
  for (const pod of world.pods) if (pod.running) countUsage(pod, shiftOf(world, pod), endMs);
}

function nextTurn(
  world: World,
): { readonly pod: PodModel; readonly shift: Shift; readonly turnMs: number } | undefined {
  let found: { readonly pod: PodModel; readonly shift: Shift; readonly turnMs: number } | undefined;
  for (const pod of world.pods) {
    if (!pod.running) continue;
    const shift = shiftOf(world, pod);
    if (!found || shift.turnMs < found.turnMs) found = { pod, shift, turnMs: shift.turnMs };
  }
  return found;
}

function shiftOf(world: World, pod: PodModel): Shift {
  const known = shifts.get(pod);
  if (known) return known;
  const sinceMs = world.nowMs();
  // The first turn finds the pod's PodUsage: before it nobody asks the pod anything.
  const shift = { sinceMs, counted: new Map<string, number>(), turnMs: sinceMs + SCRAPE_MS };
  shifts.set(pod, shift);
  return shift;
}

/** The first scrape that is K after this turn, which published, or the first one of the next hour. */
function turnAfter({ sinceMs }: Shift, nowMs: number): number {
  const scrapeAfter = (ms: number): number => sinceMs + Math.ceil((ms - sinceMs) / SCRAPE_MS) * SCRAPE_MS;
  return Math.min(scrapeAfter(nowMs + CHECKPOINT_MS), scrapeAfter(hourStart(nowMs) + HOUR_MS));
}

function countUsage(pod: PodModel, shift: Shift, nowMs: number): void {
  for (const [dimension, perHour] of PER_HOUR) {
    const total = Math.floor((perHour * (nowMs - shift.sinceMs)) / HOUR_MS);
    const before = shift.counted.get(dimension) ?? 0;
    if (total > before) pod.use(dimension, BigInt(total - before));
    shift.counted.set(dimension, total);
  }
}
