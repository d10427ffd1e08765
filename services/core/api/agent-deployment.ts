import { z } from "zod";
import { agentDeploymentStatusSchema } from "./agent-deployment-status.ts";
import { authSchema } from "./auth.ts";
import { authSpecSchema, egressSchema, secretKeyRefSchema, urlSchema } from "./endpoint.ts";
import { guardrailSchema } from "./guardrails.ts";
import { cel, countSchema, dimensionSchema, mapList, nameSchema, objectMetaSchema, setList } from "./meta.ts";
import { BASE_DIMENSIONS, BILLING_PERIOD } from "../usage.ts";
import { rateLimitSchema } from "./rate-limits.ts";
import { telemetrySchema } from "./telemetry.ts";
import { workloadRules, workloadSchema } from "./workload.ts";

/** Base dimensions that no agent may declare: the platform counts them, the last one the reporter alone. */
const RESERVED = [...BASE_DIMENSIONS, BILLING_PERIOD];

/** The longest name: a child adds a suffix of at most 23 characters and stays a DNS label. */
export const AGENT_NAME_MAX = 40;

const modelDeploymentSchema = z
  .object({
    name: nameSchema,
    type: z
      .enum(["AzureOpenAI", "OpenAI"])
      .describe("Which API answers: Azure OpenAI v1 or any OpenAI-compatible endpoint."),
    azureOpenAI: z
      .object({
        endpoint: urlSchema.describe("https://RESOURCE.openai.azure.com"),
        deployment: z.string().min(1).max(128),
      })
      .optional(),
    openAI: z
      .object({ baseUrl: urlSchema.describe("Base URL up to and including /v1."), model: z.string().min(1).max(128) })
      .optional(),
    auth: authSpecSchema.prefault({}),
    priority: z.int32().min(0).max(100).default(0).describe("Lower is tried first."),
    weight: z.int32().min(1).max(1000).default(1).describe("Share inside one priority."),
    price: z
      .object({
        inputMicrosPerMillionTokens: countSchema,
        outputMicrosPerMillionTokens: countSchema,
      })
      .optional()
      .describe("Millionths of the billing currency per million tokens."),
    egress: egressSchema.optional(),
  })
  .meta(
    cel(
      {
        rule: "has(self.azureOpenAI) == (self.type == 'AzureOpenAI')",
        message: "azureOpenAI must be set exactly when type is AzureOpenAI",
        reason: "FieldValueInvalid",
      },
      {
        rule: "has(self.openAI) == (self.type == 'OpenAI')",
        message: "openAI must be set exactly when type is OpenAI",
        reason: "FieldValueInvalid",
      },
    ),
  );

const modelSchema = z.object({
  name: nameSchema.describe("The alias that callers name as `model`."),
  outputTokensMax: z
    .int32()
    .min(1)
    .max(1_000_000)
    .default(4096)
    .describe("Output cap written into requests that carry none."),
  firstByteTimeoutMs: z
    .int32()
    .min(100)
    .max(600_000)
    .optional()
    .describe(
      "A deployment whose answer has not begun after so long is left for another one. An answer that is not streamed begins when it is whole. If absent 120000, and 300000 for those.",
    ),
  deployments: z.array(modelDeploymentSchema).min(1).max(8).meta(mapList("name")),
});

/** What one function may report as used in its result's `_meta["supercargo.dev/usage"]`; sold by the catalogue like any other. */
const declaredUsageSchema = z.object({
  dimension: dimensionSchema
    .meta(
      cel({
        rule: `!(self in [${RESERVED.map((name) => `'${name}'`).join(", ")}])`,
        message: `dimension must be a name of the agent's own, not one that Supercargo counts: ${RESERVED.join(", ")}`,
        reason: "FieldValueInvalid",
      }),
    )
    .describe("The base dimension to count."),
  maxPerCall: z
    .string()
    .max(12)
    .regex(/^[1-9][0-9]{0,11}$/)
    .describe("Base units of one call; a higher report counts as this and is logged."),
});

const toolFunctionSchema = z.object({
  name: z
    .string()
    .min(1)
    .max(64)
    .regex(/^[a-zA-Z0-9_-]+$/),
  lane: z.enum(["Automatic", "Approval", "Never"]).default("Never"),
  limits: z
    .object({
      callsPerRun: z.int32().min(0).max(10_000).optional(),
      callsPerHour: z.int32().min(0).max(1_000_000).optional(),
    })
    .optional(),
  overLimit: z.enum(["Approval", "Never"]).default("Never").describe("The lane of a call over its limit."),
  retry: z
    .enum(["Unsafe", "Safe"])
    .default("Unsafe")
    .describe(
      "Safe: a call whose outcome a crash hid is repeated with its idempotency key. Unsafe: it becomes unknown.",
    ),
  usage: z
    .array(declaredUsageSchema)
    .max(8)
    .meta(mapList("dimension"))
    .optional()
    .describe('Usage that a result may report in `_meta["supercargo.dev/usage"]`.'),
});

const toolSchema = z.object({
  name: nameSchema,
  mcp: z.object({
    url: urlSchema.describe("MCP server, Streamable HTTP."),
    auth: z
      .object({ type: z.enum(["None", "SecretRef"]).default("None"), secretRef: secretKeyRefSchema.optional() })
      .meta(
        cel({
          rule: "has(self.secretRef) == (self.type == 'SecretRef')",
          message: "secretRef must be set exactly when type is SecretRef",
          reason: "FieldValueInvalid",
        }),
      )
      .prefault({}),
    egress: egressSchema.optional(),
  }),
  functions: z
    .array(toolFunctionSchema)
    .min(1)
    .max(64)
    .meta(mapList("name"))
    .describe("A function not listed is Never."),
});

const limitSchema = z.object({
  name: nameSchema,
  dimension: dimensionSchema,
  window: z.enum(["Hour", "Day", "Month"]),
  softPercent: z.int32().min(1).max(100).default(80),
  hard: countSchema.describe("Base units in one window; never exceeded by what is counted."),
  action: z.enum(["Alert", "Throttle", "Pause"]).default("Throttle"),
});

const onBreachSchema = z.enum(["Stop", "Degrade", "Ask"]).default("Stop");
const budgetSchema = z.object({ max: z.int32().min(1), onBreach: onBreachSchema });

const budgetsSchema = z.object({
  turns: budgetSchema.prefault({ max: 20 }).describe("Model calls per run."),
  toolCalls: budgetSchema.optional(),
  tokens: budgetSchema.optional(),
  durationSeconds: budgetSchema.optional(),
  costMicros: budgetSchema.optional(),
});

const exposureSchema = z.object({
  type: z.enum(["ClusterIP", "LoadBalancer", "Gateway"]).default("ClusterIP"),
  host: z.string().max(253).optional(),
  allowedNamespaces: z
    .array(z.string().min(1).max(63))
    .max(32)
    .meta(setList)
    .optional()
    .describe("Namespaces whose pods may call the gateway; the agent's own namespace is not implied."),
  auth: authSchema.prefault({}),
  rateLimits: z.array(rateLimitSchema).max(16).meta(mapList("name")).optional(),
});

const approvalsSchema = z.object({
  timeoutSeconds: z.int32().min(60).max(604_800).default(3600),
  onTimeout: z.enum(["Deny"]).default("Deny"),
  reasonRequired: z.enum(["Always", "OnDeny", "Never"]).default("OnDeny"),
  callers: z
    .enum(["Forbidden", "Allowed"])
    .default("Forbidden")
    .describe("Allowed: a caller's token may decide over HTTP."),
});

export const agentDeploymentSpecSchema = z
  .object({
    mode: z
      .enum(["Running", "Constrained", "Paused", "Revoked"])
      .default("Running")
      .describe(
        "Constrained: Automatic acts as Approval. Paused: no new runs. Revoked: every call is refused, orchestrator pods go.",
      ),
    instructions: z.string().max(32_768).optional().describe("What the agent is told before every run."),
    instructionsFrom: z
      .object({ configMapKeyRef: z.object({ name: z.string().min(1).max(253), key: z.string().min(1).max(253) }) })
      .optional(),
    identity: z
      .object({
        clientId: z.string().max(64).optional().describe("Client id of the managed identity for workload identity."),
        serviceAccountName: z
          .string()
          .max(253)
          .optional()
          .describe("An existing ServiceAccount to use instead of our own."),
      })
      .optional(),
    models: z.array(modelSchema).min(1).max(8).meta(mapList("name")),
    tools: z.array(toolSchema).max(32).meta(mapList("name")).optional(),
    approvals: approvalsSchema.prefault({}),
    limits: z.array(limitSchema).max(32).meta(mapList("name")).optional(),
    budgets: budgetsSchema.prefault({}),
    guardrails: z.array(guardrailSchema).max(16).meta(mapList("name")).optional(),
    exposure: exposureSchema.prefault({}),
    telemetry: telemetrySchema.optional(),
    gateway: workloadSchema.prefault({}),
    orchestrator: workloadSchema
      .extend({
        model: nameSchema.optional().describe("Alias the agent thinks with; the first of spec.models if absent."),
        storage: z
          .object({
            type: z.enum(["Volume", "PostgreSQL", "Ephemeral"]).default("Volume"),
            volume: z
              .object({ size: z.string().max(32).default("1Gi"), storageClassName: z.string().max(253).optional() })
              .optional(),
            postgreSQL: z.object({ secretRef: secretKeyRefSchema }).optional(),
          })
          .meta(
            cel({
              rule: "has(self.postgreSQL) == (self.type == 'PostgreSQL')",
              message: "postgreSQL must be set exactly when type is PostgreSQL",
              reason: "FieldValueInvalid",
            }),
          )
          .prefault({}),
      })
      .meta(cel(...workloadRules))
      .prefault({}),
  })
  .meta(
    cel(
      {
        rule: "!(has(self.instructions) && has(self.instructionsFrom))",
        message: "instructions and instructionsFrom exclude each other",
        fieldPath: ".instructionsFrom",
        reason: "FieldValueInvalid",
      },
      {
        rule: "!has(self.orchestrator.model) || self.models.exists(m, m.name == self.orchestrator.model)",
        message: "orchestrator.model must name one of models",
        fieldPath: ".orchestrator.model",
        reason: "FieldValueInvalid",
      },
      {
        rule: "self.orchestrator.storage.type == 'PostgreSQL' || !has(self.orchestrator.replicas) || self.orchestrator.replicas <= 1",
        message: "orchestrator.replicas must be 0 or 1 unless storage.type is PostgreSQL",
        fieldPath: ".orchestrator.replicas",
        reason: "FieldValueInvalid",
      },
    ),
  );

/** The agent as people ask for it. Plan and metering are not here: the customer edits this object, the plan was bought. */
export const agentDeploymentSchema = z.object({
  apiVersion: z.string(),
  kind: z.literal("AgentDeployment"),
  metadata: objectMetaSchema,
  spec: agentDeploymentSpecSchema,
  status: agentDeploymentStatusSchema.optional(),
});

export type AgentDeploymentSpec = z.output<typeof agentDeploymentSpecSchema>;
/** A deployment of a model as the spec names it. */
export type ModelDeployment = z.output<typeof modelDeploymentSchema>;
/** Named network peers. */
export type Egress = z.output<typeof egressSchema>;
