/** Random choices from one number: the same seed gives the same choices on every machine. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** In [0, below). */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<const T>(list: readonly T[]): T;
  /** One of the values, by weight. */
  weighted<T>(list: readonly (readonly [number, T])[]): T;
}

/** mulberry32 behind a hash, so that neighbouring seeds share nothing. */
export function createRandom(seed: number, stream = 0): Random {
  let state = hash(hash(seed) ^ Math.imul(stream + 1, 0x9e3779b1));
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number): number => Math.floor(next() * below);
  return {
    next,
    int,
    chance: (probability) => next() < probability,
    pick(list) {
      const value = list[int(list.length)];
      if (value === undefined) throw new Error("Cannot choose as the list must not be empty");
      return value;
    },
    weighted(list) {
      let left = next() * list.reduce((sum, [weight]) => sum + weight, 0);
      for (const [weight, value] of list) if ((left -= weight) < 0) return value;
      const last = list.at(-1);
      if (!last) throw new Error("Cannot choose as the list must not be empty");
      return last[1];
    },
  };
}

function hash(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
