import { hash } from "node:crypto";
import {
  type GatewayConfig,
  type GatewayDeployment,
  type GatewayGuardrail,
  gatewayConfigSchema,
  type UpstreamAuth,
} from "#core/api/pod-config.ts";
import { ConfigError, parseConfig } from "#runtime/config.ts";
import { createServiceVerifier, type ServiceIdentityResult } from "#runtime/service-identity.ts";
import { createLocalMatcher } from "./guardrails/local/matcher.ts";
import type { InputMask } from "./guardrails/mask/mask-input.ts";
import { guardrailPoolKey, poolId } from "./upstream/upstream.ts";

/** One alias with its deployments, lowest priority number first. */
export interface ModelRoute {
  readonly alias: string;
  readonly outputTokensMax: number;
  /** Until an answer begins; what is usual for its kind if undefined. */
  readonly firstByteTimeoutMs: number | undefined;
  readonly groups: readonly (readonly GatewayDeployment[])[];
}

/** Where requests of one base URL go. */
export interface Endpoint {
  readonly origin: string;
  /** Without a final slash. */
  readonly basePath: string;
}

export interface KeyRecord {
  readonly name: string;
  readonly sha256: string;
  readonly principal: string;
  readonly expiresAtMs: number | undefined;
}

/** A configuration made ready for the hot path; replaced as a whole when the file changes. */
export interface Snapshot {
  readonly config: GatewayConfig;
  /** `namespace/name`, as audit lines tell it. */
  readonly agent: string;
  /** The first twelve digits of the file's SHA-256: which rules decided, in audit lines. */
  readonly version: string;
  readonly models: ReadonlyMap<string, ModelRoute>;
  readonly keys: ReadonlyMap<string, KeyRecord>;
  /** The parts of every URL of the configuration. */
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** Whether there is anybody to ask about a request. */
  readonly hasInputGuardrails: boolean;
  /** Whether answers are looked at; Azure's own filter is watched without that. */
  readonly hasOutputGuardrails: boolean;
  /** What is replaced in requests, in the order of the configuration. */
  readonly inputMasks: readonly InputMask[];
  /** What becomes of an answer that Azure's content filter did not judge, as it was down: it passes if absent. */
  readonly contentFilter: Extract<GatewayGuardrail, { type: "AzureContentFilter" }> | undefined;
  readonly verifyService: (token: string, nowMs: number) => Promise<ServiceIdentityResult>;
}

const VERSION_DIGITS = 12;

/** Parses config.json. Throws ConfigError with every problem at once. */
export function parseSnapshot(text: string): Snapshot {
  const config = parseConfig(gatewayConfigSchema, parseJson(text), {
    subject: "the gateway's config",
    secrets: ["apiKeys"],
  });
  const problems = crossProblems(config);
  if (problems.length > 0) throw new ConfigError("the gateway's config", problems);
  return {
    config,
    agent: `${config.agent.namespace}/${config.agent.name}`,
    version: hash("sha256", text).slice(0, VERSION_DIGITS),
    models: new Map(config.models.map((model) => [model.name, toModelRoute(model)])),
    keys: new Map(config.apiKeys.map((key) => [key.sha256, toKeyRecord(key)])),
    endpoints: new Map(urlsOf(config).map(({ url }) => [url, toEndpoint(url)])),
    hasOutputGuardrails: (config.guardrails ?? []).some(
      ({ phase, type }) => phase === "Output" && type !== "AzureContentFilter",
    ),
    hasInputGuardrails: (config.guardrails ?? []).some(({ phase, action }) => phase === "Input" && action !== "Mask"),
    inputMasks: (config.guardrails ?? []).flatMap(toInputMask),
    contentFilter: (config.guardrails ?? []).find((guardrail) => guardrail.type === "AzureContentFilter"),
    verifyService: createServiceVerifier(config.serviceIdentity),
  };
}

function toInputMask(guardrail: GatewayGuardrail): InputMask[] {
  const { type, phase, action, name } = guardrail;
  if (type !== "LocalRules" || phase !== "Input" || action !== "Mask") return [];
  return [{ name, matcher: createLocalMatcher(guardrail) }];
}

/** The rules between fields, and what a type cannot say. */
function crossProblems(config: GatewayConfig): string[] {
  return [
    ...urlsOf(config)
      .filter(({ url }) => !/^https?:$/.test(URL.parse(url)?.protocol ?? ""))
      .map(({ field, url }) => `${field}: must be an http or https URL: current value is ${JSON.stringify(url)}`),
    ...duplicates(config.models.map((model) => model.name)).map((name) => `models: ${name} must be named once`),
    ...config.models.flatMap((model) =>
      duplicates(model.deployments.map((each) => each.name)).map(
        (name) => `models.${model.name}: ${name} must be named once`,
      ),
    ),
    ...duplicates((config.oidc ?? []).map((each) => each.name)).map((name) => `oidc: ${name} must be named once`),
    ...duplicates((config.guardrails ?? []).map((each) => each.name)).map(
      (name) => `guardrails: ${name} must be named once`,
    ),
    ...config.apiKeys
      .filter((key) => key.expiresAt !== undefined && Number.isNaN(Date.parse(key.expiresAt)))
      .map(
        (key) =>
          `apiKeys.${key.name}.expiresAt: must be an RFC 3339 time: current value is ${JSON.stringify(key.expiresAt)}`,
      ),
  ];
}

function urlsOf(config: GatewayConfig): { readonly field: string; readonly url: string }[] {
  return [
    { field: "orchestrator.url", url: config.orchestrator.url },
    ...(config.oidc ?? []).map((each) => ({ field: `oidc.${each.name}.issuer`, url: each.issuer })),
    ...config.models.flatMap((model) =>
      model.deployments.map((each) => ({ field: `models.${model.name}.${each.name}.baseUrl`, url: each.baseUrl })),
    ),
    ...servicesOf(config).map((each) => ({ field: `guardrails.${each.name}.endpoint`, url: each.endpoint })),
  ];
}

/** A guardrail that asks somebody. */
export type ServiceGuardrail = Exclude<GatewayGuardrail, { type: "AzureContentFilter" | "LocalRules" }>;

/** The guardrails that ask somebody. */
function servicesOf(config: GatewayConfig): ServiceGuardrail[] {
  return (config.guardrails ?? []).filter(
    (guardrail) => guardrail.type !== "AzureContentFilter" && guardrail.type !== "LocalRules",
  );
}

/** The parts of one of the snapshot's URLs. */
export function endpointOf(snapshot: Snapshot, url: string): Endpoint {
  return snapshot.endpoints.get(url) ?? toEndpoint(url);
}

function toEndpoint(url: string): Endpoint {
  const { origin, pathname } = new URL(url);
  return { origin, basePath: pathname.replace(/\/$/, "") };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigError("the gateway's config", ["(root): must be JSON"]);
  }
}

function duplicates(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, index) => names.indexOf(name) !== index))];
}

function toModelRoute(model: GatewayConfig["models"][number]): ModelRoute {
  const priorities = [...new Set(model.deployments.map((each) => each.priority))].sort((a, b) => a - b);
  return {
    alias: model.name,
    outputTokensMax: model.outputTokensMax,
    firstByteTimeoutMs: model.firstByteTimeoutMs,
    groups: priorities.map((priority) => model.deployments.filter((each) => each.priority === priority)),
  };
}

function toKeyRecord(key: GatewayConfig["apiKeys"][number]): KeyRecord {
  return {
    name: key.name,
    sha256: key.sha256,
    principal: key.principal,
    expiresAtMs: key.expiresAt === undefined ? undefined : Date.parse(key.expiresAt),
  };
}

/** The mounted secrets that a configuration names. */
export function secretFiles(snapshot: Snapshot): ReadonlySet<string> {
  return new Set(authsOf(snapshot).flatMap((auth) => (auth.type === "SecretFile" ? [auth.file] : [])));
}

function authsOf({ config }: Snapshot): UpstreamAuth[] {
  return [
    ...config.models.flatMap((model) => model.deployments.map((each) => each.auth)),
    ...servicesOf(config).map((each) => each.auth),
  ];
}

/** The pools that a configuration uses. */
export function poolIds(snapshot: Snapshot): ReadonlySet<string> {
  const { config } = snapshot;
  return new Set([
    poolId("orchestrator", endpointOf(snapshot, config.orchestrator.url).origin),
    ...config.models.flatMap((model) =>
      model.deployments.map((each) => poolId(`${model.name}/${each.name}`, endpointOf(snapshot, each.baseUrl).origin)),
    ),
    ...servicesOf(config).map((each) =>
      poolId(guardrailPoolKey(each.name), endpointOf(snapshot, each.endpoint).origin),
    ),
  ]);
}

export function needsWorkloadIdentity(snapshot: Snapshot): boolean {
  return authsOf(snapshot).some((auth) => auth.type === "WorkloadIdentity");
}
