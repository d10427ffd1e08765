import type { Clock } from "#runtime/clock.ts";

const TICK_MS = 5;

/**
 * The longest time that this thread computed without letting the event loop turn, in milliseconds of its own CPU: what
 * other processes take from it on a busy machine is not in it. At most one tick too much.
 */
export function createBlockMeter(clock: Clock): { stop(): number } {
  let longestMicros = 0;
  let last = threadMicros();
  let stopped = false;
  const tick = (): void => {
    const now = threadMicros();
    longestMicros = Math.max(longestMicros, now - last);
    last = now;
    if (!stopped) clock.after(TICK_MS, tick);
  };
  clock.after(TICK_MS, tick);
  return {
    stop() {
      stopped = true;
      return Math.max(longestMicros, threadMicros() - last) / 1000;
    },
  };
}

function threadMicros(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}
