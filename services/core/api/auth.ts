import { z } from "zod";
import { egressSchema, urlSchema } from "./endpoint.ts";
import { cel, mapList, nameSchema, setList, timeSchema } from "./meta.ts";

const apiKeySchema = z.object({
  name: nameSchema,
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe("SHA-256 of a random key of 256 bits or more, in hex. A hash is no secret."),
  principal: z.string().min(1).max(253).describe("Who calls with this key; written to audit records."),
  expiresAt: timeSchema.optional(),
});

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const claimValue = z.string().min(1).max(253);

/**
 * An issuer whose access tokens let callers in. What Entra ID needs beyond OpenID Connect is asked for by rules: a token of
 * the right tenant and audience alone would also be had by every service principal of that tenant
 * (learn.microsoft.com/entra/identity-platform/claims-validation).
 */
const oidcSchema = z
  .object({
    name: nameSchema,
    issuer: z
      .string()
      .max(512)
      // OpenID Connect Discovery, 3: no query and no fragment.
      .regex(/^https?:\/\/[^\s?#]+$/)
      .describe(
        "The `iss` of its tokens, letter by letter: https://login.microsoftonline.com/TENANT/v2.0 for Entra ID.",
      ),
    audience: z
      .string()
      .min(1)
      .max(512)
      .describe("The `aud` that a token must have. Entra ID: V2 the client id of your API, V1 its App ID URI."),
    entra: z
      .object({
        tenantId: z.string().max(36).regex(GUID).describe("The one tenant whose callers come in, in lower case."),
        tokenVersion: z.enum(["V1", "V2"]).default("V2").describe("The form of the tokens; the other one is refused."),
      })
      .optional()
      .describe("Set for tokens of Entra ID: the principal is then tenant and object id, not issuer and subject."),
    actors: z
      .array(claimValue)
      .min(1)
      .max(64)
      .meta(setList)
      .optional()
      .describe("Client ids of the applications that may call, by `azp`, `appid` or `client_id`."),
    roles: z.array(claimValue).min(1).max(32).meta(setList).optional().describe("One of them must be in `roles`."),
    scopes: z
      .array(claimValue)
      .min(1)
      .max(32)
      .meta(setList)
      .optional()
      .describe("One of them must be in `scp` or `scope`. With `roles` beside it, either will do."),
    jwksUri: urlSchema
      .optional()
      .describe("Where its keys are, when that is not what ISSUER/.well-known/openid-configuration says."),
    egress: egressSchema.optional(),
  })
  .meta(
    cel(
      {
        rule: "!has(self.entra) || has(self.actors)",
        message: "actors must name the applications that may call when entra is set",
        fieldPath: ".actors",
        reason: "FieldValueRequired",
      },
      {
        rule: "!has(self.entra) || has(self.roles) || has(self.scopes)",
        message: "roles or scopes must be set when entra is set",
        fieldPath: ".roles",
        reason: "FieldValueRequired",
      },
    ),
  );

/** How the callers of an agent prove who they are. */
export const authSchema = z.object({
  oidc: z
    .array(oidcSchema)
    .max(4)
    .meta(mapList("name"))
    .optional()
    .describe("Issuers of tokens: Entra ID or any other OpenID Connect provider."),
  apiKeys: z.array(apiKeySchema).max(64).meta(mapList("name")).optional(),
});
/** An issuer as the spec names it. */
export type OidcAuth = z.output<typeof oidcSchema>;
