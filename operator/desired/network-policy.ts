import { POD_PORTS } from "#core/pod-paths.ts";
import { NETWORK_POLICIES } from "#runtime/kube/resources.ts";
import type { DesiredInput, EgressRule } from "./input.ts";
import { child, childName, type Component, COMPONENTS, type DesiredObject, selectorLabels } from "./names.ts";

type Json = Readonly<Record<string, unknown>>;

/** Who answers DNS: the cluster's DNS pods, NodeLocal DNSCache, AKS LocalDNS. */
const DNS_PEERS = [
  {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
    podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
  },
  { ipBlock: { cidr: "169.254.20.10/32" } },
  { ipBlock: { cidr: "169.254.10.10/32" } },
  { ipBlock: { cidr: "169.254.10.11/32" } },
] as const;

/** Judged after the Service is translated: 5353 where DNS runs without privileges. */
const DNS_PORTS = [53, 5353] as const;

/**
 * Default deny both ways and named peers; one policy per component, as a policy applies to whole pods. They outlive the
 * agent until its pods are gone: a pod that drains without a policy could reach everything.
 */
export function networkPolicies(input: DesiredInput): DesiredObject[] {
  return COMPONENTS.map((component) =>
    child(input.agent, {
      ref: NETWORK_POLICIES,
      name: childName(input.agent, component),
      component,
      keptBy: input.usages,
      body: {
        spec: {
          podSelector: { matchLabels: selectorLabels(input.agent, component) },
          policyTypes: ["Ingress", "Egress"],
          ingress: ingress(input, component),
          egress: [...baseEgress(input, component), ...input.peers[component]],
        },
      },
    }),
  );
}

function ingress(input: DesiredInput, component: Component): Json[] {
  const namespaces = component === "gateway" ? (input.spec.exposure.allowedNamespaces ?? []) : [];
  const clients = namespaces.map((namespace) => ({
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
  }));
  const { metricsPeers } = input.settings;
  const scrape = [POD_PORTS.admin, POD_PORTS.sidecarAdmin].map((port) => ({ port, protocol: "TCP" }));
  return [
    {
      from: [podsOf(input, component === "gateway" ? "orchestrator" : "gateway"), ...clients],
      ports: [{ port: POD_PORTS[component], protocol: "TCP" }],
    },
    ...(metricsPeers.length === 0 ? [] : [{ from: metricsPeers, ports: scrape }]),
  ];
}

function baseEgress(input: DesiredInput, component: Component): (Json | EgressRule)[] {
  const other = component === "gateway" ? "orchestrator" : "gateway";
  return [
    {
      to: DNS_PEERS,
      ports: DNS_PORTS.flatMap((port) => [
        { port, protocol: "UDP" },
        { port, protocol: "TCP" },
      ]),
    },
    ...apiServerEgress(input),
    { to: [podsOf(input, other)], ports: [{ port: POD_PORTS[other], protocol: "TCP" }] },
  ];
}

/** The API server is no pod: its own addresses and port, for the sidecar. */
function apiServerEgress(input: DesiredInput): Json[] {
  const ports = [...new Set(input.cluster.apiServers.map((server) => server.port))];
  return ports.map((port) => ({
    to: input.cluster.apiServers.filter((server) => server.port === port).map(({ cidr }) => ({ ipBlock: { cidr } })),
    ports: [{ port, protocol: "TCP" }],
  }));
}

function podsOf(input: DesiredInput, component: Component): Json {
  return { podSelector: { matchLabels: selectorLabels(input.agent, component) } };
}
