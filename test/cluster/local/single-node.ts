import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { createKubectl, type Kubectl, waitFor } from "../../../scripts/demo/kubectl.ts";
import { ensureDebs } from "../../../scripts/tools/debs.ts";
import { repositoryFolder } from "../../../scripts/tools/folders.ts";
import { ensureKubectl } from "../../../scripts/tools/helm-and-kubectl.ts";
import { withLock } from "../../../scripts/tools/lock.ts";
import { timed } from "../../../scripts/tools/progress.ts";
import { addonObjects } from "./addons.ts";
import { createCertificates } from "./certificates.ts";
import { removeCluster } from "./cleanup.ts";
import { importImage, PAUSE_IMAGE, startContainerd } from "./containerd.ts";
import { isReady, waitForApiServer } from "./control-plane.ts";
import { writeProgramImage } from "./docker-archive.ts";
import { ensureKubeBinary, type KubeBinary } from "./kube-binary.ts";
import { writeKubeconfig } from "./kubeconfig-file.ts";
import { controlPlane, FOLDERS, kubeconfigPath, LOCK, logFolder, NODE } from "./layout.ts";
import { createNetwork } from "./network.ts";
import { CERTIFICATES, PARTS, startClients, startControlPlane } from "./parts.ts";
import { killProcess, runningProcess } from "./processes.ts";

const PACKAGES = ["containerd", "runc", "containernetworking-plugins", "iptables", "ipset", "conntrack", "iproute2"];
const SAVED_ETCD = join(FOLDERS.state, "etcd-saved");
const OWNER_FILE = join(FOLDERS.state, "owner.json");
const ownerSchema = z.object({ clone: z.string(), kube: z.string() });

export interface LocalClusterOptions {
  /** Names that pods resolve as another name. @default none */
  readonly aliases?: Readonly<Record<string, string>>;
}

export interface LocalClusterStatus {
  /** The clone whose cluster it is, when there is one. */
  readonly owner: string | undefined;
  readonly ready: boolean;
  readonly running: readonly string[];
  readonly stopped: readonly string[];
}

/**
 * Starts the one-node Kubernetes of this machine, or finds it running, and returns the path of its kubeconfig. What an
 * earlier start left unfinished is removed first. Throws when another clone's cluster is running.
 */
export function startCluster(options: LocalClusterOptions = {}): Promise<string> {
  return withLock(LOCK, async () => {
    requireRoot();
    refuseOtherOwner();
    const binary = await ensureKubeBinary();
    const kubectl = createKubectl({ path: await ensureKubectl(), kubeconfig: kubeconfigPath() });
    if (!(await isRunning(binary))) await startNode(binary);
    await timed("DNS and volumes applied, node Ready, DNS Ready", () => applyAddons(kubectl, binary, options));
    return kubeconfigPath();
  });
}

/** Stops the cluster of this clone and removes its state; logs are kept. Nothing to stop is fine. */
export function stopCluster(): Promise<void> {
  return withLock(LOCK, async () => {
    requireRoot();
    refuseOtherOwner();
    await timed("Local cluster stopped and removed", removeCluster);
    rmSync(kubeconfigPath(), { force: true });
  });
}

/** Keeps a copy of what etcd holds now; the API server is away for a few seconds. One copy, the newest. */
export function saveEtcd(): Promise<void> {
  return withLock(LOCK, () =>
    withoutControlPlane(() => {
      rmSync(SAVED_ETCD, { recursive: true, force: true });
      cpSync(FOLDERS.etcd, SAVED_ETCD, { recursive: true });
    }),
  );
}

/**
 * Puts the copy back, as a restored backup does: every object is what it was, and revisions count on from there, so that
 * numbers seen before are given again. `meanwhile` runs while there is no API server.
 */
export function restoreEtcd(meanwhile: () => void = () => undefined): Promise<void> {
  return withLock(LOCK, () =>
    withoutControlPlane(() => {
      rmSync(FOLDERS.etcd, { recursive: true, force: true });
      cpSync(SAVED_ETCD, FOLDERS.etcd, { recursive: true });
      meanwhile();
    }),
  );
}

async function withoutControlPlane(run: () => void): Promise<void> {
  const kube = readOwner()?.kube;
  if (kube === undefined) throw new Error("Cannot stop the API server as no local cluster runs");
  // Without etcd the API server would not end; without fsync the files still hold all that etcd has acknowledged.
  for (const part of ["kube-apiserver", "etcd"]) await killProcess(FOLDERS.state, part);
  run();
  const plane = controlPlane(kube);
  startControlPlane(plane);
  const started = performance.now();
  await waitForApiServer(
    plane,
    () => performance.now() - started < 2000 || runningProcess(FOLDERS.state, "kube-apiserver") !== undefined,
  );
}

/** Which parts run now. */
export async function clusterStatus(): Promise<LocalClusterStatus> {
  const running = PARTS.filter((part) => runningProcess(FOLDERS.state, part) !== undefined);
  const ready = running.includes("kube-apiserver") && (await isReady(controlPlane("")));
  return { owner: readOwner()?.clone, ready, running, stopped: PARTS.filter((part) => !running.includes(part)) };
}

async function isRunning(binary: KubeBinary): Promise<boolean> {
  if (readOwner()?.kube !== binary.kube || !existsSync(kubeconfigPath())) return false;
  const status = await clusterStatus();
  return status.ready && status.stopped.length === 0;
}

async function startNode(binary: KubeBinary): Promise<void> {
  await ensureDebs(PACKAGES);
  await timed("Leftovers of an earlier cluster removed", removeCluster);
  rmSync(logFolder(), { recursive: true, force: true });
  mkdirSync(FOLDERS.config, { recursive: true });
  writeFileSync(OWNER_FILE, JSON.stringify({ clone: repositoryFolder, kube: binary.kube }));
  await timed("Network namespace and certificates", () =>
    Promise.all([createNetwork(), createCertificates(FOLDERS.certificates, CERTIFICATES)]),
  );
  const plane = controlPlane(binary.kube);
  writeKubeconfig(kubeconfigPath(), {
    server: `https://${plane.address}:${plane.port}`,
    certificates: FOLDERS.certificates,
    client: "admin",
  });
  startControlPlane(plane);
  await timed("containerd", async () => {
    await startContainerd();
    const archive = join(FOLDERS.state, "pause.tar");
    await writeProgramImage(archive, { program: binary.pause, path: "pause", name: PAUSE_IMAGE });
    await importImage(archive);
  });
  await timed("etcd and API server", () =>
    waitForApiServer(plane, () => runningProcess(FOLDERS.state, "kube-apiserver") !== undefined),
  );
  startClients(plane);
}

async function applyAddons(kubectl: Kubectl, binary: KubeBinary, options: LocalClusterOptions): Promise<void> {
  const items = addonObjects({ kube: binary.kube, aliases: options.aliases ?? {} });
  await kubectl.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  const node = async (): Promise<true | undefined> =>
    (await kubectl.attempt(["get", "node", NODE.name])).code === 0 ? true : undefined;
  await waitFor(node, {
    what: `the kubelet to register (see ${logFolder()}/kubelet.log)`,
    timeoutSeconds: 60,
    everyMs: 200,
  });
  await kubectl.run(["wait", "--for=condition=Ready", `node/${NODE.name}`, "--timeout=60s"]);
  await kubectl.run(["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s"]);
  // A rollout is called done while the pod before still answers, with the names of before.
  await waitFor(async () => ((await dnsPods(kubectl)) === 1 ? true : undefined), {
    what: "the DNS pod of before to end",
    timeoutSeconds: 60,
    everyMs: 200,
  });
}

async function dnsPods(kubectl: Kubectl): Promise<number> {
  const names = await kubectl.run(["-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "name"]);
  return names.split("\n").filter((name) => name !== "").length;
}

function readOwner(): z.infer<typeof ownerSchema> | undefined {
  try {
    return ownerSchema.parse(JSON.parse(readFileSync(OWNER_FILE, "utf8")));
  } catch {
    return undefined;
  }
}

function refuseOtherOwner(): void {
  const clone = readOwner()?.clone;
  if (clone === undefined || clone === repositoryFolder || !existsSync(clone)) return;
  if (PARTS.every((part) => runningProcess(FOLDERS.state, part) === undefined)) return;
  throw new Error(`Cannot use the local cluster as a machine has one and ${clone} holds it: run npm stop there first`);
}

function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new Error("Cannot run the local cluster without root: run this as root, or set KUBECONFIG to a kind cluster");
}
