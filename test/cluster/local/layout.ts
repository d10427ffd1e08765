import { join } from "node:path";
import { cacheFolder } from "../../../scripts/tools/folders.ts";
import type { ControlPlane } from "./control-plane.ts";

/** The one node. Addresses are fixed, so a machine has one cluster. */
export const NODE = {
  name: "local",
  /** Network namespace in which everything runs; the machine's own interfaces and rules stay untouched. */
  network: "supercargo",
  address: "10.199.0.1",
  /** The machine's end of the wire to the node. */
  machineAddress: "10.199.0.2",
  /** Of Azure's instance metadata service: a pod in the node's network may listen there, as the real one does. */
  metadataAddress: "169.254.169.254",
  podRange: "10.244.0.0/24",
  serviceRange: "10.96.0.0/16",
  dnsAddress: "10.96.0.10",
  apiPort: 6443,
  volumes: 8,
} as const;

/** Outside the clone and short, as the path of a Unix socket holds 107 bytes. On disk: it holds images. */
const state = "/var/lib/supercargo";

/** Where the cluster's files lie. All of the state goes away with the cluster; logs and kubeconfig lie in the clone. */
export const FOLDERS = {
  state,
  certificates: join(state, "certificates"),
  kubeconfigs: join(state, "kubeconfigs"),
  config: join(state, "config"),
  etcd: join(state, "etcd"),
  containerd: join(state, "containerd"),
  kubelet: join(state, "kubelet"),
  volumes: join(state, "volumes"),
} as const;

/** The one lock of up and down, beside the state, which is removed and made again. */
export const LOCK = `${state}.lock`;

export const SOCKET = join(state, "containerd.sock");

/** Logs of the parts, and of pods below `pods/`; kept after the cluster is gone, until the next start. */
export function logFolder(): string {
  return cacheFolder("cluster", "logs");
}

/** The administrator's kubeconfig. */
export function kubeconfigPath(): string {
  return join(cacheFolder("cluster"), "kubeconfig");
}

export function controlPlane(kube: string): ControlPlane {
  return {
    kube,
    certificates: FOLDERS.certificates,
    dataFolder: FOLDERS.etcd,
    etcdPort: 2379,
    etcdPeerPort: 2380,
    address: NODE.address,
    port: NODE.apiPort,
    serviceRange: NODE.serviceRange,
  };
}
