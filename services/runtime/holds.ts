import type { Control } from "#core/api/pod-config.ts";
import type { CounterRecord } from "#core/counter-record.ts";

/** Base units by dimension. */
type Need = Readonly<Record<string, bigint>>;

/** A part of the ceilings that is kept for a piece of work. */
export type HoldResult =
  /** `release` gives back what is held; what was counted meanwhile stays counted. A second call does nothing. */
  | { readonly ok: true; readonly release: () => void }
  /** The dimension whose ceiling does not allow it; nothing is held. */
  | { readonly ok: false; readonly dimension: string };

/** What this pod may still count under the plan's hard limits (docs/metering.md, Plans). */
export interface Holds {
  /**
   * Keeps the worst case of a piece of work before it begins, all of it or nothing: counted + held ≤ ceiling, always.
   * A dimension without a ceiling is not limited. Count before you release.
   */
  hold(need: Need): HoldResult;
  /** The ceilings in force and what they are needed for, for the counter file; nothing while they are for another epoch. */
  echo(): CounterRecord["leases"];
}

export interface HoldsOptions {
  /** What the counter file holds of a dimension. */
  readonly total: (dimension: string) => bigint;
  /** The life of the counters. */
  readonly epoch: string;
  /** What the sidecar wrote last, with the ceilings. */
  readonly control: () => Pick<Control, "leases" | "epoch"> | undefined;
  readonly monotonicMs: () => number;
}

/** How long a refused need is told to the reporter, which may then give more: longer than it takes it to answer. */
const WANTED_MS = 300_000;

export function createHolds(options: HoldsOptions): Holds {
  const held = new Map<string, bigint>();
  const refused = new Map<string, { readonly amount: bigint; readonly untilMs: number }>();
  const leases = (): Control["leases"] => options.control()?.leases ?? [];
  // After a reboot of the node counters begin at 0 again, and ceilings for those before would allow as much once more.
  const areOurs = (): boolean => (options.control()?.epoch ?? options.epoch) === options.epoch;
  const heldOf = (dimension: string): bigint => held.get(dimension) ?? 0n;
  const add = (need: Need, sign: 1n | -1n): void => {
    for (const dimension in need) held.set(dimension, heldOf(dimension) + sign * (need[dimension] ?? 0n));
  };
  const wantedOf = (dimension: string): bigint => {
    const missing = refused.get(dimension);
    return missing && options.monotonicMs() < missing.untilMs ? missing.amount : 0n;
  };

  return {
    hold(need) {
      const fits = areOurs();
      for (const { dimension, upTo } of leases()) {
        const amount = need[dimension] ?? 0n;
        if (amount === 0n) continue;
        if (fits && options.total(dimension) + heldOf(dimension) + amount <= BigInt(upTo)) continue;
        refused.set(dimension, { amount, untilMs: options.monotonicMs() + WANTED_MS });
        return { ok: false, dimension };
      }
      add(need, 1n);
      if (refused.size > 0) for (const dimension in need) refused.delete(dimension);
      let isReleased = false;
      return {
        ok: true,
        release() {
          if (!isReleased) add(need, -1n);
          isReleased = true;
        },
      };
    },
    echo() {
      if (!areOurs()) return {};
      const echoed = leases().map(({ dimension, upTo }) => {
        // A ceiling that was lowered is not in force before what is in flight fits under it.
        const reach = options.total(dimension) + heldOf(dimension);
        const applied = reach > BigInt(upTo) ? reach : BigInt(upTo);
        return [dimension, { applied: `${applied}`, held: `${heldOf(dimension) + wantedOf(dimension)}` }] as const;
      });
      return Object.fromEntries(echoed);
    },
  };
}
