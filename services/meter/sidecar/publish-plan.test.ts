import { describe, expect, it } from "vitest";
import { podUsageSchema, type PodUsageStatus } from "#core/api/pod-usage.ts";
import { isPublishDue, publishPlan, rememberPublished } from "./publish-plan.ts";

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

  it("spreads a natural boundary over at most 30 s, changed or not, and publishes a jumped one at once", () => {
    expect(due(boundary, 1, { seenMs: 1 })).toBe(false);
    expect(due(boundary, 30_001, { seenMs: 1 })).toBe(true);
    expect(due(boundary, 1, { urgent: true })).toBe(true);
    expect(due(more, 1, { urgent: true })).toBe(false);
  });

  it("gives different pods different moments", () => {
    const phases = Array.from({ length: 100 }, (_, n) => publishPlan(`pod-${n}`).phase);
    expect(new Set(phases).size).toBe(100);
    expect(Math.min(...phases)).toBeLessThan(0.1);
    expect(Math.max(...phases)).toBeGreaterThan(0.9);
  });
});
