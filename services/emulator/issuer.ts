import { Router } from "@koa/router";
import type { Context } from "koa";
import { bearerToken, toMiddleware } from "./endpoint.ts";
import { readBody } from "#runtime/server.ts";
import { tokenTimes } from "./keys.ts";
import { TENANT_ID, type World } from "./world.ts";

const BODY_BYTES_MAX = 64 * 1024;
const LIFETIME_SECONDS = 3600;
const LIFETIME_MAX_SECONDS = 86_400;

/**
 * An OIDC issuer with tokens in the shape of Entra ID. `issuerUrl` is the `iss` claim of v2.0 tokens and the base of all links;
 * v1.0 tokens have an issuer of their own per tenant, as those of Entra have.
 */
export function createIssuerRouter(world: World, issuerUrl: () => string): Router {
  const router = new Router();
  const at = (route: string, answer: (context: Context) => Promise<void> | void) =>
    toMiddleware(world, { standIn: "issuer", route, answer, faultBody: oauthFault });
  router.get(
    "/.well-known/openid-configuration",
    at("discovery", (context) => answerDiscovery(context, issuerUrl())),
  );
  router.get(
    "/:tenant/.well-known/openid-configuration",
    at("discovery", (context) => answerDiscovery(context, issuerUrl(), v1Issuer(issuerUrl(), tenantOf(context)))),
  );
  router.get(
    "/jwks",
    at("jwks", (context) => {
      context.body = world.keys.jwks();
    }),
  );
  router.post(
    "/token",
    at("token", (context) => answerToken(world, context, issuerUrl())),
  );
  return router;
}

function answerDiscovery(context: Context, base: string, issuer = base): void {
  context.body = {
    issuer,
    jwks_uri: `${base}/jwks`,
    token_endpoint: `${base}/token`,
    grant_types_supported: ["client_credentials"],
    response_types_supported: ["token"],
    subject_types_supported: ["pairwise"],
    token_endpoint_auth_methods_supported: ["client_secret_post", "client_secret_basic"],
    id_token_signing_alg_values_supported: ["RS256", "ES256"],
  };
}

/**
 * Client credentials. Any client with any secret is believed. Beside the standard parameters the form may name the claims
 * wanted: `roles` and `scp` (blank-separated), `oid`, `tid`, `expires_in`, and `ver` with the form of the token, `1.0` or `2.0`.
 */
async function answerToken(world: World, context: Context, issuer: string): Promise<void> {
  const form = new URLSearchParams((await readBody(context.req, BODY_BYTES_MAX)).toString("utf8"));
  const client = readClient(context, form);
  const problem = findProblem(form, client);
  if (problem) {
    context.status = problem.status;
    context.body = { error: problem.error, error_description: problem.description };
    return;
  }
  const lifetime = Math.min(
    Number(form.get("expires_in") ?? LIFETIME_SECONDS) || LIFETIME_SECONDS,
    LIFETIME_MAX_SECONDS,
  );
  context.set("cache-control", "no-store");
  context.body = {
    token_type: "Bearer",
    expires_in: lifetime,
    ext_expires_in: lifetime,
    access_token: await world.keys.sign(toClaims(world, form, { issuer, clientId: client?.id ?? "", lifetime })),
  };
}

/** Claims of an Entra access token; the audience is the scope without `/.default`. */
function toClaims(
  world: World,
  form: URLSearchParams,
  token: { readonly issuer: string; readonly clientId: string; readonly lifetime: number },
): Record<string, unknown> {
  const oid = form.get("oid") ?? token.clientId;
  const scp = form.get("scp");
  const tid = form.get("tid") ?? TENANT_ID;
  const isV1 = form.get("ver") === "1.0";
  return {
    aud: (form.get("scope") ?? "").replace(/\/\.default$/, ""),
    iss: isV1 ? v1Issuer(token.issuer, tid) : token.issuer,
    ...tokenTimes(world.clock.now(), token.lifetime),
    ...(isV1 ? { appid: token.clientId, appidacr: "1" } : { azp: token.clientId, azpacr: "1" }),
    oid,
    sub: oid,
    tid,
    ver: isV1 ? "1.0" : "2.0",
    roles: (form.get("roles") ?? "").split(" ").filter((role) => role !== ""),
    ...(scp === null ? {} : { scp }),
  };
}

/** With a final slash, like https://sts.windows.net/TENANT/. */
function v1Issuer(base: string, tenant: string): string {
  return `${base}/${tenant}/`;
}

function tenantOf(context: Context): string {
  const [, tenant = ""] = context.path.split("/");
  return tenant;
}

interface Client {
  readonly id: string;
  readonly secret: string;
}

function readClient(context: Context, form: URLSearchParams): Client | undefined {
  const basic = /^Basic\s+(\S+)$/i.exec(context.get("authorization"))?.[1];
  if (basic !== undefined) {
    const [id = "", ...secret] = Buffer.from(basic, "base64").toString("utf8").split(":");
    return { id: decodeURIComponent(id), secret: secret.join(":") };
  }
  const id = form.get("client_id");
  const secret = form.get("client_secret") ?? form.get("client_assertion") ?? bearerToken(context);
  return id && secret ? { id, secret } : undefined;
}

function findProblem(
  form: URLSearchParams,
  client: Client | undefined,
): { readonly status: number; readonly error: string; readonly description: string } | undefined {
  if (form.get("grant_type") !== "client_credentials")
    return { status: 400, error: "unsupported_grant_type", description: "grant_type must be client_credentials" };
  if (!client?.id || !client.secret)
    return { status: 401, error: "invalid_client", description: "client_id and client_secret are required" };
  if (!form.get("scope"))
    return { status: 400, error: "invalid_scope", description: "scope is required, as <audience>/.default" };
  return undefined;
}

function oauthFault(status: number): Record<string, unknown> {
  return { error: "temporarily_unavailable", error_description: `Emulated status ${status}` };
}
