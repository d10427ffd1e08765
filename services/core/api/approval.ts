import { z } from "zod";
import { APPROVAL_ARGUMENTS_MAX } from "../approvals.ts";
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
    arguments: z.string().max(APPROVAL_ARGUMENTS_MAX).describe("Canonical JSON (RFC 8785)."),
    ruleVersion: z
      .string()
      .min(1)
      .max(64)
      .describe("Version of the rules that asked, and a digest of the tool as the AgentDeployment has it."),
    digest: sha256Schema.describe(
      "SHA-256 over namespace, agent, generation, run, call, server, tool, canonical arguments and rule version.",
    ),
    rule: z.string().min(1).max(128).describe("Why a person is asked: the rule's name."),
    actingFor: z.string().min(1).max(512).describe("The verified principal that the run acts for."),
    reason: z.string().max(1024).describe("Why a person is asked, in words."),
    reasonRequired: z.enum(["Always", "OnDeny", "Never"]).default("OnDeny").describe("When a decision must say why."),
    expiresAt: timeSchema.describe("No decision by then: the call is refused."),
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
      rule: "!has(self.decision) || self.decision.decidedAt <= self.request.expiresAt",
      message: "decision.decidedAt must not be after request.expiresAt: the agent has gone on without a decision",
      reason: "FieldValueInvalid",
    },
    {
      rule:
        "!has(self.decision) || self.request.reasonRequired == 'Never'" +
        " || (self.request.reasonRequired == 'OnDeny' && self.decision.verdict == 'Approve')" +
        " || (has(self.decision.reason) && self.decision.reason.matches('[^ ]'))",
      message: "decision.reason must say why: the agent's spec.approvals.reasonRequired asks for it",
      reason: "FieldValueRequired",
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
