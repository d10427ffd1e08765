import { describe, expect, it } from "vitest";
import type { Ledger } from "./api/usage-ledger.ts";
import { countedByAgent, type PodView } from "./counted.ts";
import { newLedger } from "./ledger.ts";
import { confirmDeleted, expireTombstones, settlePod } from "./settle.ts";
import { HOUR_MS } from "./time.ts";

const BORN_MS = Date.UTC(2026, 10, 22, 8, 10);

function pod(uid: string, total: bigint): PodView {
  const boundaries = [{ hour: "2026112207", totals: new Map() }];
  const totals = new Map([["base", total]]);
  return { uid, agent: "shop/orders", createdMs: BORN_MS, reportedMs: BORN_MS, final: false, totals, boundaries };
}

function born(): Ledger {
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "c" };
  return newLedger({ ...birth, nowMs: BORN_MS, term: 1 });
}

describe("settlePod()", () => {
  it("counts a settled pod once, while its object still stands and after", () => {
    const ledger = settlePod(born(), pod("a", 30n), BORN_MS);
    const counted = (pods: readonly PodView[]): bigint | undefined =>
      countedByAgent(ledger, pods, { dimension: "base", hour: "2026112208" }).get("shop/orders");
    expect(counted([pod("a", 30n)])).toBe(30n);
    expect(counted([])).toBe(30n);
  });

  it("adds only the difference when the pod wrote again before its object was deleted", () => {
    const once = settlePod(born(), pod("a", 30n), BORN_MS);
    const twice = settlePod(once, pod("a", 34n), BORN_MS);
    expect(twice.settled).toEqual([{ agent: "shop/orders", dimension: "base", total: "34" }]);
    expect(settlePod(twice, pod("a", 34n), BORN_MS).settled).toEqual(twice.settled);
  });

  it("keeps the tombstone of a deleted pod for 48 h: its ghost is never counted", () => {
    const settled = confirmDeleted(settlePod(born(), pod("a", 30n), BORN_MS), new Set(["a"]));
    expect(settled.tombstones).toEqual([{ uid: "a", settledAt: "2026-11-22T08:10:00.000Z" }]);
    const nearly = expireTombstones(settled, BORN_MS + 48 * HOUR_MS - 1);
    const ghost = pod("a", 99n);
    expect(countedByAgent(nearly, [ghost], { dimension: "base", hour: "2026112208" }).get("shop/orders")).toBe(30n);
    expect(settlePod(nearly, ghost, BORN_MS)).toBe(nearly);
    expect(expireTombstones(settled, BORN_MS + 48 * HOUR_MS).tombstones).toEqual([]);
  });

  it("keeps an unconfirmed tombstone for ever", () => {
    const settled = settlePod(born(), pod("a", 30n), BORN_MS);
    expect(expireTombstones(settled, BORN_MS + 1000 * HOUR_MS).tombstones).toHaveLength(1);
  });
});
