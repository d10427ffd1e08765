import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface ControlPlane {
  /** The program of ensureKubeBinary. */
  readonly kube: string;
  readonly certificates: string;
  /** Where etcd keeps its files. */
  readonly dataFolder: string;
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  /** Where clients reach the API server. */
  readonly address: string;
  readonly port: number;
  readonly serviceRange: string;
}

/** etcd without fsync: the cluster is thrown away after a crash of the machine anyway. */
export function etcdCommand(plane: ControlPlane): string[] {
  const client = `http://127.0.0.1:${plane.etcdPort}`;
  const peer = `http://127.0.0.1:${plane.etcdPeerPort}`;
  return [
    plane.kube,
    "etcd",
    `--data-dir=${plane.dataFolder}`,
    "--unsafe-no-fsync",
    "--log-level=warn",
    // Else bookmarks and consistent lists from the watch cache wait.
    "--watch-progress-notify-interval=5s",
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
  ];
}

/** The API server with RBAC, the request-header CA for aggregated APIs and the issuer of service account tokens. */
export function apiServerCommand(plane: ControlPlane): string[] {
  const file = (name: string): string => join(plane.certificates, name);
  return [
    plane.kube,
    "kube-apiserver",
    `--etcd-servers=http://127.0.0.1:${plane.etcdPort}`,
    `--bind-address=${plane.address}`,
    `--advertise-address=${plane.address}`,
    `--secure-port=${plane.port}`,
    `--service-cluster-ip-range=${plane.serviceRange}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged=true",
    "--profiling=false",
    `--tls-cert-file=${file("apiserver.crt")}`,
    `--tls-private-key-file=${file("apiserver.key")}`,
    `--client-ca-file=${file("ca.crt")}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${file("service-account.pub")}`,
    `--service-account-signing-key-file=${file("service-account.key")}`,
    // Else logs and exec look up the node's name, which no DNS knows.
    "--kubelet-preferred-address-types=InternalIP",
    `--kubelet-certificate-authority=${file("ca.crt")}`,
    `--kubelet-client-certificate=${file("kubelet-client.crt")}`,
    `--kubelet-client-key=${file("kubelet-client.key")}`,
    `--requestheader-client-ca-file=${file("front-proxy-ca.crt")}`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    `--proxy-client-cert-file=${file("front-proxy-client.crt")}`,
    `--proxy-client-key-file=${file("front-proxy-client.key")}`,
  ];
}

/** Names under which clients reach the API server, for its certificate. */
export function apiServerNames(addresses: readonly string[]): string[] {
  const names = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
  ];
  return [...names.map((name) => `DNS:${name}`), ...["127.0.0.1", ...addresses].map((address) => `IP:${address}`)];
}

/** Waits until the API server says that it is ready. Throws after 60 s, or at once when `isRunning` says that it ended. */
export async function waitForApiServer(plane: ControlPlane, isRunning: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await isReady(plane))) {
    if (!isRunning()) throw new Error("Cannot start the API server as it or etcd ended: see its log");
    if (performance.now() > deadline)
      throw new Error("Cannot start the API server: it was not ready within 60 s, see its log");
    await sleep(100);
  }
}

/** One GET of /readyz as the administrator, 2 s at most. */
export function isReady(plane: Pick<ControlPlane, "address" | "port" | "certificates">): Promise<boolean> {
  const read = (name: string): Buffer => readFileSync(join(plane.certificates, name));
  return new Promise((resolve) => {
    const probe = request(
      {
        host: plane.address,
        port: plane.port,
        path: "/readyz",
        ca: read("ca.crt"),
        cert: read("admin.crt"),
        key: read("admin.key"),
        timeout: 2000,
        agent: false,
      },
      (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      },
    );
    probe.on("timeout", () => probe.destroy(new Error("timeout")));
    probe.on("error", () => resolve(false));
    probe.end();
  });
}
