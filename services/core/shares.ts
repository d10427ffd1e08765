/**
 * Splits `total` by weight with the largest remainders rounded up, ties by key: the parts sum to `total` exactly, and no
 * part exceeds its weight as long as `total` does not exceed the sum of the weights.
 */
export function splitByWeight(total: bigint, weights: ReadonlyMap<string, bigint>): Map<string, bigint> {
  const entries = [...weights].filter(([, weight]) => weight > 0n);
  const sum = entries.reduce((acc, [, weight]) => acc + weight, 0n);
  if (sum === 0n) return new Map();
  const parts = entries.map(([key, weight]) => ({
    key,
    part: (total * weight) / sum,
    remainder: (total * weight) % sum,
  }));
  const left = Number(total - parts.reduce((acc, { part }) => acc + part, 0n));
  const order = parts.toSorted((a, b) => compareDescending(a.remainder, b.remainder) || (a.key < b.key ? -1 : 1));
  order.slice(0, left).forEach((entry) => (entry.part += 1n));
  return new Map(parts.map(({ key, part }) => [key, part]));
}

/** `max(0, a - b)` for each key of `a`. */
export function subtractClamped(a: ReadonlyMap<string, bigint>, b: ReadonlyMap<string, bigint>): Map<string, bigint> {
  return new Map([...a].map(([key, amount]) => [key, maxOf(0n, amount - (b.get(key) ?? 0n))]));
}

/** The larger of two. */
export function maxOf(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** The smaller of two. */
export function minOf(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function compareDescending(a: bigint, b: bigint): number {
  return a === b ? 0 : a > b ? -1 : 1;
}
