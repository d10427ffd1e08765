import type { ModelDeployment } from "#core/api/agent-deployment.ts";
import type { OidcAuth } from "#core/api/auth.ts";
import type {
  GatewayConfig,
  OidcIssuer,
  OrchestratorConfig,
  ServiceIdentity,
  UpstreamAuth,
} from "#core/api/pod-config.ts";
import type { RateLimitSpec } from "#core/api/rate-limits.ts";
import { audienceOf, POD_PATHS, POD_PORTS, serviceAccountSubject } from "#core/pod-paths.ts";
import { CONFIG_MAPS } from "#runtime/kube/resources.ts";
import { canonicalJson, sha256 } from "../canonical.ts";
import { approvalsConfig } from "./approvals.ts";
import { toGatewayGuardrail } from "./guardrails.ts";
import { type DesiredInput, replicaRange, serviceAccountOf, serviceHost } from "./input.ts";
import { child, childName, type Component, type DesiredObject } from "./names.ts";

/** The configuration of both components: what the kubelet mounts, and the digests that the pods echo. */
export interface RenderedConfig {
  readonly object: DesiredObject;
  readonly digests: Readonly<Record<Component, string>>;
}

/** One ConfigMap per agent. A change of it restarts no pod: the services read the mounted file again. */
export function renderConfig(input: DesiredInput): RenderedConfig {
  const data = {
    "gateway.json": canonicalJson(gatewayConfig(input)),
    "orchestrator.json": canonicalJson(orchestratorConfig(input)),
  };
  const digests = { gateway: sha256(data["gateway.json"]), orchestrator: sha256(data["orchestrator.json"]) };
  const object = child(input.agent, {
    ref: CONFIG_MAPS,
    name: childName(input.agent, "config"),
    annotations: {
      "supercargo.dev/gateway-digest": digests.gateway,
      "supercargo.dev/orchestrator-digest": digests.orchestrator,
    },
    body: { data },
  });
  return { object, digests };
}

function gatewayConfig(input: DesiredInput): GatewayConfig {
  const { agent, spec } = input;
  // Each pod has its share of a rate: the more there may be, the smaller it is.
  const pods = replicaRange(spec, "gateway").max;
  return {
    agent: { namespace: agent.namespace, name: agent.name },
    models: spec.models.map((model) => ({
      name: model.name,
      outputTokensMax: model.outputTokensMax,
      ...(model.firstByteTimeoutMs === undefined ? {} : { firstByteTimeoutMs: model.firstByteTimeoutMs }),
      deployments: model.deployments.map(toGatewayDeployment),
    })),
    orchestrator: {
      url: `http://${serviceHost(input, "orchestrator")}:${POD_PORTS.orchestrator}`,
      audience: audienceOf({ component: "orchestrator", ...ref(input) }),
    },
    apiKeys: (spec.exposure.auth.apiKeys ?? []).map(({ name, sha256: hash, principal, expiresAt }) => ({
      name,
      sha256: hash,
      principal,
      ...(expiresAt === undefined ? {} : { expiresAt }),
    })),
    // Left out where there is none: the digest of an agent without issuers stays what it was.
    ...(spec.exposure.auth.oidc?.length ? { oidc: spec.exposure.auth.oidc.map(toOidcIssuer) } : {}),
    ...(pods > 1 ? { pods } : {}),
    ...(spec.exposure.rateLimits?.length ? { rateLimits: spec.exposure.rateLimits.map(toRateLimit) } : {}),
    ...(spec.guardrails?.length
      ? { guardrails: spec.guardrails.flatMap((guardrail) => toGatewayGuardrail(guardrail, toAuth)) }
      : {}),
    serviceIdentity: serviceIdentity(input, "gateway"),
  };
}

function orchestratorConfig(input: DesiredInput): OrchestratorConfig {
  const { agent, spec } = input;
  return {
    agent: { namespace: agent.namespace, name: agent.name },
    generation: agent.generation,
    instructions: input.instructions,
    model: spec.orchestrator.model ?? spec.models[0]?.name ?? "",
    gateway: {
      url: `http://${serviceHost(input, "gateway")}:${POD_PORTS.gateway}`,
      audience: audienceOf({ component: "gateway", ...ref(input) }),
    },
    tools: (spec.tools ?? []).map((tool) => ({
      name: tool.name,
      url: tool.mcp.url,
      auth: toAuth(tool.mcp.auth),
      functions: tool.functions.map((entry) => ({
        name: entry.name,
        lane: entry.lane,
        ...(entry.limits?.callsPerRun === undefined ? {} : { callsPerRun: entry.limits.callsPerRun }),
        ...(entry.limits?.callsPerHour === undefined ? {} : { callsPerHour: entry.limits.callsPerHour }),
        overLimit: entry.overLimit,
        retry: entry.retry,
        ...(entry.usage === undefined ? {} : { usage: entry.usage }),
      })),
    })),
    budgets: {
      turns: spec.budgets.turns.max,
      ...(spec.budgets.toolCalls === undefined ? {} : { toolCalls: spec.budgets.toolCalls.max }),
    },
    ...approvalsConfig(spec),
    serviceIdentity: serviceIdentity(input, "orchestrator"),
  };
}

function toRateLimit(limit: RateLimitSpec): NonNullable<GatewayConfig["rateLimits"]>[number] {
  const { name, per, mode, requestsPerMinute, tokensPerMinute } = limit;
  return {
    name,
    per,
    mode,
    ...(requestsPerMinute === undefined ? {} : { requestsPerMinute }),
    ...(tokensPerMinute === undefined ? {} : { tokensPerMinute }),
  };
}

function toOidcIssuer(oidc: OidcAuth): OidcIssuer {
  const { name, issuer, audience, entra, jwksUri } = oidc;
  return {
    name,
    issuer,
    audience,
    ...(jwksUri === undefined ? {} : { jwksUri }),
    ...(entra === undefined ? {} : { entra: { tenantId: entra.tenantId, tokenVersion: entra.tokenVersion } }),
    actors: [...(oidc.actors ?? [])],
    roles: [...(oidc.roles ?? [])],
    scopes: [...(oidc.scopes ?? [])],
  };
}

/** Each component believes the other one's account alone. */
function serviceIdentity(input: DesiredInput, component: Component): ServiceIdentity {
  const caller = component === "gateway" ? "orchestrator" : "gateway";
  return {
    issuer: input.cluster.issuer,
    audience: audienceOf({ component, ...ref(input) }),
    subjects: [serviceAccountSubject({ namespace: input.agent.namespace, name: serviceAccountOf(input, caller) })],
    jwks: { keys: input.cluster.jwks.keys.map((key) => ({ ...key })) },
  };
}

function toGatewayDeployment(deployment: ModelDeployment): GatewayConfig["models"][number]["deployments"][number] {
  const { name, type, priority, weight } = deployment;
  return { name, type, ...endpointOf(deployment), auth: toAuth(deployment.auth), priority, weight };
}

/** Base URL up to and including /v1, and the upstream's name of the model. */
export function endpointOf(deployment: ModelDeployment): { readonly baseUrl: string; readonly model: string } {
  if (deployment.azureOpenAI)
    return {
      baseUrl: `${deployment.azureOpenAI.endpoint.replace(/\/+$/, "")}/openai/v1`,
      model: deployment.azureOpenAI.deployment,
    };
  return {
    baseUrl: (deployment.openAI?.baseUrl ?? "").replace(/\/+$/, ""),
    model: deployment.openAI?.model ?? "",
  };
}

function toAuth(auth: {
  readonly type: "None" | "WorkloadIdentity" | "SecretRef";
  readonly secretRef?: { readonly name: string; readonly key: string } | undefined;
}): UpstreamAuth {
  if (auth.secretRef)
    return { type: "SecretFile", file: `${POD_PATHS.secrets}/${auth.secretRef.name}/${auth.secretRef.key}` };
  return { type: auth.type === "WorkloadIdentity" ? "WorkloadIdentity" : "None" };
}

function ref(input: DesiredInput): { readonly namespace: string; readonly name: string } {
  return { namespace: input.agent.namespace, name: input.agent.name };
}
