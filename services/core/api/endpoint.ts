import { z } from "zod";
import { cel, setList } from "./meta.ts";

const portSchema = z.int32().min(1).max(65535);

/** Network peers of an endpoint that is neither an in-cluster Service nor a public host on 443. */
export const egressSchema = z
  .object({
    cidrs: z.array(z.string().min(1).max(49)).max(16).meta(setList).optional(),
    ports: z.array(portSchema).max(8).meta(setList).optional(),
    namespaceSelector: z.object({ matchLabels: z.record(z.string(), z.string().max(63)) }).optional(),
    podSelector: z.object({ matchLabels: z.record(z.string(), z.string().max(63)) }).optional(),
  })
  .describe("Named peers for the NetworkPolicy: needed for private endpoints and for pods behind no Service.");

/** An absolute http or https URL. */
export const urlSchema = z
  .string()
  .min(1)
  .max(2048)
  .regex(/^https?:\/\/[^\s]+$/);

/** One key of a Secret beside the agent. */
export const secretKeyRefSchema = z.object({
  name: z.string().min(1).max(253).describe("Name of a Secret in the same namespace."),
  key: z.string().min(1).max(253).describe("Key inside the Secret."),
});

/** How our pods prove who they are to an endpoint. */
export const authSpecSchema = z
  .object({
    type: z.enum(["WorkloadIdentity", "SecretRef", "None"]).default("WorkloadIdentity"),
    secretRef: secretKeyRefSchema.optional(),
  })
  .meta(
    cel({
      rule: "has(self.secretRef) == (self.type == 'SecretRef')",
      message: "secretRef must be set exactly when type is SecretRef",
      reason: "FieldValueInvalid",
    }),
  );
