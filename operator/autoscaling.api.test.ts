import { describe, expect, it } from "vitest";
import { DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS } from "#runtime/kube/resources.ts";
import {
  condition,
  createAgent,
  NAME,
  patchAgent,
  quiet,
  requestReconcile,
  useAgentWorld,
  world,
} from "../test/api/agent-world.ts";
import { at, must, waitFor } from "../test/api/harness.ts";

useAgentWorld();

const GATEWAY = `${NAME}-gateway`;
const key = () => ({ namespace: world.namespace, name: GATEWAY });

async function replicas(): Promise<unknown> {
  return at(must(await world.api.client.get(DEPLOYMENTS, key())), "spec.replicas");
}

/** As an autoscaler scales: it writes the field, and nothing else. */
async function scale(count: number): Promise<void> {
  const deployment = { apiVersion: "apps/v1", kind: "Deployment", metadata: key(), spec: { replicas: count } };
  must(await world.api.client.patchMerge(DEPLOYMENTS, deployment, { fieldManager: "kube-controller-manager" }));
}

async function autoscaler(): Promise<unknown> {
  const found = await world.api.client.get(HORIZONTAL_POD_AUTOSCALERS, key());
  return found.ok ? found.value["spec"] : undefined;
}

const AUTOSCALING = { minReplicas: 2, maxReplicas: 6 };

describe("spec.gateway.autoscaling", () => {
  it("keeps the pods that run when it is turned on, and what it decides from then on", async () => {
    await createAgent({ gateway: { replicas: 3 } });
    await condition("Ready", { status: "True" });
    await patchAgent({ gateway: { replicas: null, autoscaling: AUTOSCALING } });
    await waitFor("the autoscaler", async () => ((await autoscaler()) === undefined ? undefined : true));
    expect(await autoscaler()).toMatchObject({
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: GATEWAY },
      ...AUTOSCALING,
      metrics: [
        {
          type: "ContainerResource",
          containerResource: {
            name: "cpu",
            container: "gateway",
            target: { type: "Utilization", averageUtilization: 70 },
          },
        },
      ],
    });
    await condition("Ready", { status: "True" });
    expect(await replicas()).toBe(3);
    await scale(5);
    // A change that applies the Deployment again, and one look without a change.
    await patchAgent({ gateway: { resources: { requests: { cpu: "250m", memory: "128Mi" } } } });
    await condition("Ready", { status: "True" });
    await requestReconcile();
    await quiet();
    expect(await replicas()).toBe(5);
  });

  it("gives the number back to replicas, and to one pod while revoked", async () => {
    await createAgent({ gateway: { autoscaling: AUTOSCALING } });
    await condition("Ready", { status: "True" });
    await scale(4);
    await patchAgent({ mode: "Revoked" });
    await waitFor("one pod", async () => ((await replicas()) === 1 ? true : undefined));
    await waitFor("no autoscaler", async () => ((await autoscaler()) === undefined ? true : undefined));
    await patchAgent({ mode: "Running" });
    await waitFor("the autoscaler", async () => ((await autoscaler()) === undefined ? undefined : true));
    await patchAgent({ gateway: { autoscaling: null, replicas: 3 } });
    await waitFor("three pods", async () => ((await replicas()) === 3 ? true : undefined));
    await waitFor("no autoscaler", async () => ((await autoscaler()) === undefined ? true : undefined));
    await condition("Ready", { status: "True" });
  });
});
