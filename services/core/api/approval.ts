import { z } from "zod";
import { cel, countSchema, objectMetaSchema, timeSchema } from "./meta.ts";

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);

/** What the orchestrator asks, bound to a digest of exactly that; immutable. */
const requestSchema = z
  .object({
    agentDeployment: z.string().min(1).max(63),
    agentGeneration: countSchema,
    runId: z.string().min(1).max(128),
    callId: z.string().min(1).max(256),
    server: z.string().min(1).max(63),
    tool: z.string().min(1).max(64),
    arguments: z.string().max(16_384).describe("Canonical JSON (RFC 8785)."),
    digest: sha256Schema.describe(
      "SHA-256 over agent, generation, run, call, server, tool, canonical arguments and rule version.",
    ),
    rule: z.string().min(1).max(128),
    actingFor: z.string().min(1).max(512),
    reason: z.string().max(1024),
    expiresAt: timeSchema,
  })
  .meta(cel({ rule: "self == oldSelf", message: "request is immutable", reason: "FieldValueForbidden" }));

/** What a person decided; written once. */
const decisionSchema = z
  .object({
    verdict: z.enum(["Approve", "Deny"]),
    decidedBy: z.string().min(1).max(512),
    decidedAt: timeSchema,
    via: z.enum(["Kubernetes", "HTTP"]).default("Kubernetes"),
    reason: z.string().max(1024).optional(),
    digest: sha256Schema.describe("Must repeat the request's digest: the decision is about exactly that."),
  })
  .meta(cel({ rule: "self == oldSelf", message: "decision is immutable", reason: "FieldValueForbidden" }));

export const approvalSpecSchema = z.object({ request: requestSchema, decision: decisionSchema.optional() }).meta(
  cel(
    {
      rule: "!has(self.decision) || self.decision.digest == self.request.digest",
      message: "decision.digest must equal request.digest",
      reason: "FieldValueInvalid",
    },
    {
      rule: "!has(oldSelf.decision) || has(self.decision)",
      message: "a decision cannot be withdrawn",
      reason: "FieldValueForbidden",
    },
  ),
);

/** One pending action of an agent that a person must decide. */
export const approvalSchema = z.object({
  apiVersion: z.string(),
  kind: z.literal("Approval"),
  metadata: objectMetaSchema,
  spec: approvalSpecSchema,
});
