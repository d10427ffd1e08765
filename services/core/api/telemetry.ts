import { z } from "zod";
import { egressSchema, secretKeyRefSchema, urlSchema } from "./endpoint.ts";

/** Where an agent's traces go, and how many. Absent: none are recorded, and the caller's trace headers pass on as they came. */
export const telemetrySchema = z
  .object({
    endpoint: urlSchema.describe("Base URL of an OTLP collector over HTTP; /v1/traces is added."),
    headersSecretRef: secretKeyRefSchema
      .optional()
      .describe("A Secret's key with headers for the collector, as NAME=VALUE separated by commas."),
    sampledPercent: z
      .int32()
      .min(0)
      .max(100)
      .default(10)
      .describe("Share of the traces that begin here; of others their own flag decides."),
    egress: egressSchema.optional(),
  })
  .describe("Traces by OpenTelemetry, of gateway and orchestrator: never a prompt, an answer or a credential.");
