import { describe, expect, it } from "vitest";
import type { KubeObject } from "#runtime/kube/types.ts";
import { createFakeClock } from "../test/fakes/clock.ts";
import { sampleInput } from "../test/fakes/desired-input.ts";
import { createRecorder } from "./events.ts";
import type { Cluster } from "./kube.ts";
import { parseAgent } from "./observe.ts";
import type { ConditionChange } from "./status.ts";

const agent = parseAgent({
  apiVersion: "supercargo.dev/v1alpha1",
  kind: "AgentDeployment",
  metadata: { name: "order-desk", namespace: "n", uid: "u", generation: 1 },
  spec: sampleInput().spec,
});

function change(reason: string, tone: ConditionChange["tone"] = "Normal"): ConditionChange {
  return { type: "Ready", status: "False", reason, message: "Why", lastTransitionTime: "2026-01-01T00:00:00Z", tone };
}

function world(): {
  written: { event: KubeObject; series: KubeObject }[];
  cluster: Cluster;
  clock: ReturnType<typeof createFakeClock>;
  recorder: ReturnType<typeof createRecorder>;
  warnings: number[];
} {
  const written: { event: KubeObject; series: KubeObject }[] = [];
  const warnings: number[] = [];
  const clock = createFakeClock();
  const refuse = (): never => {
    throw new Error("A recorder does not call this");
  };
  const cluster: Cluster = {
    get: refuse,
    act: refuse,
    createPodUsage: refuse,
    applyControl: refuse,
    applyStatus: refuse,
    mountProblems: refuse,
    deleteApproval: refuse,
    writeEvent: async (event, series) => void written.push({ event, series }),
  };
  const recorder = createRecorder({ clock, instance: "operator-0", log: { warn: () => void warnings.push(1) } });
  return { written, cluster, clock, recorder, warnings };
}

describe("createRecorder()", () => {
  it("writes an event as events.k8s.io/v1 demands", async () => {
    const { written, cluster, recorder } = world();
    await recorder.record(cluster, agent, [change("NotAccepted", "Warning")]);
    expect(written[0]?.event).toMatchObject({
      metadata: { namespace: "n", name: expect.stringMatching(/^order-desk\.[0-9a-f]{16}$/) },
      eventTime: "2026-01-01T00:00:00.000000Z",
      action: "Reconcile",
      reason: "NotAccepted",
      type: "Warning",
      reportingController: "supercargo.dev/operator",
      reportingInstance: "operator-0",
      regarding: { kind: "AgentDeployment", namespace: "n", name: "order-desk", uid: "u" },
      note: "Ready is False: Why",
    });
  });

  it("gives a repetition within six minutes the same name and a rising count, a later one a new name", async () => {
    const { written, cluster, recorder, clock } = world();
    for (let count = 0; count < 3; count += 1) await recorder.record(cluster, agent, [change("Paused")]);
    await clock.advance(360_000);
    await recorder.record(cluster, agent, [change("Paused")]);
    const names = written.map(({ event }) => event.metadata.name);
    expect(new Set(names.slice(0, 3)).size).toBe(1);
    expect(names[3]).not.toBe(names[0]);
    expect(written.map(({ series }) => series["series"])).toMatchObject([
      { count: 2 },
      { count: 2 },
      { count: 3 },
      { count: 2 },
    ]);
  });

  it("writes at most 25 per agent at once, then one in five minutes", async () => {
    const { written, cluster, recorder, clock } = world();
    for (let count = 0; count < 40; count += 1) await recorder.record(cluster, agent, [change("Paused")]);
    expect(written).toHaveLength(25);
    await clock.advance(300_000);
    await recorder.record(cluster, agent, [change("Paused"), change("Revoked")]);
    expect(written).toHaveLength(26);
  });

  it("fails no reconcile", async () => {
    const { cluster, recorder, warnings } = world();
    const failing: Cluster = { ...cluster, writeEvent: () => Promise.reject(new Error("forbidden")) };
    await recorder.record(failing, agent, [change("Paused")]);
    expect(warnings).toHaveLength(1);
  });
});
