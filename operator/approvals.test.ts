import { describe, expect, it } from "vitest";
import { AGENT_DEPLOYMENTS } from "#runtime/kube/resources.ts";
import type { KubeObject, ResourceRef } from "#runtime/kube/types.ts";
import { createFakeClock } from "../test/fakes/clock.ts";
import { type ApprovalTending, tendApprovals, tendOnce } from "./approvals.ts";
import { createCache } from "./cache.ts";
import { createStore } from "#runtime/kube/store.ts";

const START = Date.parse("2026-01-01T00:00:00Z");
const DAY = 86_400_000;

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function approvalOf(
  name: string,
  change: { readonly expiresAt?: string; readonly decision?: object } = {},
): KubeObject {
  const { expiresAt = iso(START + 600_000), decision } = change;
  const request = { agentDeployment: "desk", server: "orders", tool: "refund", expiresAt };
  return {
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "Approval",
    metadata: { name, namespace: "shop", uid: `uid-${name}`, creationTimestamp: iso(START) },
    spec: { request, ...(decision ? { decision } : {}) },
  };
}

function createWorld() {
  const clock = createFakeClock(START);
  const agents = createStore();
  agents.set({ apiVersion: "", kind: "AgentDeployment", metadata: { name: "desk", namespace: "shop", uid: "agent" } });
  const approvals = createStore();
  const caches = { agents: createCache([agents]), approvals: createCache([approvals]) };
  const events: KubeObject[] = [];
  const deleted: string[] = [];
  const warned: string[] = [];
  let problem: Error | undefined;
  const options: ApprovalTending = {
    caches: (ref: ResourceRef) => (ref === AGENT_DEPLOYMENTS ? caches.agents : caches.approvals),
    cluster: {
      async writeEvent(event) {
        if (problem) throw problem;
        events.push(event);
      },
      async deleteApproval({ metadata }) {
        deleted.push(metadata.name);
      },
    },
    clock,
    instance: "operator-0",
    log: { warn: (_fields: object, text: string) => void warned.push(text) },
  };
  const told = new Set<string>();
  return {
    clock,
    approvals,
    agents,
    events,
    deleted,
    warned,
    options,
    fail: (error: Error | undefined) => (problem = error),
    look: () => tendOnce(options, told),
    reasons: () => events.map((event) => event["reason"]),
  };
}

const GRANTED = { verdict: "Approve", decidedBy: "ann", decidedAt: iso(START + 1000) };

describe("the operator tells of approvals", () => {
  it("each step once, at the agent", async () => {
    const world = createWorld();
    world.approvals.set(approvalOf("a"));
    await world.look();
    await world.look();
    world.approvals.set(approvalOf("a", { decision: GRANTED }));
    await world.clock.advance(2000);
    await world.look();
    expect(world.reasons()).toEqual(["ApprovalRequested", "ApprovalGranted"]);
    expect(world.events[1]).toMatchObject({
      metadata: { name: "a.approvalgranted", namespace: "shop" },
      regarding: { kind: "AgentDeployment", name: "desk", uid: "agent" },
      related: { kind: "Approval", name: "a" },
      note: "Approval a of orders/refund was granted by ann",
      type: "Normal",
    });
  });

  it.each([
    ["denied", { decision: { ...GRANTED, verdict: "Deny" } }, 0, "ApprovalDenied"],
    ["past its time", {}, 600_000, "ApprovalExpired"],
  ])("of one that is %s", async (_what, change, laterMs, reason) => {
    const world = createWorld();
    world.approvals.set(approvalOf("a", change));
    await world.clock.advance(laterMs);
    await world.look();
    expect(world.reasons()).toEqual([reason]);
  });

  it("not of what is old, of an agent that is gone, or of an object that it cannot read", async () => {
    const world = createWorld();
    world.approvals.set(approvalOf("old", { decision: GRANTED }));
    world.approvals.set({ ...approvalOf("broken"), spec: {} });
    await world.clock.advance(3_700_000);
    await world.look();
    world.agents.removeMissing(new Set());
    world.approvals.set(
      approvalOf("orphan", {
        expiresAt: iso(START + DAY),
        decision: { ...GRANTED, decidedAt: iso(START + 3_700_000) },
      }),
    );
    await world.look();
    expect(world.events).toEqual([]);
    expect(world.deleted).toEqual([]);
  });

  it("and goes on after a failure", async () => {
    const world = createWorld();
    world.approvals.set(approvalOf("a"));
    const stopping = new AbortController();
    world.fail(new Error("no answer"));
    const tending = tendApprovals(world.options, stopping.signal);
    await world.clock.advance(10);
    world.fail(undefined);
    world.approvals.set(approvalOf("b"));
    await world.clock.advance(2500);
    stopping.abort(new Error("Stopped"));
    await world.clock.advance(2500);
    await tending;
    expect(world.warned).toEqual(["Failed to tend Approval"]);
    expect(world.events.map((event) => event.metadata.name)).toEqual(["b.approvalrequested"]);
  });
});

describe("the operator keeps evidence", () => {
  it("for 90 days after its time, decided or not, and not longer", async () => {
    const world = createWorld();
    world.approvals.set(approvalOf("a", { decision: GRANTED }));
    world.approvals.set(approvalOf("b", { expiresAt: iso(START + DAY) }));
    await world.clock.advance(600_000 + 90 * DAY);
    await world.look();
    expect(world.deleted).toEqual([]);
    await world.clock.advance(1);
    await world.look();
    expect(world.deleted).toEqual(["a"]);
  });
});
