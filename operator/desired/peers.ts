import { isIPv4, isIPv6 } from "node:net";
import type { AgentDeploymentSpec, Egress } from "#core/api/agent-deployment.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import { endpointOf } from "./config-map.ts";
import type { EgressRule } from "./input.ts";
import { type Component, COMPONENTS } from "./names.ts";

/** Everything that is not the public internet: reaching it must be asked for by name. */
const NOT_PUBLIC_V4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "224.0.0.0/3",
] as const;
const LINK_LOCAL = "169.254.0.0/16";

const PUBLIC_PEERS = [
  { ipBlock: { cidr: "0.0.0.0/0", except: [...NOT_PUBLIC_V4] } },
  { ipBlock: { cidr: "2000::/3" } },
] as const;

/** An endpoint that a spec names, with where it stands for messages. */
export interface Endpoint {
  readonly field: string;
  readonly component: Component;
  readonly url: string;
  readonly egress: Egress | undefined;
}

/** What an endpoint needs: a rule, a Service to look at, or a change of the spec. */
export type PeerNeed =
  | { readonly kind: "Rule"; readonly rule: EgressRule }
  | { readonly kind: "Service"; readonly namespace: string; readonly name: string; readonly port: number }
  | { readonly kind: "Invalid"; readonly message: string };

/** Every host that the agent's pods call, by field. */
export function endpointsOf(spec: AgentDeploymentSpec): Endpoint[] {
  const models = spec.models.flatMap((model, m) =>
    model.deployments.flatMap((deployment, d): Endpoint[] => {
      const field = `spec.models[${m}].deployments[${d}]`;
      const { baseUrl: url } = endpointOf(deployment);
      const own: Endpoint = { field, component: "gateway", url, egress: deployment.egress };
      return deployment.auth.type === "WorkloadIdentity" ? [own, tokenEndpoint(field)] : [own];
    }),
  );
  const tools = (spec.tools ?? []).map((tool, t) => ({
    field: `spec.tools[${t}].mcp`,
    component: "orchestrator" as const,
    url: tool.mcp.url,
    egress: tool.mcp.egress,
  }));
  const issuers = (spec.exposure.auth.oidc ?? []).map((oidc, i) => ({
    field: `spec.exposure.auth.oidc[${i}]`,
    component: "gateway" as const,
    url: oidc.jwksUri ?? oidc.issuer,
    egress: oidc.egress,
  }));
  return [...models, ...tools, ...issuers, ...guardrailEndpoints(spec), ...telemetryEndpoints(spec)];
}

function telemetryEndpoints({ telemetry }: AgentDeploymentSpec): Endpoint[] {
  if (telemetry === undefined) return [];
  const { endpoint: url, egress } = telemetry;
  return COMPONENTS.map((component) => ({ field: "spec.telemetry", component, url, egress }));
}

function guardrailEndpoints(spec: AgentDeploymentSpec): Endpoint[] {
  return (spec.guardrails ?? []).flatMap(({ contentSafety }, g): Endpoint[] => {
    if (contentSafety === undefined) return [];
    const field = `spec.guardrails[${g}].contentSafety`;
    const own: Endpoint = { field, component: "gateway", url: contentSafety.endpoint, egress: contentSafety.egress };
    return contentSafety.auth.type === "WorkloadIdentity" ? [own, tokenEndpoint(field)] : [own];
  });
}

/**
 * Entra, where the workload identity's token comes from: public even where the model is behind a private endpoint. Which
 * of its hosts is no matter, as a policy knows addresses alone.
 */
function tokenEndpoint(field: string): Endpoint {
  return { field: `${field}.auth`, component: "gateway", url: "https://login.microsoftonline.com", egress: undefined };
}

/** What the network must allow for one endpoint. */
export function needOf(endpoint: Endpoint, context: { namespace: string; clusterDomain: string }): PeerNeed {
  const url = URL.parse(endpoint.url);
  if (!url) return { kind: "Invalid", message: `${endpoint.field} must hold a URL: current value is ${endpoint.url}` };
  const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
  if (endpoint.egress) return fromEgress(endpoint, { egress: endpoint.egress, port });
  const service = serviceOf(url.hostname, context);
  if (service) return { kind: "Service", ...service, port };
  return fromPublicHost(endpoint, { host: url.hostname.replace(/^\[|\]$/g, ""), port });
}

/** The Service that an in-cluster host name means: NAME, NAME.NAMESPACE.svc or with the cluster's domain. */
function serviceOf(
  host: string,
  context: { readonly namespace: string; readonly clusterDomain: string },
): { readonly namespace: string; readonly name: string } | undefined {
  if (isIPv4(host) || host.startsWith("[")) return undefined;
  const short = host.endsWith(`.svc.${context.clusterDomain}`)
    ? host.slice(0, -context.clusterDomain.length - 1)
    : host;
  const labels = short.split(".");
  if (labels.length === 1) return { namespace: context.namespace, name: host };
  const [name = "", namespace = "", svc] = labels;
  return labels.length === 3 && svc === "svc" ? { namespace, name } : undefined;
}

function fromEgress(endpoint: Endpoint, part: { readonly egress: Egress; readonly port: number }): PeerNeed {
  const { cidrs, ports, namespaceSelector, podSelector } = part.egress;
  const blocks = (cidrs ?? []).map((cidr) => toIpBlock(cidr));
  const bad = (cidrs ?? []).find((_, index) => blocks[index] === undefined);
  if (bad !== undefined)
    return {
      kind: "Invalid",
      message: `${endpoint.field}.egress.cidrs must hold address blocks outside ${LINK_LOCAL}: current value is ${bad}`,
    };
  const selectors =
    namespaceSelector || podSelector
      ? [{ ...(namespaceSelector ? { namespaceSelector } : {}), ...(podSelector ? { podSelector } : {}) }]
      : [];
  const to: EgressRule["to"] = [...blocks.filter((block) => block !== undefined), ...selectors];
  return rule(to.length === 0 ? PUBLIC_PEERS : to, ports ?? [part.port]);
}

function fromPublicHost(endpoint: Endpoint, part: { readonly host: string; readonly port: number }): PeerNeed {
  if (isIPv4(part.host) || isIPv6(part.host))
    return {
      kind: "Invalid",
      message: `${endpoint.field} names an address, so its egress.cidrs must allow it: current value is ${part.host}`,
    };
  if (part.port !== 443)
    return {
      kind: "Invalid",
      message: `${endpoint.field} is outside the cluster and not on port 443, so its egress must name peers: current value is ${part.host}:${part.port}`,
    };
  return rule(PUBLIC_PEERS, [443]);
}

/** What the pods behind a Service are called in a NetworkPolicy, or why that cannot be told. */
export function fromService(
  endpoint: Endpoint,
  need: { readonly namespace: string; readonly port: number },
  service: KubeObject,
): PeerNeed {
  const spec = toRecord(service["spec"]);
  const selector = toRecord(spec["selector"]);
  if (Object.keys(selector).length === 0)
    return {
      kind: "Invalid",
      message: `${endpoint.field} is the Service ${need.namespace}/${service.metadata.name}, which selects no pods, so egress must name its peers`,
    };
  const ports = Array.isArray(spec["ports"]) ? spec["ports"].map(toRecord) : [];
  const match = ports.find((port) => port["port"] === need.port);
  if (!match)
    return {
      kind: "Invalid",
      message: `${endpoint.field} must use a port of the Service ${need.namespace}/${service.metadata.name}: current value is ${need.port}`,
    };
  const target = match["targetPort"];
  const peer = {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": need.namespace } },
    podSelector: { matchLabels: selector },
  };
  return rule([peer], [typeof target === "number" || typeof target === "string" ? target : need.port]);
}

function rule(to: EgressRule["to"], ports: readonly (number | string)[]): PeerNeed {
  return { kind: "Rule", rule: { to, ports: ports.map((port) => ({ port, protocol: "TCP" })) } };
}

// A type and not an interface: peers are passed on as records.
type IpBlock = { readonly ipBlock: { readonly cidr: string; readonly except?: readonly string[] } };

/** A block without the link-local range, where IMDS is; nothing for a block that is none or lies inside it. */
export function toIpBlock(cidr: string): IpBlock | undefined {
  const [address = "", bits = ""] = cidr.split("/");
  if (!/^\d{1,3}$/.test(bits)) return undefined;
  const length = Number(bits);
  if (isIPv4(address) && length <= 32) return toIpBlockV4(cidr, { address: toNumber(address), length });
  const isUsableV6 = isIPv6(address) && length <= 128 && !isLinkLocalV6(address);
  return isUsableV6 ? { ipBlock: { cidr } } : undefined;
}

function toIpBlockV4(cidr: string, block: { readonly address: number; readonly length: number }): IpBlock | undefined {
  const linkLocal = toNumber("169.254.0.0");
  if (block.length >= 16) return mask(block.address, 16) === linkLocal ? undefined : { ipBlock: { cidr } };
  const holdsLinkLocal = mask(block.address, block.length) === mask(linkLocal, block.length);
  return { ipBlock: { cidr, ...(holdsLinkLocal ? { except: [LINK_LOCAL] } : {}) } };
}

function isLinkLocalV6(address: string): boolean {
  return /^fe[89ab]/i.test(address);
}

function toNumber(address: string): number {
  return address.split(".").reduce((value, part) => value * 256 + Number(part), 0);
}

function mask(address: number, length: number): number {
  const size = 2 ** (32 - length);
  return Math.floor(address / size) * size;
}

function toRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
