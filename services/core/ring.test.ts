import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { podUsageSchema } from "./api/pod-usage.ts";
import { type PodView, toPodView, totalAt } from "./counted.ts";
import { thinRing } from "./ring.ts";
import { shiftHour } from "./time.ts";

const FIRST = "2026112200";
const hour = fc.nat({ max: 40 }).map((n) => shiftHour(FIRST, n));
const total = fc.nat({ max: 1_000_000 }).map(String);
const rings = fc
  .uniqueArray(fc.record({ hour, total }), { selector: (entry) => entry.hour, maxLength: 26 })
  .map((list) => list.map((entry) => ({ hour: entry.hour, totals: [{ dimension: "a", total: entry.total }] })));

function viewOf(boundaries: readonly { readonly hour: string; readonly totals: readonly object[] }[]): PodView {
  return toPodView(
    podUsageSchema.parse({
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "PodUsage",
      metadata: { name: "u", namespace: "n" },
      spec: { podName: "p", component: "gateway", agentDeployment: "a", offerResourceId: "x", checkpointSeconds: 60 },
      status: { sequence: "1", totals: [{ dimension: "a", total: "99999999", last: "1" }], boundaries },
    }),
  );
}

describe("thinRing()", () => {
  it("answers the same as the whole ring for every edge and every hour that is not closed, and for the newest", () => {
    fc.assert(
      fc.property(rings, hour, fc.array(hour, { maxLength: 3 }), (ring, from, edges) => {
        const thin = thinRing(ring, { from, edges });
        const open = Array.from({ length: 45 }, (_, n) => shiftHour(from, n));
        for (const asked of [...edges, ...open]) {
          const isForgotten = (view: PodView): boolean => (view.boundaries[0]?.hour ?? "") > asked;
          expect(isForgotten(viewOf(thin))).toBe(isForgotten(viewOf(ring)));
          expect(totalAt(viewOf(thin), "a", asked)).toBe(totalAt(viewOf(ring), "a", asked));
        }
        expect(viewOf(thin).boundaries.at(-1)).toEqual(viewOf(ring).boundaries.at(-1));
      }),
      { numRuns: 200 },
    );
  });

  it("keeps three of a full ring in an ordinary hour", () => {
    const ring = Array.from({ length: 26 }, (_, n) => ({ hour: shiftHour(FIRST, n), totals: [] }));
    const edge = shiftHour(FIRST, 3);
    expect(thinRing(ring, { from: shiftHour(FIRST, 24), edges: [edge] }).map((entry) => entry.hour)).toEqual([
      edge,
      shiftHour(FIRST, 24),
      shiftHour(FIRST, 25),
    ]);
  });
});
