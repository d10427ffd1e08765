import { z } from "zod";
import { cel, nameSchema } from "./meta.ts";

/** Whom a limit counts apart. */
export const RATE_SUBJECTS = ["Key", "Caller", "Tenant", "Agent"] as const;

const perMinuteSchema = z.int32().min(1).max(1_000_000_000).optional();

/** A rate over a minute, shared by the agent's gateway pods. */
export const rateLimitSchema = z
  .object({
    name: nameSchema.describe("Told to callers, audit records and metrics."),
    per: z
      .enum(RATE_SUBJECTS)
      .describe("Key: each API key. Caller: each principal. Tenant: each Entra tenant or issuer. Agent: all together."),
    requestsPerMinute: perMinuteSchema.describe("Requests of clients to models and to the agent."),
    tokensPerMinute: perMinuteSchema.describe("Input and output tokens of models, of the agent's own runs too."),
    mode: z
      .enum(["Enforce", "Shadow"])
      .default("Enforce")
      .describe("Shadow: what would be refused passes and is noted."),
  })
  .meta(
    cel({
      rule: "has(self.requestsPerMinute) || has(self.tokensPerMinute)",
      message: "requestsPerMinute or tokensPerMinute must be set",
      reason: "FieldValueRequired",
    }),
  );

/** A limit as the spec names it. */
export type RateLimitSpec = z.output<typeof rateLimitSchema>;
