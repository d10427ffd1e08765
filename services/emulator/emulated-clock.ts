import type { Clock } from "#runtime/clock.ts";

/** Ten years; beyond it nothing is tested any more. */
export const OFFSET_SECONDS_MAX = 315_360_000;
/** A year in some nine hours of real time: with more, an answer would take days of the emulator's time. */
export const SPEED_MAX = 1000;

/** The clock of the emulated Azure: system time and an offset that never falls, as clients copy it. */
export interface EmulatedClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** How far it runs ahead of system time, in whole seconds. */
  offsetSeconds(): number;
  /** How many seconds pass in one second of system time. */
  speed(): number;
  /** Raises the offset; nothing when it is there already. */
  advanceTo(offsetSeconds: number): void;
  setSpeed(speed: number): void;
}

export function createEmulatedClock(clock: Clock, offsetSeconds: number): EmulatedClock {
  let offsetMs = offsetSeconds * 1000;
  let sinceMs = clock.now();
  let speed = 1;
  /** Adds what a speed above 1 has gained since the last look. System time that falls gains nothing. */
  const gain = (): number => {
    const systemMs = clock.now();
    offsetMs += Math.max(0, systemMs - sinceMs) * (speed - 1);
    offsetMs = Math.min(offsetMs, OFFSET_SECONDS_MAX * 1000);
    sinceMs = systemMs;
    return offsetMs;
  };
  return {
    now: () => clock.now() + gain(),
    offsetSeconds: () => Math.floor(gain() / 1000),
    speed: () => speed,
    advanceTo(wantedSeconds) {
      offsetMs = Math.max(gain(), wantedSeconds * 1000);
    },
    setSpeed(wanted) {
      gain();
      speed = wanted;
    },
  };
}
