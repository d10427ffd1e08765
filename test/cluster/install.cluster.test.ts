import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { demoValues, installChart } from "../../scripts/demo/install.ts";
import { DEMO } from "../../scripts/demo/names.ts";
import { runCommand } from "../../scripts/run-command.ts";
import { ensureHelm } from "../../scripts/tools/helm-and-kubectl.ts";
import { endHour, openWorld, type World } from "./world.ts";

let world: World;

beforeAll(async () => {
  world = await openWorld();
});

afterAll(() => world?.close());

async function helmCommand(major: 3 | 4, args: readonly string[]): Promise<string> {
  const helm = await ensureHelm(major);
  const env = { KUBECONFIG: world.kubectl.kubeconfig };
  return (await runCommand([helm, "--namespace", DEMO.systemNamespace, ...args], { env })).stdout;
}

async function waitReady(): Promise<void> {
  for (const name of ["supercargo-operator", "supercargo-reporter"])
    await world.kubectl.run(["-n", DEMO.systemNamespace, "rollout", "status", `deployment/${name}`, "--timeout=120s"]);
  await world.kubectl.run([
    "-n",
    DEMO.agentNamespace,
    "wait",
    "--for=condition=Ready",
    `agd/${DEMO.agent}`,
    "--timeout=120s",
  ]);
}

describe.each([3, 4] as const)("Helm %i in a real cluster", (major) => {
  it("uninstalls and keeps agents, receipts and definitions; pods go on serving", async () => {
    await helmCommand(4, ["uninstall", DEMO.release, "--wait"]);
    const kept = await world.kubectl.run(["get", "crds", "-o", "name"]);
    for (const plural of ["agentdeployments", "approvals", "podusages", "usageledgers", "usagestatements"])
      expect(kept).toContain(`${plural}.supercargo.dev`);
    const pods = await world.kubectl.run([
      "-n",
      DEMO.agentNamespace,
      "get",
      "pods",
      "--field-selector=status.phase=Running",
      "-o",
      "name",
    ]);
    expect(pods).toMatch(/gateway/);
    expect(await world.kubectl.run(["get", "usageledgers", "-o", "name"])).toMatch(/usageledger/);
  });

  it("installs again under the same name, takes up the agent and its books", async () => {
    await installChart(world.kubectl, { helm: await ensureHelm(major), values: demoValues(world.images.supercargo) });
    await waitReady();
    await endHour(world);
  });

  it("prints facts in its notes and has one leader of two per Deployment", async () => {
    const notes = await helmCommand(major, ["get", "notes", DEMO.release]);
    expect(notes).toContain(DEMO.plan);
    const leases = await world.kubectl.run([
      "-n",
      DEMO.systemNamespace,
      "get",
      "leases",
      "-o",
      "jsonpath={.items[*].spec.holderIdentity}",
    ]);
    expect(leases.trim().split(/\s+/).length).toBe(2);
  });
});
