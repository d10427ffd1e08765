import { z } from "zod";
import { HARM_CATEGORIES, LOCAL_DETECTORS } from "./guardrails.ts";
import { entitlementSchema } from "./pod-usage.ts";
import { RATE_SUBJECTS } from "./rate-limits.ts";

/**
 * The slow path of change (docs/decisions/0002): what the operator renders into one ConfigMap per agent and the kubelet
 * mounts, one file per component. The digest of a config is the SHA-256 of the file's bytes, in hex.
 */
const agentRefSchema = z.object({ namespace: z.string(), name: z.string() });

/** Whom our own pods believe: tokens of the cluster's issuer, for this audience, from these accounts. */
export const serviceIdentitySchema = z.object({
  issuer: z.string(),
  audience: z.string(),
  /** `system:serviceaccount:NAMESPACE:NAME` */
  subjects: z.array(z.string()).max(16),
  jwks: z.object({ keys: z.array(z.record(z.string(), z.unknown())).max(16) }),
});
export type ServiceIdentity = z.output<typeof serviceIdentitySchema>;

const upstreamAuthSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("None") }),
  z.object({ type: z.literal("WorkloadIdentity") }),
  /** The file is read again when it changes: secrets rotate without a restart. */
  z.object({ type: z.literal("SecretFile"), file: z.string() }),
]);
export type UpstreamAuth = z.output<typeof upstreamAuthSchema>;

const gatewayDeploymentSchema = z.object({
  name: z.string(),
  type: z.enum(["AzureOpenAI", "OpenAI"]),
  /** Up to and including /v1, without a final slash. */
  baseUrl: z.string(),
  /** What the upstream calls the model. */
  model: z.string(),
  auth: upstreamAuthSchema,
  priority: z.int(),
  weight: z.int(),
});
export type GatewayDeployment = z.output<typeof gatewayDeploymentSchema>;

/** An issuer whose tokens let clients in. Empty lists ask for nothing. */
const oidcIssuerSchema = z.object({
  name: z.string(),
  issuer: z.string(),
  audience: z.string(),
  /** Where the keys are; what the issuer's discovery document says if absent. */
  jwksUri: z.string().exactOptional(),
  entra: z.object({ tenantId: z.string(), tokenVersion: z.enum(["V1", "V2"]) }).exactOptional(),
  actors: z.array(z.string()),
  roles: z.array(z.string()),
  scopes: z.array(z.string()),
});
export type OidcIssuer = z.output<typeof oidcIssuerSchema>;

const guardrailCommon = {
  name: z.string(),
  phase: z.enum(["Input", "Output"]),
  action: z.enum(["Reject", "Mask", "Alert"]),
  failureMode: z.enum(["Closed", "Open"]),
};
/** A resource of Azure AI Content Safety, and how long one check may take. */
const contentSafetyCommon = {
  /** Without a final slash. */
  endpoint: z.string(),
  auth: upstreamAuthSchema,
  timeoutMs: z.int(),
};

const gatewayGuardrailSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("PromptShields"), ...guardrailCommon, ...contentSafetyCommon }),
  z.object({
    type: z.literal("AnalyzeText"),
    ...guardrailCommon,
    ...contentSafetyCommon,
    /** From which severity of eight a category is a hit. */
    categories: z.array(z.object({ category: z.enum(HARM_CATEGORIES), severityMin: z.int() })),
    blocklists: z.array(z.string()),
  }),
  z.object({
    type: z.literal("LocalRules"),
    ...guardrailCommon,
    detect: z.array(z.enum(LOCAL_DETECTORS)),
    denyWords: z.array(z.string()),
    allowWords: z.array(z.string()),
  }),
  /** Azure's own filter beside its models: what becomes of an answer that it could not judge. */
  z.object({ type: z.literal("AzureContentFilter"), ...guardrailCommon }),
]);
export type GatewayGuardrail = z.output<typeof gatewayGuardrailSchema>;

export const gatewayConfigSchema = z.object({
  agent: agentRefSchema,
  models: z.array(
    z.object({
      name: z.string(),
      outputTokensMax: z.int(),
      firstByteTimeoutMs: z.int().min(1).exactOptional(),
      deployments: z.array(gatewayDeploymentSchema).min(1),
    }),
  ),
  orchestrator: z.object({
    url: z.string(),
    /** Audience of the token that we present there. */
    audience: z.string(),
  }),
  apiKeys: z.array(
    z.object({ name: z.string(), sha256: z.string(), principal: z.string(), expiresAt: z.string().optional() }),
  ),
  oidc: z.array(oidcIssuerSchema).exactOptional(),
  /** Gateway pods, which share each rate; one if absent. */
  pods: z.int().min(1).max(100).exactOptional(),
  rateLimits: z
    .array(
      z.object({
        name: z.string(),
        per: z.enum(RATE_SUBJECTS),
        mode: z.enum(["Enforce", "Shadow"]),
        requestsPerMinute: z.int().min(1).exactOptional(),
        tokensPerMinute: z.int().min(1).exactOptional(),
      }),
    )
    .exactOptional(),
  /** In the order in which they are asked. */
  guardrails: z.array(gatewayGuardrailSchema).exactOptional(),
  /** Who among our own pods may call: the agent's orchestrator. */
  serviceIdentity: serviceIdentitySchema,
});
export type GatewayConfig = z.output<typeof gatewayConfigSchema>;

const orchestratorToolSchema = z.object({
  name: z.string(),
  url: z.string(),
  auth: upstreamAuthSchema,
  functions: z.array(
    z.object({
      name: z.string(),
      lane: z.enum(["Automatic", "Approval", "Never"]),
      callsPerRun: z.int().optional(),
      callsPerHour: z.int().optional(),
      overLimit: z.enum(["Approval", "Never"]),
      retry: z.enum(["Unsafe", "Safe"]),
      /** What a result of this function may report as used. */
      usage: z.array(z.object({ dimension: z.string(), maxPerCall: z.string() })).exactOptional(),
    }),
  ),
});
export type OrchestratorTool = z.output<typeof orchestratorToolSchema>;

export const orchestratorConfigSchema = z.object({
  agent: agentRefSchema,
  generation: z.int(),
  instructions: z.string(),
  /** The alias the agent thinks with. */
  model: z.string(),
  gateway: z.object({
    /** Without a path: http://NAME-gateway.NAMESPACE.svc.cluster.local:8080 */
    url: z.string(),
    audience: z.string(),
  }),
  tools: z.array(orchestratorToolSchema),
  budgets: z.object({ turns: z.int(), toolCalls: z.int().optional() }),
  /** How people are asked; absent where no call can need one. */
  approvals: z
    .object({ timeoutSeconds: z.int().min(1), reasonRequired: z.enum(["Always", "OnDeny", "Never"]) })
    .exactOptional(),
  /** Who may call: the agent's gateway. */
  serviceIdentity: serviceIdentitySchema,
});
export type OrchestratorConfig = z.output<typeof orchestratorConfigSchema>;

/** The fast path: `control.json`, written by the sidecar from PodUsage.spec, read by the service. */
export const controlSchema = z.object({
  mode: z.enum(["Running", "Constrained", "Paused", "Revoked"]),
  revokedKeys: z.array(z.string()).default([]),
  entitlement: entitlementSchema,
  /** Ceilings on the service's own counters: what earlier epochs counted is taken off those of the PodUsage. */
  leases: z.array(z.object({ dimension: z.string(), upTo: z.string() })).default([]),
  /** The epoch that the ceilings are for: until the sidecar has seen the service's, nothing limited may begin. Absent: any. */
  epoch: z.string().max(64).optional(),
  term: z.int().default(0),
  clockOffsetSeconds: z.int().default(0),
});
export type Control = z.output<typeof controlSchema>;
