import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agentDeploymentStatusSchema } from "#core/api/agent-deployment-status.ts";
import { CONDITIONS, type ConditionType } from "#core/api/conditions.ts";
import type { Condition } from "#core/api/meta.ts";
import type { Entitlement } from "#core/api/pod-usage.ts";
import { parseAgent } from "./observe.ts";
import type { PodView } from "./pods.ts";
import { toWorkloadView } from "./rollout.ts";
import { changedConditions, computeStatus, isSameStatus, type StatusInput } from "./status.ts";
import { sampleInput } from "../test/fakes/desired-input.ts";

const NOW = Date.parse("2026-11-24T12:30:00Z");
const DIGESTS = { gateway: "g".repeat(64), orchestrator: "o".repeat(64) };

function deployment(counts: Readonly<Record<string, unknown>> = {}, replicas = 1): StatusInput["workloads"]["gateway"] {
  const status = {
    observedGeneration: 1,
    replicas,
    updatedReplicas: replicas,
    readyReplicas: replicas,
    availableReplicas: replicas,
    ...counts,
  };
  return toWorkloadView({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d", generation: 1 },
    spec: { replicas },
    status,
  });
}

function pod(component: PodView["component"], change: Partial<PodView> = {}, mode = "Running"): PodView {
  const enforced = { configDigest: DIGESTS[component], mode };
  return {
    namespace: "n",
    name: component,
    uid: component,
    component,
    state: "Ready",
    usage: undefined,
    enforced,
    ...change,
  };
}

/** All is well; a test changes what it is about. */
function input(change: Partial<StatusInput> = {}, spec: Readonly<Record<string, unknown>> = {}): StatusInput {
  const agent = parseAgent({
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "AgentDeployment",
    metadata: { name: "order-desk", namespace: "n", uid: "u", generation: 4 },
    spec: sampleInput(spec).spec,
  });
  return {
    agent,
    problems: [],
    pods: [pod("gateway", {}, agent.mode), pod("orchestrator", {}, agent.mode)],
    workloads: { gateway: deployment(), orchestrator: deployment() },
    digests: DIGESTS,
    references: [],
    metering: {
      ledger: undefined,
      offerResourceId: "plain",
      planId: "",
      entitlements: new Map(),
      pods: { quarantined: [], silent: [] },
      nowMs: NOW,
    },
    usage: {},
    clusterDomain: "cluster.local",
    configHash: "hash",
    nowMs: NOW,
    ...change,
  };
}

function verdict(of: StatusInput, type: ConditionType): string {
  const found = computeStatus(of).conditions?.find((condition) => condition.type === type);
  return `${found?.status}/${found?.reason}`;
}

const grant = (change: Partial<Entitlement>): Map<string, Entitlement> =>
  new Map([["gateway", { state: "Active", planId: "p", validUntil: "2026-11-25T00:00:00Z", ...change }]]);
const metering = (change: Partial<StatusInput["metering"]>): Pick<StatusInput, "metering"> => ({
  metering: { ...input().metering, ...change },
});

describe("Ready", () => {
  it.each<[string, StatusInput, string]>([
    ["all is well", input(), "True/AllReady"],
    [
      "the spec is not accepted",
      input({ problems: [{ reason: "InvalidSpec", message: "x", blocking: "Yes" }], digests: undefined }),
      "False/NotAccepted",
    ],
    ["revoked", input({}, { mode: "Revoked" }), "False/Revoked"],
    ["paused", input({}, { mode: "Paused" }), "False/Paused"],
    [
      "suspended by the Marketplace",
      input(metering({ entitlements: grant({ state: "Suspended" }) })),
      "False/NotEntitled",
    ],
    [
      "a plan that the catalogue does not have",
      input(metering({ entitlements: grant({ state: "Unknown" }) })),
      "False/NotEntitled",
    ],
    ["in the grace period", input(metering({ entitlements: grant({ state: "GracePeriod" }) })), "True/AllReady"],
    [
      "a grant that ended",
      input(metering({ entitlements: grant({ validUntil: "2026-11-24T12:30:00Z" }) })),
      "False/NotEntitled",
    ],
    [
      "the Deployment has not seen its change",
      input({ workloads: { gateway: deployment({ observedGeneration: 0 }), orchestrator: deployment() } }),
      "False/Progressing",
    ],
    [
      "no Deployment yet",
      input({ workloads: { gateway: toWorkloadView(undefined), orchestrator: deployment() } }),
      "False/Progressing",
    ],
    [
      "old pods are left",
      input({ workloads: { gateway: deployment({ replicas: 2 }), orchestrator: deployment() } }),
      "False/Progressing",
    ],
    [
      "a pod runs with another config",
      input({ pods: [pod("gateway", { enforced: { configDigest: "old", mode: "Running" } })] }),
      "False/Progressing",
    ],
    ["a pod has said nothing yet", input({ pods: [pod("gateway", { enforced: undefined })] }), "False/Progressing"],
    [
      "a pod runs with another mode",
      input({ pods: [pod("gateway", { enforced: { configDigest: DIGESTS.gateway, mode: "Paused" } })] }),
      "False/Progressing",
    ],
    [
      "a pod that is not ready runs with another config",
      input({ pods: [pod("gateway"), pod("gateway", { state: "Running", enforced: undefined })] }),
      "True/AllReady",
    ],
    [
      "no pod of the orchestrator is left after a rollout that was complete",
      input({
        workloads: {
          gateway: deployment(),
          orchestrator: deployment({
            availableReplicas: 0,
            conditions: [{ type: "Progressing", reason: "NewReplicaSetAvailable" }],
          }),
        },
      }),
      "False/PodsUnavailable",
    ],
    [
      "one of two gateways is lost",
      input({
        workloads: {
          gateway: deployment(
            { availableReplicas: 1, conditions: [{ type: "Progressing", reason: "NewReplicaSetAvailable" }] },
            2,
          ),
          orchestrator: deployment(),
        },
      }),
      "True/AllReady",
    ],
    [
      "a rollout that is stuck",
      input({
        workloads: {
          gateway: deployment({
            updatedReplicas: 0,
            conditions: [{ type: "Progressing", reason: "ProgressDeadlineExceeded" }],
          }),
          orchestrator: deployment(),
        },
      }),
      "False/PodsUnavailable",
    ],
  ])("when %s", (_, of, expected) => {
    expect(verdict(of, "Ready")).toBe(expected);
  });
});

describe("Suspended", () => {
  it.each<[string, StatusInput, string]>([
    ["running", input(), "False/Running"],
    ["constrained", input({}, { mode: "Constrained" }), "False/Running"],
    ["paused and confirmed", input({}, { mode: "Paused" }), "True/Paused"],
    [
      "paused, one pod has not confirmed",
      input({ pods: [pod("gateway", {}, "Paused"), pod("orchestrator")] }, { mode: "Paused" }),
      "False/Paused",
    ],
    [
      "paused, a pod that ends has not confirmed",
      input({ pods: [pod("gateway", { state: "Terminating" })] }, { mode: "Paused" }),
      "False/Paused",
    ],
    ["revoked while an orchestrator is there", input({}, { mode: "Revoked" }), "False/Revoked"],
    [
      "revoked and only the gateway is left",
      input({ pods: [pod("gateway", {}, "Revoked")] }, { mode: "Revoked" }),
      "True/Revoked",
    ],
  ])("when %s", (_, of, expected) => {
    expect(verdict(of, "Suspended")).toBe(expected);
  });
});

describe("Accepted", () => {
  it("names the blocking problem first as its reason, and all of them in its message", () => {
    const status = computeStatus(
      input({
        problems: [
          { reason: "SecretNotFound", message: "Secret a must exist", blocking: "No" },
          { reason: "NotSupported", message: "spec.limits is not supported", blocking: "Yes" },
        ],
      }),
    );
    expect(status.conditions?.find(({ type }) => type === "Accepted")).toMatchObject({
      status: "False",
      reason: "NotSupported",
      message: "Secret a must exist; spec.limits is not supported",
    });
  });
});

describe("computeStatus()", () => {
  it("moves lastTransitionTime with the status alone", () => {
    const first = computeStatus(input());
    const agent = { ...input().agent, object: { ...input().agent.object, status: first } };
    const later = computeStatus(input({ agent, nowMs: NOW + 60_000 }));
    expect(isSameStatus(first, later)).toBe(true);
    const paused = computeStatus(input({ agent: { ...agent, mode: "Paused" }, nowMs: NOW + 60_000 }));
    const times = Object.fromEntries(
      (paused.conditions ?? []).map(({ type, lastTransitionTime }) => [type, lastTransitionTime]),
    );
    expect(times).toMatchObject({ Ready: "2026-11-24T12:31:00Z", Accepted: "2026-11-24T12:30:00Z" });
  });

  it("tells the conditions that changed, for events", () => {
    const before = computeStatus(input());
    const after = computeStatus(input({}, { mode: "Paused" }));
    expect(changedConditions(before, after).map(({ type, reason, tone }) => [type, reason, tone])).toEqual([
      ["Ready", "Paused", "Normal"],
      ["Suspended", "Paused", "Normal"],
    ]);
    const broken = computeStatus(input(metering({ entitlements: grant({ state: "Suspended" }) })));
    expect(changedConditions(before, broken)).toMatchObject([
      { type: "Ready", reason: "NotEntitled", tone: "Warning" },
    ]);
    expect(changedConditions(before, before)).toEqual([]);
    const ledger = {
      offerResourceId: "/offer",
      mode: "Marketplace" as const,
      planId: "p",
      lastClosedHour: "2026112411",
      problems: [],
      accounts: [],
      nearLimits: [{ dimension: "a", softPercent: 80 }],
    };
    const near = computeStatus(input(metering({ ledger })));
    expect(changedConditions(before, near)).toMatchObject([
      { type: "LimitNear", reason: "SoftLimitReached", tone: "Warning" },
    ]);
    expect(changedConditions(near, near)).toEqual([]);
  });

  it("law: whatever is seen, every condition stands once with a documented reason, and Ready implies all that it sums up", () => {
    const podView = fc.record({
      component: fc.constantFrom("gateway" as const, "orchestrator" as const),
      state: fc.constantFrom("Waiting" as const, "Running" as const, "Ready" as const, "Terminating" as const),
      mode: fc.constantFrom("Running", "Paused", ""),
      current: fc.boolean(),
    });
    const counts = fc.record({
      observedGeneration: fc.nat(2),
      replicas: fc.nat(3),
      updatedReplicas: fc.nat(3),
      availableReplicas: fc.nat(3),
    });
    const world = fc.record({
      mode: fc.constantFrom("Running", "Constrained", "Paused", "Revoked"),
      pods: fc.array(podView, { maxLength: 4 }),
      gateway: counts,
      orchestrator: counts,
      blocked: fc.boolean(),
    });
    fc.assert(
      fc.property(world, (seen) => {
        const pods = seen.pods.map((view) =>
          pod(view.component, {
            state: view.state,
            enforced: { configDigest: view.current ? DIGESTS[view.component] : "old", mode: view.mode },
          }),
        );
        const of = input(
          {
            pods,
            workloads: { gateway: deployment(seen.gateway), orchestrator: deployment(seen.orchestrator) },
            ...(seen.blocked
              ? {
                  problems: [{ reason: "InvalidSpec" as const, message: "x", blocking: "Yes" as const }],
                  digests: undefined,
                }
              : {}),
          },
          { mode: seen.mode },
        );
        const status = agentDeploymentStatusSchema.parse(computeStatus(of));
        const conditions = new Map((status.conditions ?? []).map((condition) => [condition.type, condition]));
        expect([...conditions.keys()]).toEqual(Object.keys(CONDITIONS));
        for (const [type, { reasons }] of Object.entries(CONDITIONS))
          expect(reasons).toContain(conditions.get(type)?.reason);
        if (conditions.get("Ready")?.status === "True") expectSummedUp(conditions, pods, seen.mode);
      }),
      { numRuns: 500 },
    );
  });
});

function expectSummedUp(conditions: ReadonlyMap<string, Condition>, pods: readonly PodView[], mode: string): void {
  expect(conditions.get("Accepted")?.status).toBe("True");
  expect(conditions.get("Progressing")?.status).toBe("False");
  expect(conditions.get("Suspended")?.status).toBe("False");
  for (const { enforced, component } of pods.filter(({ state }) => state === "Ready"))
    expect(enforced).toEqual({ configDigest: DIGESTS[component], mode });
}
