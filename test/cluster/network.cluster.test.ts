import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { AZURE_PORTS } from "../../scripts/demo/azure.ts";
import { sampleAgent } from "../../scripts/demo/agent.ts";
import { DEMO } from "../../scripts/demo/names.ts";
import { probe, type ProbeFrom } from "./probe.ts";
import { openWorld, type World } from "./world.ts";

/** Where IMDS answers in Azure, and here: on the node's own loopback. */
const IMDS = { host: "169.254.169.254", port: 80 };
const STRANGER = "stranger";
/** Another agent, as close as can be: in the same namespace, with the same tools. */
const NEIGHBOUR = "neighbour-desk";

let world: World;
let addresses: Record<
  "model" | "gateway" | "orchestrator" | "neighbour" | "tools" | "api",
  { host: string; port: number }
>;

const gateway: ProbeFrom = {
  namespace: DEMO.agentNamespace,
  resource: `deployment/${DEMO.agent}-gateway`,
  container: "gateway",
};
const orchestrator: ProbeFrom = {
  namespace: DEMO.agentNamespace,
  resource: `deployment/${DEMO.agent}-orchestrator`,
  container: "orchestrator",
};
const reporter: ProbeFrom = {
  namespace: DEMO.systemNamespace,
  resource: "deployment/supercargo-reporter",
  container: "reporter",
};
const operator: ProbeFrom = {
  namespace: DEMO.systemNamespace,
  resource: "deployment/supercargo-operator",
  container: "operator",
};
const neighbour: ProbeFrom = {
  namespace: DEMO.agentNamespace,
  resource: `deployment/${NEIGHBOUR}-orchestrator`,
  container: "orchestrator",
};
const stranger: ProbeFrom = { namespace: STRANGER, resource: "pod/stranger", container: "stranger" };

beforeAll(async () => {
  world = await openWorld();
  await startStranger();
  await startNeighbour();
  addresses = {
    model: { host: await clusterIp(DEMO.azureNamespace, "emulator"), port: AZURE_PORTS.http },
    gateway: { host: await clusterIp(DEMO.agentNamespace, `${DEMO.agent}-gateway`), port: 8080 },
    orchestrator: { host: await clusterIp(DEMO.agentNamespace, `${DEMO.agent}-orchestrator`), port: 8088 },
    neighbour: { host: await clusterIp(DEMO.agentNamespace, `${NEIGHBOUR}-gateway`), port: 8080 },
    tools: { host: await clusterIp(DEMO.agentNamespace, "orders"), port: 3000 },
    api: { host: "10.96.0.1", port: 443 },
  };
});

afterAll(async () => {
  await world?.kubectl.attempt(["delete", "namespace", STRANGER, "--wait=false"]);
  await world?.kubectl.attempt(["-n", DEMO.agentNamespace, "delete", "agd", NEIGHBOUR, "--wait=false"]);
  world?.close();
});

/** A pod that no policy of ours selects, so that only the ingress rules of its targets hold it back. */
async function startStranger(): Promise<void> {
  await world.kubectl.apply(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: STRANGER } }));
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "stranger", namespace: STRANGER },
    spec: {
      automountServiceAccountToken: false,
      serviceAccountName: "stranger",
      containers: [
        {
          name: "stranger",
          image: world.images.emulator.reference,
          args: ["-e", "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e6)"],
        },
      ],
    },
  };
  await world.kubectl.apply(
    JSON.stringify({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "stranger", namespace: STRANGER } }),
  );
  await world.kubectl.apply(JSON.stringify(pod));
  await world.kubectl.run(["-n", STRANGER, "wait", "--for=condition=Ready", "pod/stranger", "--timeout=90s"]);
}

async function startNeighbour(): Promise<void> {
  const agent = sampleAgent(world.apiKey);
  const spec = { ...agent.spec, orchestrator: { storage: { type: "Ephemeral" } } };
  await world.kubectl.apply(JSON.stringify({ ...agent, metadata: { name: NEIGHBOUR }, spec }), DEMO.agentNamespace);
  await world.kubectl.run([
    "-n",
    DEMO.agentNamespace,
    "wait",
    "--for=condition=Ready",
    `agd/${NEIGHBOUR}`,
    "--timeout=120s",
  ]);
}

const serviceSchema = z.object({ spec: z.object({ clusterIP: z.string() }) });

async function clusterIp(namespace: string, name: string): Promise<string> {
  return serviceSchema.parse(await world.kubectl.json(["-n", namespace, "get", "service", name])).spec.clusterIP;
}

describe("the network lets through what is named", () => {
  it.each([
    ["the gateway reaches the model", gateway, () => addresses.model],
    ["the gateway reaches the orchestrator", gateway, () => addresses.orchestrator],
    ["the orchestrator reaches the gateway", orchestrator, () => addresses.gateway],
    ["the neighbour's orchestrator reaches its own gateway", neighbour, () => addresses.neighbour],
    ["the orchestrator reaches its tool server", orchestrator, () => addresses.tools],
    ["the reporter reaches IMDS on its real address", reporter, () => IMDS],
    ["the reporter reaches the metering endpoint", reporter, () => addresses.model],
    ["the stranger, whom nothing holds back, reaches the emulator (the probe works)", stranger, () => addresses.model],
  ] as const)("%s", async (_name, from, to) => {
    expect(await probe(world.kubectl, from, to())).toBe("connected");
  });
});

describe("and nothing else", () => {
  it.each([
    ["the orchestrator cannot reach the model past the gateway", orchestrator, () => addresses.model],
    ["the orchestrator cannot reach another agent's gateway", orchestrator, () => addresses.neighbour],
    ["the gateway cannot reach another agent's gateway", gateway, () => addresses.neighbour],
    ["another agent's orchestrator cannot reach the gateway", neighbour, () => addresses.gateway],
    ["another agent's orchestrator cannot reach the orchestrator", neighbour, () => addresses.orchestrator],
    ["the orchestrator cannot reach IMDS", orchestrator, () => IMDS],
    ["the gateway cannot reach IMDS", gateway, () => IMDS],
    ["the gateway cannot reach the tool server", gateway, () => addresses.tools],
    ["the operator cannot reach the metering endpoint", operator, () => addresses.model],
    ["the operator cannot reach IMDS", operator, () => IMDS],
    ["the reporter cannot reach an agent's gateway", reporter, () => addresses.gateway],
    ["another namespace cannot reach the gateway", stranger, () => addresses.gateway],
    ["another namespace cannot reach the orchestrator", stranger, () => addresses.orchestrator],
  ] as const)("%s", async (_name, from, to) => {
    expect(await probe(world.kubectl, from, to())).not.toBe("connected");
  });
});
