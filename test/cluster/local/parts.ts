import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CertificateRequest } from "./certificates.ts";
import { apiServerCommand, apiServerNames, type ControlPlane, etcdCommand } from "./control-plane.ts";
import { writeKubeconfig } from "./kubeconfig-file.ts";
import { FOLDERS, logFolder, NODE, SOCKET } from "./layout.ts";
import { startProcess } from "./processes.ts";

/** All that runs on the node beside containers, in the order of its start. */
export const PARTS = [
  "etcd",
  "kube-apiserver",
  "containerd",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "node-agent",
] as const;

type Part = (typeof PARTS)[number];

/** Certificates of the parts, beside those that every API server has. */
export const CERTIFICATES: readonly CertificateRequest[] = [
  {
    name: "apiserver",
    commonName: "kube-apiserver",
    alternativeNames: apiServerNames([NODE.address, "10.96.0.1"]),
  },
  { name: "kubelet-server", commonName: NODE.name, alternativeNames: [`IP:${NODE.address}`, `DNS:${NODE.name}`] },
  { name: "kube-controller-manager", commonName: "system:kube-controller-manager" },
  { name: "kube-scheduler", commonName: "system:kube-scheduler" },
  { name: "kubelet", commonName: `system:node:${NODE.name}`, organization: "system:nodes" },
  { name: "kube-proxy", commonName: "system:kube-proxy" },
  { name: "node-agent", commonName: "supercargo-node-agent", organization: "system:masters" },
];

const CLIENTS = ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "node-agent"] as const;

/** Starts etcd and the API server. */
export function startControlPlane(plane: ControlPlane): void {
  start("etcd", etcdCommand(plane));
  start("kube-apiserver", apiServerCommand(plane));
}

/** Starts what needs an API server that answers. */
export function startClients(plane: ControlPlane): void {
  mkdirSync(FOLDERS.kubeconfigs, { recursive: true, mode: 0o700 });
  const server = `https://${plane.address}:${plane.port}`;
  for (const client of CLIENTS)
    writeKubeconfig(kubeconfig(client), { server, certificates: FOLDERS.certificates, client });
  for (const client of CLIENTS) start(client, clientCommand(client, plane.kube));
}

function start(name: Part, command: readonly string[]): void {
  // All others wait for these two, also while tests keep the machine busy.
  const favoured = name === "etcd" || name === "kube-apiserver";
  startProcess({ name, command, stateFolder: FOLDERS.state, logFolder: logFolder(), network: NODE.network, favoured });
}

function kubeconfig(client: string): string {
  return join(FOLDERS.kubeconfigs, client);
}

function clientCommand(client: (typeof CLIENTS)[number], kube: string): string[] {
  const command = [kube, client, `--kubeconfig=${kubeconfig(client)}`];
  const alone = ["--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false"];
  switch (client) {
    case "kube-controller-manager":
      return [...command, ...alone, ...controllerFlags()];
    case "kube-scheduler":
      return [...command, ...alone];
    case "kubelet":
      return [...command, ...kubeletFlags()];
    case "kube-proxy":
      return [kube, client, `--config=${writeConfig("kube-proxy", proxyConfig())}`];
    case "node-agent":
      return [...command, `--node=${NODE.name}`, `--service-cidr=${NODE.serviceRange}`];
  }
}

function controllerFlags(): string[] {
  const file = (name: string): string => join(FOLDERS.certificates, name);
  return [
    "--use-service-account-credentials",
    // With the default of 20 a second the controllers alone take 4 s to fetch their tokens.
    "--kube-api-qps=200",
    "--kube-api-burst=400",
    `--service-account-private-key-file=${file("service-account.key")}`,
    `--root-ca-file=${file("ca.crt")}`,
    `--cluster-signing-cert-file=${file("ca.crt")}`,
    `--cluster-signing-key-file=${file("ca.key")}`,
  ];
}

function kubeletFlags(): string[] {
  return [
    `--config=${writeConfig("kubelet", kubeletConfig())}`,
    `--root-dir=${FOLDERS.kubelet}`,
    `--cert-dir=${FOLDERS.kubelet}/pki`,
    `--node-ip=${NODE.address}`,
    `--hostname-override=${NODE.name}`,
  ];
}

function kubeletConfig(): object {
  const file = (name: string): string => join(FOLDERS.certificates, name);
  const tiny = {
    "memory.available": "50Mi",
    "nodefs.available": "1%",
    "imagefs.available": "1%",
    "nodefs.inodesFree": "1%",
  };
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    containerRuntimeEndpoint: `unix://${SOCKET}`,
    authentication: {
      x509: { clientCAFile: file("ca.crt") },
      webhook: { enabled: true },
      anonymous: { enabled: false },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: file("kubelet-server.crt"),
    tlsPrivateKeyFile: file("kubelet-server.key"),
    clusterDNS: [NODE.dnsAddress],
    clusterDomain: "cluster.local",
    resolvConf: "",
    cgroupDriver: "cgroupfs",
    failCgroupV1: false,
    failSwapOn: false,
    localStorageCapacityIsolation: false,
    evictionHard: tiny,
    imageGCHighThresholdPercent: 100,
    // A lower score needs CAP_SYS_RESOURCE, which a container or a small machine may lack.
    oomScoreAdj: 0,
    podLogsDir: join(logFolder(), "pods"),
    // Mounted ConfigMaps follow a change after this time at most; Kubernetes' own default is a minute.
    syncFrequency: "15s",
    // Tests kill containers again and again; nobody learns anything from waiting up to five minutes for their return.
    crashLoopBackOff: { maxContainerRestartPeriod: "2s" },
    readOnlyPort: 0,
  };
}

function proxyConfig(): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig: kubeconfig("kube-proxy") },
    hostnameOverride: NODE.name,
    mode: "iptables",
    clusterCIDR: NODE.podRange,
    // Zero leaves the kernel's limits alone, which a network namespace may not change.
    conntrack: { maxPerCore: 0, min: 0 },
    oomScoreAdj: 0,
  };
}

function writeConfig(name: string, config: object): string {
  const path = join(FOLDERS.config, `${name}.json`);
  writeFileSync(path, JSON.stringify(config));
  return path;
}
