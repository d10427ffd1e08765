import { mkdtempSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCertificates } from "./certificates.ts";
import { apiServerCommand, apiServerNames, type ControlPlane, etcdCommand, waitForApiServer } from "./control-plane.ts";
import { ensureKubeBinary } from "./kube-binary.ts";
import { writeKubeconfig } from "./kubeconfig-file.ts";
import { killProcess, runningProcess, startProcess } from "./processes.ts";

const PREFIX = "supercargo-light-";
const PARTS = ["etcd", "kube-apiserver"] as const;

export interface LightCluster {
  /** A file, for the administrator. */
  readonly kubeconfig: string;
  /** https://127.0.0.1:PORT */
  readonly server: string;
  stop(): Promise<void>;
}

export interface LightClusterOptions {
  /** Outlives this process; the caller has to end it. @default false */
  readonly detached?: boolean;
}

/**
 * Starts etcd and an API server with RBAC, and nothing else: no controllers (no default service accounts, no garbage
 * collection, no end of a namespace), no nodes. Ready in about 3 s, on free ports, so several can run side by side and
 * beside the full cluster. It dies with this process, even by kill -9.
 */
export async function startLightCluster(options: LightClusterOptions = {}): Promise<LightCluster> {
  const { kube } = await ensureKubeBinary();
  removeAbandoned();
  const folder = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  const certificates = join(folder, "certificates");
  await createCertificates(certificates, [
    { name: "apiserver", commonName: "kube-apiserver", alternativeNames: apiServerNames(["10.96.0.1"]) },
  ]);
  const [etcdPort, etcdPeerPort, port] = await freePorts();
  const plane = {
    kube,
    certificates,
    dataFolder: join(folder, "etcd"),
    etcdPort,
    etcdPeerPort,
    address: "127.0.0.1",
    port,
    serviceRange: "10.96.0.0/16",
  };
  const stop = (): Promise<void> => stopParts(folder);
  try {
    await startParts(plane, { folder, diesWithParent: options.detached !== true });
  } catch (error) {
    const log = lastLines(join(folder, "kube-apiserver.log"));
    await stop();
    throw new Error(`Cannot start a light cluster: ${log}`, { cause: error });
  }
  const server = `https://127.0.0.1:${port}`;
  const kubeconfig = join(folder, "kubeconfig");
  writeKubeconfig(kubeconfig, { server, certificates, client: "admin" });
  return { kubeconfig, server, stop };
}

async function startParts(
  plane: ControlPlane,
  options: { readonly folder: string; readonly diesWithParent: boolean },
): Promise<void> {
  const { folder, diesWithParent } = options;
  const commands = {
    etcd: etcdCommand(plane),
    "kube-apiserver": [
      ...apiServerCommand(plane),
      // A loopback address may not be published as the endpoint of the Service kubernetes.
      "--endpoint-reconciler-type=none",
      // Without controllers no namespace has a default service account, and every pod would be refused.
      "--disable-admission-plugins=ServiceAccount",
    ],
  };
  for (const name of PARTS)
    startProcess({ name, command: commands[name], stateFolder: folder, logFolder: folder, diesWithParent });
  const started = performance.now();
  const isRunning = (): boolean =>
    performance.now() - started < 1000 || PARTS.every((name) => runningProcess(folder, name) !== undefined);
  await waitForApiServer(plane, isRunning);
}

async function stopParts(folder: string): Promise<void> {
  await Promise.all(PARTS.map((name) => killProcess(folder, name)));
  rmSync(folder, { recursive: true, force: true });
}

/** Folders of light clusters whose process was killed; their parts died with it. */
function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    const folder = join(tmpdir(), name);
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    if (PARTS.some((part) => runningProcess(folder, part) !== undefined)) continue;
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Three ports that are free now. All are held at once, so they differ. */
async function freePorts(): Promise<readonly [number, number, number]> {
  const servers = [createServer(), createServer(), createServer()] as const;
  const ports = await Promise.all(servers.map(listen));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  const [first = 0, second = 0, third = 0] = ports;
  return [first, second, third];
}

function listen(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

function lastLines(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").slice(-5).join("\n") : "no log was written";
}
