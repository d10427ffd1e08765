import type { Clock } from "#runtime/clock.ts";

/** Ten years; beyond it nothing is tested any more. */
export const OFFSET_SECONDS_MAX = 315_360_000;
/** A year in some nine hours of real time: with more, an answer would take days of the emulator's time. */
export const SPEED_MAX = 1000;

/** The clock of the emulated Azure: system time and an offset of whole seconds that never falls, as clients copy it. */
export interface EmulatedClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** How far it runs ahead of system time. */
  offsetSeconds(): number;
  /** How many seconds pass in one second of system time. */
  speed(): number;
  /** Raises the offset; nothing when it is there already. */
  advanceTo(offsetSeconds: number): void;
  setSpeed(speed: number): void;
}

export function createEmulatedClock(clock: Clock, offsetSeconds: number): EmulatedClock {
  let offset = offsetSeconds;
  let sinceMs = clock.now();
  let speed = 1;
  /** Adds what a speed above 1 has gained since the last look. System time that falls gains nothing. */
  const gain = (): number => {
    const systemMs = clock.now();
    offset += (Math.max(0, systemMs - sinceMs) / 1000) * (speed - 1);
    offset = Math.min(offset, OFFSET_SECONDS_MAX);
    sinceMs = systemMs;
    return Math.floor(offset);
  };
  return {
    now: () => clock.now() + gain() * 1000,
    offsetSeconds: gain,
    speed: () => speed,
    advanceTo(wanted) {
      if (wanted > gain()) offset = wanted;
    },
    setSpeed(wanted) {
      gain();
      speed = wanted;
    },
  };
}
