import { describe, expect, it } from "vitest";
import { podUsageSchema, type PodUsageStatus } from "#core/api/pod-usage.ts";
import { isPublishDue, phaseOf, publishPlan, rememberFailure, rememberPublished } from "./publish-plan.ts";

const status = (part: Partial<PodUsageStatus> = {}): PodUsageStatus => ({
  sequence: "1",
  totals: [{ dimension: "a", total: "5", last: "5" }],
  boundaries: [{ hour: "2026112207", totals: [] }],
  final: "No",
  quarantined: [],
  leases: [],
  ...part,
});
const usage = podUsageSchema.parse({
  apiVersion: "supercargo.dev/v1alpha1",
  kind: "PodUsage",
  metadata: { name: "u" },
  spec: { podName: "p", component: "gateway", agentDeployment: "a", offerResourceId: "plain", checkpointSeconds: 60 },
  status: status(),
});

/** Published at 0; is it due at `atMs`? */
function due(next: PodUsageStatus, atMs: number, part: { urgent?: boolean; seenMs?: number } = {}): boolean {
  const plan = publishPlan("u");
  rememberPublished(plan, { status: status(), monotonicMs: 0 });
  plan.isUrgent = part.urgent ?? false;
  plan.boundarySeenMs = part.seenMs;
  return isPublishDue(plan, { usage, status: next, monotonicMs: atMs });
}

const more = status({ totals: [{ dimension: "a", total: "6", last: "6" }] });
const boundary = status({ boundaries: [{ hour: "2026112208", totals: [] }] });
const echoed = status({ enforced: { configDigest: "c", controlDigest: "d" } });

describe("isPublishDue()", () => {
  it("is due at once for a PodUsage that has heard nothing, and never without one", () => {
    const plan = publishPlan("u");
    expect(isPublishDue(plan, { usage, status: status(), monotonicMs: 0 })).toBe(true);
    expect(isPublishDue(plan, { usage: undefined, status: status(), monotonicMs: 0 })).toBe(false);
    rememberPublished(plan, { status: status(), monotonicMs: 0 });
    const { status: _, ...fresh } = usage;
    expect(isPublishDue(plan, { usage: fresh, status: status(), monotonicMs: 1 })).toBe(true);
  });

  it.each([
    { what: "a change before K", next: more, atMs: 59_999, expected: false },
    { what: "a change after K", next: more, atMs: 60_000, expected: true },
    { what: "no change after K", next: status({ sequence: "2", reportedAt: "x" }), atMs: 60_000, expected: false },
    { what: "what the service runs with, after a second", next: echoed, atMs: 1_000, expected: true },
    { what: "the same, sooner", next: echoed, atMs: 999, expected: false },
  ])("$what: $expected", ({ next, atMs, expected }) => {
    expect(due(next, atMs)).toBe(expected);
  });

  it("spreads a natural boundary over K, changed or not, and publishes a jumped one at once", () => {
    const spreadMs = phaseOf("u") * 60_000;
    expect(due(boundary, spreadMs, { seenMs: 1 })).toBe(false);
    expect(due(boundary, spreadMs + 1, { seenMs: 1 })).toBe(true);
    expect(due(boundary, 1, { urgent: true })).toBe(true);
    expect(due(more, 1, { urgent: true })).toBe(false);
  });

  it("waits after failures, twice as long each time up to K, and as long as the server asked for", () => {
    const plan = publishPlan("u");
    const waits = [undefined, undefined, undefined, undefined, undefined, 59_999, 600_000].map((retryAfterMs) => {
      rememberFailure(plan, { monotonicMs: 0, checkpointMs: 60_000, retryAfterMs });
      return plan.notBeforeMs;
    });
    const jitter = 0.75 + phaseOf("u") / 4;
    expect(waits).toEqual(
      [5, 10, 20, 40, 60, 60, 60].map((s, n) => (n < 5 ? s * 1000 * jitter : n === 5 ? 59_999 : s * 1000)),
    );
    expect(isPublishDue(plan, { usage, status: more, monotonicMs: 59_999 })).toBe(false);
    expect(isPublishDue(plan, { usage, status: more, monotonicMs: 60_000 })).toBe(true);
    rememberPublished(plan, { status: status(), monotonicMs: 60_000 });
    expect(plan).toMatchObject({ failures: 0, notBeforeMs: 0 });
  });

  it("gives different pods different moments", () => {
    const phases = Array.from({ length: 100 }, (_, n) => publishPlan(`pod-${n}`).phase);
    expect(new Set(phases).size).toBe(100);
    expect(Math.min(...phases)).toBeLessThan(0.1);
    expect(Math.max(...phases)).toBeGreaterThan(0.9);
  });
});
