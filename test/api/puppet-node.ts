import { createHash, randomUUID } from "node:crypto";
import { systemClock } from "../../services/runtime/clock.ts";
import { CONFIG_MAPS, DEPLOYMENTS, POD_USAGES, PODS } from "../../services/runtime/kube/resources.ts";
import { isRecord, type KubeClient, type KubeObject } from "../../services/runtime/kube/types.ts";
import { at, must } from "./harness.ts";

/** What a test may hold back. */
export interface PuppetSwitches {
  /** Pods start and become ready. */
  start: boolean;
  /** Sidecars report what their pod runs with. */
  echo: boolean;
}

/**
 * Plays Deployment controller, kubelet and sidecar for one namespace of a real API server: pods come and go with the
 * Deployments, become ready, and echo the config and mode that they were given. No process runs.
 */
export function startPuppetNode(
  client: KubeClient,
  namespace: string,
): { switches: PuppetSwitches; stop: () => Promise<void> } {
  const switches: PuppetSwitches = { start: true, echo: true };
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      // Objects change under the puppet's hands; the next round sees them as they are.
      await playRound(client, namespace, switches).catch(() => undefined);
      await systemClock.sleep(50, stopping.signal).catch(() => undefined);
    }
  };
  const running = run();
  return {
    switches,
    async stop() {
      stopping.abort(new Error("Stopped"));
      await running;
    },
  };
}

async function playRound(client: KubeClient, namespace: string, switches: PuppetSwitches): Promise<void> {
  const deployments = must(await client.list(DEPLOYMENTS, { namespace })).items;
  const pods = must(await client.list(PODS, { namespace })).items;
  for (const deployment of deployments) await playDeployment(client, { deployment, pods, switches });
  const owned = new Set(deployments.map((deployment) => deployment.metadata.name));
  for (const pod of pods) if (!owned.has(ownerOf(pod))) await removePod(client, pod);
  if (switches.echo)
    for (const usage of must(await client.list(POD_USAGES, { namespace })).items) await echo(client, usage);
}

async function playDeployment(
  client: KubeClient,
  part: { readonly deployment: KubeObject; readonly pods: readonly KubeObject[]; readonly switches: PuppetSwitches },
): Promise<void> {
  const { deployment, switches } = part;
  const hash = createHash("sha256")
    .update(JSON.stringify(at(deployment, "spec.template")))
    .digest("hex")
    .slice(0, 10);
  const wanted = Number(at(deployment, "spec.replicas"));
  const own = part.pods.filter((pod) => ownerOf(pod) === deployment.metadata.name);
  const current = own.filter((pod) => pod.metadata.labels?.["pod-template-hash"] === hash);
  for (let count = current.length; count < wanted; count += 1) await addPod(client, deployment, hash);
  for (const pod of current.slice(wanted)) await removePod(client, pod);
  const ready = current.filter((pod) => isReady(pod)).slice(0, wanted);
  for (const pod of current) if (switches.start && !isReady(pod)) await setReady(client, pod);
  const old = own.filter((pod) => !current.includes(pod));
  if (ready.length >= wanted) for (const pod of old) await removePod(client, pod);
  await writeStatus(client, deployment, {
    observedGeneration: deployment.metadata.generation,
    replicas: own.length,
    updatedReplicas: current.length,
    readyReplicas: ready.length,
    availableReplicas: ready.length,
  });
}

async function writeStatus(client: KubeClient, deployment: KubeObject, counts: Record<string, unknown>): Promise<void> {
  const before = isRecord(deployment["status"]) ? deployment["status"] : {};
  if (Object.entries(counts).every(([name, value]) => (before[name] ?? 0) === value)) return;
  must(await client.updateStatus(DEPLOYMENTS, { ...deployment, status: counts }));
}

async function addPod(client: KubeClient, deployment: KubeObject, hash: string): Promise<void> {
  const labels = at(deployment, "spec.template.metadata.labels");
  const pod: KubeObject = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `${deployment.metadata.name}-${hash}-${randomUUID().slice(0, 5)}`,
      namespace: deployment.metadata.namespace,
      labels: { ...(isRecord(labels) ? stringsOf(labels) : {}), "pod-template-hash": hash },
      annotations: { "puppet/deployment": deployment.metadata.name },
    },
    spec: at(deployment, "spec.template.spec"),
  };
  must(await client.create(PODS, pod));
}

function stringsOf(labels: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}

function ownerOf(pod: KubeObject): string {
  return pod.metadata.annotations?.["puppet/deployment"] ?? "";
}

function isReady(pod: KubeObject): boolean {
  const conditions = at(pod, "status.conditions");
  return Array.isArray(conditions) && conditions.some((entry) => entry.type === "Ready" && entry.status === "True");
}

async function setReady(client: KubeClient, pod: KubeObject): Promise<void> {
  const now = "2026-01-01T00:00:00Z";
  const conditions = ["PodScheduled", "Ready"].map((type) => ({ type, status: "True", lastTransitionTime: now }));
  must(await client.updateStatus(PODS, { ...pod, status: { phase: "Running", conditions } }));
}

/** At once: without a kubelet nobody would end the grace period. */
async function removePod(client: KubeClient, pod: KubeObject): Promise<void> {
  await client.delete(PODS, pod.metadata, { gracePeriodSeconds: 0 });
}

/** What a service would apply after the kubelet's refresh, and its sidecar report. */
async function echo(client: KubeClient, usage: KubeObject): Promise<void> {
  const { namespace } = usage.metadata;
  const agent = String(at(usage, "spec.agentDeployment"));
  const map = must(await client.get(CONFIG_MAPS, { namespace, name: `${agent}-config` }));
  const data = isRecord(map["data"]) ? map["data"] : {};
  const text = String(data[`${String(at(usage, "spec.component"))}.json`]);
  const enforced = {
    configDigest: createHash("sha256").update(text).digest("hex"),
    controlDigest: "",
    mode: at(usage, "spec.control.mode"),
  };
  if (JSON.stringify(at(usage, "status.enforced")) === JSON.stringify(enforced)) return;
  const sequence = String(Number(at(usage, "status.sequence") ?? 0) + 1);
  must(await client.updateStatus(POD_USAGES, { ...usage, status: { sequence, totals: [], enforced } }));
}
