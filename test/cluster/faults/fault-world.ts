import { z } from "zod";
import { applySample, ask, demoApiKey } from "../../../scripts/demo/agent.ts";
import { type AzureControl, createAzureControl } from "../../../scripts/demo/azure-control.ts";
import { AZURE_PORTS, installAzure } from "../../../scripts/demo/azure.ts";
import { demoValues, installChart } from "../../../scripts/demo/install.ts";
import { createKubectl, type Kubectl, waitFor } from "../../../scripts/demo/kubectl.ts";
import { DEMO } from "../../../scripts/demo/names.ts";
import { forwardPort } from "../../../scripts/demo/port-forward.ts";
import { catchUpClock, waitForBooks } from "../../../scripts/demo/receipt.ts";
import { buildImages } from "../../../scripts/image.ts";
import { ensureHelm, ensureKubectl } from "../../../scripts/tools/helm-and-kubectl.ts";
import { openCluster } from "../local/cluster.ts";
import { startWire, type Wire, WIRE } from "./wire.ts";

/** K of the fault world: short, so that the loss of a pod without grace is small and quickly settled. */
export const CHECKPOINT_SECONDS = 15;

/** Base units by base dimension. */
export type Amounts = Readonly<Record<string, bigint>>;

/** The whole demo for one offer resource of its own, with a wire between the reporter and what it talks to. */
export interface FaultWorld {
  readonly kubectl: Kubectl;
  readonly azure: AzureControl;
  readonly wire: Wire;
  readonly resourceId: string;
  /** Asks that many questions, one after another, and counts what was used beside the product. */
  ask(count: number): Promise<void>;
  /** What was used since the world began, in base units: questions answered, and tokens as the model counted them. */
  used(): Promise<Amounts>;
  /**
   * Known differences, that later tests may count on: lost for good, free by the plan, or accepted on receipts that a
   * restored etcd has forgotten (the ledger has not: it asked Azure).
   */
  readonly off: { lost: Amounts; free: Amounts; receipts: Amounts };
  /** `helm upgrade` to another plan. */
  buyPlan(planId: string): Promise<void>;
  close(): Promise<void>;
}

/** Brings the fault world up in the local cluster. A fresh offer resource: its books begin empty. */
export async function openFaultWorld(): Promise<FaultWorld> {
  const cluster = await openCluster();
  if (cluster.kind !== "local") throw new Error("Cannot open the fault world as only the local cluster has a wire");
  const kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: cluster.kubeconfig });
  const images = await buildImages(cluster);
  await installAzure(kubectl, images.emulator.reference);
  const emulator = await clusterIp(kubectl, DEMO.azureNamespace, "emulator");
  const azure = createAzureControl(`http://${emulator}:${AZURE_PORTS.control}`);
  const wire = await startWire(`http://${emulator}:${AZURE_PORTS.http}`);
  const resourceId = DEMO.resourceId.replace(/[^/]+$/, `faults-${Date.now().toString(36)}`);
  await azure.call("/control/faults", undefined, "DELETE");
  await retireResources(azure);
  await azure.call("/control/resources", soldResource(resourceId));
  // Pods belong for life to the offer resource under which they were born.
  await removeAgent(kubectl);
  const apiKey = demoApiKey();
  const install = async (planId: string): Promise<void> =>
    installChart(kubectl, {
      helm: await ensureHelm(4),
      values: faultValues(images.supercargo, { resourceId, planId }),
    });
  await install(DEMO.plan);
  await catchUpClock(kubectl, azure);
  // A leader that was cut off from the wire of an earlier run may still seem to hold it.
  await freeLease(kubectl);
  await waitForBooks(kubectl, azure, resourceId);
  await applySample(kubectl, { apiKey, image: images.supercargo.reference, toolsImage: images.emulator.reference });
  const born = await azure.modelTally();
  let questions = 0n;
  return {
    kubectl,
    azure,
    wire,
    resourceId,
    off: { lost: {}, free: {}, receipts: {} },
    async ask(count) {
      await askAll(kubectl, { apiKey, count, onAnswer: () => (questions += 1n) });
    },
    async used() {
      const tally = await azure.modelTally();
      return {
        workflow_completed: questions,
        tool_action: questions,
        input_tokens: BigInt(tally.inputTokens - born.inputTokens),
        output_tokens: BigInt(tally.outputTokens - born.outputTokens),
      };
    },
    buyPlan: install,
    async close() {
      await removeAgent(kubectl);
      await wire.stop();
    },
  };
}

async function askAll(
  kubectl: Kubectl,
  how: { readonly apiKey: string; readonly count: number; readonly onAnswer: () => void },
): Promise<void> {
  await waitForAgent(kubectl);
  const gateway = await forwardPort(kubectl, {
    namespace: DEMO.agentNamespace,
    resource: `service/${DEMO.agent}-gateway`,
    port: 8080,
  });
  try {
    for (let asked = 0; asked < how.count; asked += 1) {
      await ask({ url: gateway.url, apiKey: how.apiKey, question: "Where is order A-1003?" });
      how.onAnswer();
    }
  } finally {
    gateway.stop();
  }
}

/** Ready as the agent's own status says, once both Deployments have all their pods. */
async function waitForAgent(kubectl: Kubectl): Promise<void> {
  const run = (...args: string[]): Promise<string> =>
    kubectl.run(["-n", DEMO.agentNamespace, ...args, "--timeout=120s"]);
  for (const component of ["gateway", "orchestrator"])
    await run("rollout", "status", `deployment/${DEMO.agent}-${component}`);
  await run("wait", "--for=condition=Ready", `agentdeployment/${DEMO.agent}`);
}

const serviceSchema = z.object({ spec: z.object({ clusterIP: z.string() }) });

async function clusterIp(kubectl: Kubectl, namespace: string, name: string): Promise<string> {
  return serviceSchema.parse(await kubectl.json(["-n", namespace, "get", "service", name])).spec.clusterIP;
}

const usagesSchema = z.object({
  items: z.array(
    z.object({ metadata: z.object({ name: z.string() }), spec: z.object({ offerResourceId: z.string() }) }),
  ),
});

/** The agent, and the PodUsages that no reporter will ever settle, as a fault world's offer resource ends with it. */
async function removeAgent(kubectl: Kubectl): Promise<void> {
  const inNamespace = (...args: string[]): string[] => ["-n", DEMO.agentNamespace, ...args];
  await kubectl.attempt(inNamespace("delete", "agd", DEMO.agent, "--wait=true", "--timeout=120s"));
  const found = await kubectl.attempt(inNamespace("get", "podusages", "-o", "json"));
  // Before the first install there is no such kind.
  if (found.code !== 0) return;
  const names = usagesSchema
    .parse(JSON.parse(found.stdout))
    .items.filter(({ spec }) => FAULT_RESOURCE.test(spec.offerResourceId))
    .map(({ metadata }) => metadata.name);
  if (names.length > 0) await kubectl.run(inNamespace("delete", "podusages", ...names));
}

const FAULT_RESOURCE = /\/extensions\/faults-[0-9a-z]+$/;

const resourcesSchema = z.object({
  resources: z.array(z.object({ resourceUri: z.string(), ownerClientId: z.string(), plans: z.unknown() })),
});

/** An identity is one extension's: what an earlier run sold under ours is no longer ours to see. */
async function retireResources(azure: AzureControl): Promise<void> {
  const { resources } = resourcesSchema.parse(await azure.call("/control/resources"));
  for (const { resourceUri, ownerClientId, plans } of resources)
    if (ownerClientId === DEMO.otherClientId)
      await azure.call("/control/resources", { resourceUri, ownerClientId: "retired", plans });
}

function soldResource(resourceUri: string): unknown {
  const dimensions = ["workflow_completed", "tool_action", "tokens_1k_in", "tokens_1k_out"];
  return {
    resourceUri,
    ownerClientId: DEMO.otherClientId,
    plans: [
      { planId: "starter", dimensions },
      { planId: "business", dimensions: [...dimensions, "pod_hour"] },
    ],
  };
}

/** The demo's values, with the wire in the place of the API server and of the Marketplace for the reporter alone. */
function faultValues(
  image: Parameters<typeof demoValues>[0],
  offer: { readonly resourceId: string; readonly planId: string },
): Record<string, unknown> {
  const peers = [
    { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": DEMO.azureNamespace } } },
    { ipBlock: { cidr: `${WIRE.address}/32` } },
  ];
  const ports = [...Object.values(AZURE_PORTS), WIRE.marketplacePort].map((port) => ({ port, protocol: "TCP" }));
  return demoValues(image, {
    global: {
      azure: {
        identity: { clientId: DEMO.otherClientId },
        marketplace: { planId: offer.planId },
        extension: { resourceId: offer.resourceId },
      },
    },
    marketplace: { url: `http://${WIRE.address}:${WIRE.marketplacePort}/api` },
    metering: { checkpointSeconds: CHECKPOINT_SECONDS },
    networkPolicy: { reporter: { egress: [{ to: peers, ports }] } },
    reporter: {
      extraEnv: [
        { name: "KUBERNETES_SERVICE_HOST", value: WIRE.address },
        { name: "KUBERNETES_SERVICE_PORT", value: String(WIRE.apiPort) },
      ],
    },
  });
}

/** Waits for the reporter that leads now; throws after two minutes without one. */
export function waitForLeader(world: Pick<FaultWorld, "kubectl">): Promise<string> {
  return waitFor(async () => (await leaseHolder(world.kubectl)) || undefined, {
    what: "a reporter that leads",
    timeoutSeconds: 120,
    everyMs: 200,
  });
}

const leaseSchema = z.object({ spec: z.object({ holderIdentity: z.string().nullish() }) });

/** Pod name and a random part; nothing when nobody holds the Lease. */
export async function leaseHolder(kubectl: Kubectl): Promise<string> {
  const lease = await kubectl.json(["-n", DEMO.systemNamespace, "get", "lease", "supercargo-reporter"]);
  return leaseSchema.parse(lease).spec.holderIdentity ?? "";
}

/** Takes the Lease from whoever holds it, so that anybody may have it now. */
export async function freeLease(kubectl: Kubectl): Promise<void> {
  const patch = JSON.stringify({ spec: { holderIdentity: "", leaseDurationSeconds: 1 } });
  const name = ["patch", "lease", "supercargo-reporter", "--type=merge", "-p", patch];
  await kubectl.run(["-n", DEMO.systemNamespace, ...name]);
}
