import { describe, expect, it } from "vitest";
import { type PodUsageSpec, podUsageSpecSchema } from "#core/api/pod-usage.ts";
import { sampleInput } from "../../test/fakes/desired-input.ts";
import { desiredControl, firstGrants, newPodUsage } from "./pod-usage.ts";

const { settings } = sampleInput();
const NOW = Date.parse("2026-11-24T12:00:00Z");
const KEY = { old: "a".repeat(64), kept: "b".repeat(64) };

function control(change: Partial<Parameters<typeof desiredControl>[0]> = {}): ReturnType<typeof desiredControl> {
  return desiredControl({
    mode: "Running",
    configDigest: "new",
    component: "gateway",
    keys: new Set([KEY.kept]),
    mountedKeys: [KEY.old, KEY.kept],
    current: undefined,
    enforcedDigest: "old",
    ...change,
  });
}

describe("desiredControl()", () => {
  it("revokes a key that left the spec while the pod may still have it mounted", () => {
    expect(control()).toEqual({ mode: "Running", configDigest: "new", revokedKeys: [KEY.old] });
  });

  it("keeps it revoked after the ConfigMap has changed, until the pod says that it runs with it", () => {
    const current = control();
    expect(control({ current, mountedKeys: [KEY.kept] }).revokedKeys).toEqual([KEY.old]);
    expect(control({ current, mountedKeys: [KEY.kept], enforcedDigest: "new" }).revokedKeys).toBeUndefined();
  });

  it("gives a key back that returns to the spec", () => {
    expect(control({ current: control(), keys: new Set([KEY.old, KEY.kept]) }).revokedKeys).toBeUndefined();
  });

  it("tells the orchestrator no keys: it never sees one", () => {
    expect(control({ component: "orchestrator" }).revokedKeys).toBeUndefined();
  });

  it("keeps the digest of the last accepted config when there is no new one", () => {
    const current = { mode: "Running" as const, configDigest: "last" };
    expect(control({ configDigest: undefined, current, mode: "Revoked", mountedKeys: [] })).toEqual({
      mode: "Revoked",
      configDigest: "last",
    });
  });
});

describe("firstGrants()", () => {
  const spec = (term: number, validUntil: string, offerResourceId = "plain"): PodUsageSpec => ({
    podName: "p",
    component: "gateway",
    agentDeployment: "a",
    offerResourceId,
    checkpointSeconds: 60,
    grants: { term, entitlement: { state: "Active", planId: "x", validUntil }, clockOffsetSeconds: term },
  });

  it("is a fresh one where nobody has got any", () => {
    expect(firstGrants([], { settings, nowMs: NOW })).toEqual({
      term: 0,
      clockOffsetSeconds: 0,
      entitlement: { state: "Active", features: {}, planId: "", validUntil: "2026-11-25T12:00:00.000Z" },
    });
  });

  it("is what the reporter gave last, even when that has ended: no pod gets more than its siblings", () => {
    const ended = spec(5, "2026-11-01T00:00:00Z");
    const grants = firstGrants([spec(4, "2026-12-01T00:00:00Z"), ended], { settings, nowMs: NOW });
    expect(grants.entitlement.validUntil).toBe("2026-11-01T00:00:00Z");
    expect(grants.clockOffsetSeconds).toBe(5);
  });

  it("holds nothing of what the plan limits, whoever gives it", () => {
    const limited = { settings: { ...settings, limitedDimensions: ["workflow_completed"] }, nowMs: NOW };
    for (const known of [[], [spec(3, "2026-12-01T00:00:00Z")]])
      expect(firstGrants(known, limited).leases).toEqual([{ dimension: "workflow_completed", upTo: "0" }]);
    expect(firstGrants([], { settings, nowMs: NOW })).not.toHaveProperty("leases");
  });

  it("is not that of another offer", () => {
    expect(firstGrants([spec(9, "2026-12-01T00:00:00Z", "/other")], { settings, nowMs: NOW }).term).toBe(0);
  });
});

describe("newPodUsage()", () => {
  it("has the pod's UID as its name, no owner, and a spec that its schema accepts", () => {
    const pod = { namespace: "n", name: "p", uid: "uid-1", component: "gateway" as const };
    const grants = firstGrants([], { settings, nowMs: NOW });
    const usage = newPodUsage({ agent: { name: "order-desk" }, pod, settings, control: control(), grants, team: "" });
    expect(usage.metadata).toEqual({
      name: "uid-1",
      namespace: "n",
      labels: expect.objectContaining({
        "supercargo.dev/agent": "order-desk",
        "app.kubernetes.io/component": "gateway",
      }),
    });
    expect(podUsageSpecSchema.parse(usage["spec"])).toMatchObject({ podName: "p", offerResourceId: "plain" });
    const named = newPodUsage({ agent: { name: "a" }, pod, settings, control: control(), grants, team: "sales" });
    expect(named.metadata.labels).toMatchObject({ "supercargo.dev/team": "sales" });
  });
});
