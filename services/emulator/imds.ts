import { Router } from "@koa/router";
import type { Context } from "koa";
import { toMiddleware, type Endpoint } from "./endpoint.ts";
import { tokenTimes } from "./keys.ts";
import { TENANT_ID, type Identity, type World } from "./world.ts";

/** Azure's instance metadata service: tokens, with the same query, header and string-typed times, and what agents ask beside. */
export function createImdsRouter(world: World): Router {
  const router = new Router();
  const at = (route: string, path: string, answer: Endpoint["answer"]): void => {
    const faultBody = (status: number) => ({ error: "emulated_fault", error_description: `Emulated status ${status}` });
    const middleware = toMiddleware(world, { standIn: "imds", route, faultBody, answer });
    router.get(path, middleware);
    router.get(`${path}/`, middleware);
  };
  at("token", "/metadata/identity/oauth2/token", (context) => answerToken(world, context));
  at("versions", "/metadata/versions", (context) => answerMetadata(context, { apiVersions: API_VERSIONS }));
  at("instance", "/metadata/instance", (context) => answerMetadata(context, INSTANCE));
  at("attested", "/metadata/attested/document", (context) => answerMetadata(context, ATTESTED));
  return router;
}

const API_VERSIONS = ["2018-02-01", "2019-08-01", "2020-09-01", "2021-02-01", "2021-12-13"];
/** A node in no subscription. */
const INSTANCE = {
  compute: {
    azEnvironment: "AzurePublicCloud",
    location: "westeurope",
    name: "emulated",
    osType: "Linux",
    resourceGroupName: "rg",
    subscriptionId: "00000000-0000-0000-0000-000000000000",
    vmId: "00000000-0000-4000-8000-0000000000aa",
  },
  network: { interface: [] },
};
/** Azure signs it; nobody can sign for Azure, and this one says so. */
const ATTESTED = { encoding: "pkcs7", signature: Buffer.from("emulated, not signed by Azure").toString("base64") };

function answerMetadata(context: Context, body: unknown): void {
  const problem = findHeaderProblem(context);
  if (problem !== undefined) return refuse(context, problem);
  context.body = body;
}

async function answerToken(world: World, context: Context): Promise<void> {
  const problem = findProblem(context);
  if (problem !== undefined) return refuse(context, problem);
  const identity = findIdentity(world, queryText(context, "client_id"));
  if (!identity) return refuse(context, "Identity not found");
  const resource = queryText(context, "resource") ?? "";
  const token = await issueIdentityToken(world, { identity, audience: resource });
  context.set("cache-control", "no-store");
  context.body = {
    access_token: token.accessToken,
    client_id: identity.clientId,
    expires_in: String(token.expiresAt - token.issuedAt),
    expires_on: String(token.expiresAt),
    ext_expires_in: String(Math.max(0, token.expiresAt - token.issuedAt - 1)),
    not_before: String(token.issuedAt),
    resource,
    token_type: "Bearer",
  };
}

/** A v1 token of a managed identity. Times are real time, in seconds. */
export async function issueIdentityToken(
  world: World,
  request: { readonly identity: Identity; readonly audience: string; readonly lifetimeSeconds?: number },
): Promise<{ accessToken: string; issuedAt: number; expiresAt: number }> {
  const times = tokenTimes(world.clock.now(), request.lifetimeSeconds ?? world.tokenLifetimeSeconds);
  const { clientId, objectId } = request.identity;
  const accessToken = await world.keys.sign({
    aud: request.audience,
    iss: `https://sts.windows.net/${TENANT_ID}/`,
    ...times,
    appid: clientId,
    appidacr: "2",
    idtyp: "app",
    oid: objectId,
    sub: objectId,
    tid: TENANT_ID,
    ver: "1.0",
    xms_mirid: `/subscriptions/emulated/resourcegroups/emulated/providers/Microsoft.ManagedIdentity/userAssignedIdentities/${clientId}`,
  });
  return { accessToken, issuedAt: times.iat, expiresAt: times.exp };
}

function findProblem(context: Context): string | undefined {
  const problem = findHeaderProblem(context);
  if (problem !== undefined) return problem;
  if (queryText(context, "api-version") === undefined) return "Required query parameter api-version not specified";
  if (queryText(context, "resource") === undefined) return "Required query parameter resource not specified";
  return undefined;
}

function findHeaderProblem(context: Context): string | undefined {
  if (context.get("metadata").toLowerCase() !== "true") return "Required metadata header not specified";
  // IMDS refuses what came through a proxy: a proxied request would hand this node's identity to another one.
  if (context.get("x-forwarded-for") !== "") return "Requests with X-Forwarded-For are not allowed";
  return undefined;
}

/** Without a client id one identity is found; several are ambiguous, as on a real node. */
function findIdentity(world: World, clientId: string | undefined): Identity | undefined {
  const identities = [...world.identities.values()].filter((identity) => isAlive(world, identity));
  if (clientId === undefined) return identities.length === 1 ? identities[0] : undefined;
  return identities.find((identity) => identity.clientId.toLowerCase() === clientId.toLowerCase());
}

/** By switch an identity ends with the last of its resources. */
function isAlive(world: World, identity: Identity): boolean {
  if (world.switches.identityOutlivesResource) return true;
  const own = [...world.metering.resources.values()].filter(
    (resource) => resource.ownerClientId.toLowerCase() === identity.clientId.toLowerCase(),
  );
  return own.length === 0 || own.some((resource) => resource.state !== "Deleted");
}

function queryText(context: Context, name: string): string | undefined {
  const value = context.query[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function refuse(context: Context, description: string): void {
  context.status = 400;
  context.body = { error: "invalid_request", error_description: description };
}
