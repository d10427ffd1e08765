import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { PAUSE_IMAGE } from "./containerd.ts";
import { FOLDERS, NODE } from "./layout.ts";

const labels = { "k8s-app": "kube-dns" };
const metadata = { name: "coredns", namespace: "kube-system", labels };

export interface AddonOptions {
  /** The Kubernetes binary: the image of CoreDNS is the pause image with this mounted. */
  readonly kube: string;
  /** Names that pods resolve as another name: `marketplaceapi.microsoft.com` → a Service of the emulator. */
  readonly aliases: Readonly<Record<string, string>>;
}

/** DNS and volumes, as objects to apply. */
export function addonObjects(options: AddonOptions): object[] {
  return [...dnsRights(), ...dnsObjects(options), storageClass(), ...volumes()];
}

function dnsRights(): object[] {
  const watched = { verbs: ["list", "watch"] };
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "system:coredns" },
      rules: [
        { apiGroups: [""], resources: ["endpoints", "services", "pods", "namespaces"], ...watched },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], ...watched },
      ],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "system:coredns" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:coredns" },
      subjects: [{ kind: "ServiceAccount", name: metadata.name, namespace: metadata.namespace }],
    },
  ];
}

/** The Corefile. There is nothing to forward to: any name outside the cluster is refused at once. */
export function corefile(aliases: AddonOptions["aliases"]): string {
  const rewrites = Object.entries(aliases).map(([name, target]) => `  rewrite name exact ${name} ${target}\n`);
  return `.:5353 {
  errors
  ready
${rewrites.join("")}  kubernetes cluster.local in-addr.arpa {
    pods insecure
    ttl 5
  }
  cache 5
}
`;
}

/** As on AKS: pods labelled k8s-app=kube-dns behind the Service kube-dns, so that policies that name them are tested. */
function dnsObjects(options: AddonOptions): object[] {
  const text = corefile(options.aliases);
  return [
    { apiVersion: "v1", kind: "ConfigMap", metadata, data: { Corefile: text } },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        // The annotation makes a changed Corefile roll the pod.
        template: { metadata: { labels, annotations: { corefile: text } }, spec: dnsPod(options.kube) },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...metadata, name: "kube-dns" },
      spec: {
        clusterIP: NODE.dnsAddress,
        selector: labels,
        ports: ["UDP", "TCP"].map((protocol) => ({
          name: `dns-${protocol.toLowerCase()}`,
          port: 53,
          targetPort: 5353,
          protocol,
        })),
      },
    },
  ];
}

function dnsPod(kube: string): object {
  return {
    serviceAccountName: metadata.name,
    priorityClassName: "system-cluster-critical",
    dnsPolicy: "Default",
    containers: [
      {
        name: "coredns",
        image: PAUSE_IMAGE,
        imagePullPolicy: "Never",
        command: ["/kube", "coredns", "-conf", "/config/Corefile"],
        ports: [
          { name: "dns-udp", containerPort: 5353, protocol: "UDP" },
          { name: "dns-tcp", containerPort: 5353, protocol: "TCP" },
        ],
        readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 1 },
        resources: { requests: { cpu: "10m", memory: "32Mi" } },
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 65532,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
          seccompProfile: { type: "RuntimeDefault" },
        },
        volumeMounts: [
          { name: "kube", mountPath: "/kube", readOnly: true },
          { name: "config", mountPath: "/config", readOnly: true },
        ],
      },
    ],
    volumes: [
      { name: "kube", hostPath: { path: kube, type: "File" } },
      { name: "config", configMap: { name: metadata.name } },
    ],
  };
}

/** The default class: a claim binds to one of the static volumes below when its pod is scheduled. */
function storageClass(): object {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name: "local", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "WaitForFirstConsumer",
  };
}

/**
 * Static volumes of the kind `local`, which honour fsGroup as a disk of Azure does. When a claim is deleted the node
 * agent empties the folder and makes the volume available again (test/cluster/kube/volumes.go).
 */
function volumes(): object[] {
  return Array.from({ length: NODE.volumes }, (_, index) => {
    const name = `local-${index + 1}`;
    const path = join(FOLDERS.volumes, name);
    mkdirSync(path, { recursive: true });
    const nodes = { key: "kubernetes.io/hostname", operator: "In", values: [NODE.name] };
    return {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name },
      spec: {
        capacity: { storage: "2Gi" },
        accessModes: ["ReadWriteOnce"],
        persistentVolumeReclaimPolicy: "Retain",
        storageClassName: "local",
        local: { path },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [nodes] }] } },
      },
    };
  });
}
