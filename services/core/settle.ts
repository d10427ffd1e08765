import { type Ledger, LEDGER_BOUNDS, type Tombstone } from "./api/usage-ledger.ts";
import type { PodView } from "./counted.ts";
import { settleOpenings } from "./overage.ts";
import { maxOf } from "./shares.ts";
import { HOUR_MS, toIso } from "./time.ts";
import type { Totals } from "./usage.ts";

/** A tombstone keeps a forgotten writer from coming back for this long. */
const TOMBSTONE_LIFE_MS = 48 * HOUR_MS;

/**
 * R7: a pod that is gone moves its totals to settled and leaves a tombstone. A second call for a pod that wrote again
 * before its object was deleted adds the difference only.
 */
export function settlePod(ledger: Ledger, pod: PodView, nowMs: number): Ledger {
  const earlier = ledger.tombstones.find((entry) => entry.uid === pod.uid);
  const mayStand = earlier ? earlier.totals !== undefined : ledger.tombstones.length < LEDGER_BOUNDS.tombstones;
  const before = new Map((earlier?.totals ?? []).map((entry) => [entry.dimension, BigInt(entry.total)]));
  const settled = addSettled(ledger.settled, pod, before);
  if (!mayStand || settled.length > LEDGER_BOUNDS.perAgent) return ledger;
  const tombstone: Tombstone = {
    uid: pod.uid,
    settledAt: earlier?.settledAt ?? toIso(nowMs),
    agent: pod.agent,
    totals: [...pod.totals].map(([dimension, total]) => ({ dimension, total: total.toString() })),
  };
  return {
    ...ledger,
    settled,
    tombstones: [...ledger.tombstones.filter((entry) => entry !== earlier), tombstone],
    accounts: ledger.accounts.map((account) => settleOpenings(account, pod, before.get(account.from) ?? 0n)),
  };
}

function addSettled(settled: Ledger["settled"], pod: PodView, before: Totals): Ledger["settled"] {
  const next = new Map(settled.map((entry) => [`${entry.agent} ${entry.dimension}`, entry]));
  for (const [dimension, total] of pod.totals) {
    const key = `${pod.agent} ${dimension}`;
    const sum = BigInt(next.get(key)?.total ?? "0") + maxOf(0n, total - (before.get(dimension) ?? 0n));
    next.set(key, { agent: pod.agent, dimension, total: sum.toString() });
  }
  return [...next.values()];
}

/** Deletion is confirmed: the tombstone keeps the UID alone, for 48 h. */
export function confirmDeleted(ledger: Ledger, uids: ReadonlySet<string>): Ledger {
  return {
    ...ledger,
    tombstones: ledger.tombstones.map((entry) =>
      uids.has(entry.uid) ? { uid: entry.uid, settledAt: entry.settledAt } : entry,
    ),
  };
}

/** Drops tombstones whose 48 h are over and whose object is gone. */
export function expireTombstones(ledger: Ledger, nowMs: number): Ledger {
  const tombstones = ledger.tombstones.filter(
    (entry) => entry.totals !== undefined || Date.parse(entry.settledAt) + TOMBSTONE_LIFE_MS > nowMs,
  );
  return tombstones.length === ledger.tombstones.length ? ledger : { ...ledger, tombstones };
}
