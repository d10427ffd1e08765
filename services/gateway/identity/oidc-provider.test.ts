import { createServer, type RequestListener, type Server } from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Emulator, startEmulator } from "../../emulator/app.ts";
import { chat, eventually, type GatewayWorld, startGatewayWorld } from "../test-world.ts";

/** A gateway process and an OpenID Connect server that is not ours: client credentials, access tokens of RFC 9068, over HTTP. */

const AUDIENCE = "urn:agents:order-desk";
const CLIENT = { client_id: "shop", client_secret: "a-secret-of-more-than-32-characters" };

type Key = Readonly<Record<string, unknown>>;

let emulator: Emulator;
let world: GatewayWorld;
let server: Server;
let issuer: string;
/** The provider of now, which nobody can see while it is `undefined`. */
let answer: RequestListener | undefined;
let keysAsked = 0;
const keys: Record<string, Key> = {};

async function createKey(kid: string, alg: "RS256" | "ES256"): Promise<void> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  keys[kid] = { ...(await exportJWK(privateKey)), kid, alg, use: "sig" };
}

/** A provider of the same issuer with these keys: the first one of the algorithm signs. */
function startProvider(kids: readonly string[], alg: "RS256" | "ES256", format: "jwt" | "opaque" = "jwt"): void {
  const client = { ...CLIENT, grant_types: ["client_credentials"], redirect_uris: [], response_types: [] };
  const provider = new Provider(issuer, {
    clients: [client, { ...client, client_id: "stranger" }],
    jwks: { keys: kids.map((kid) => keys[kid] ?? {}) },
    scopes: ["agent", "other"],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        getResourceServerInfo: (_, audience) => ({
          scope: "agent other",
          audience,
          accessTokenFormat: format,
          accessTokenTTL: 600,
          jwt: { sign: { alg } },
        }),
      },
    },
  });
  answer = provider.callback();
}

beforeAll(async () => {
  await createKey("rsa-1", "RS256");
  await createKey("ec-1", "ES256");
  await createKey("ec-2", "ES256");
  await createKey("ec-3", "ES256");
  server = createServer((request, response) => {
    if (request.url === "/jwks") keysAsked += 1;
    if (answer) answer(request, response);
    else request.socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  issuer = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  startProvider(["rsa-1", "ec-1"], "RS256");
  emulator = await startEmulator({ model: { auth: "None", apiKeys: [], deployments: ["gpt-5-mini"] } });
  world = await startGatewayWorld({
    modelUrl: emulator.url,
    oidc: [{ name: "id", issuer, audience: AUDIENCE, actors: ["shop"], roles: [], scopes: ["agent"] }],
  });
  await eventually(async () => ((await world.gateway.ready()).status === 200 ? true : undefined));
});
afterAll(async () => {
  await world?.stop();
  await emulator?.stop();
  server?.closeAllConnections();
  server?.close();
});

async function tokenOf(form: Record<string, string> = {}): Promise<string> {
  const body = new URLSearchParams({ grant_type: "client_credentials", ...CLIENT, scope: "agent", ...form });
  const issued = await fetch(`${issuer}/token`, { method: "POST", body });
  return z.object({ access_token: z.string() }).parse(await issued.json()).access_token;
}

/** The status, and the code of a refusal. */
async function ask(token: string): Promise<string> {
  const answered = await world.post("/v1/chat/completions", chat("[[say Hi]]"), { authorization: `Bearer ${token}` });
  const { error } = z
    .looseObject({ error: z.object({ code: z.string(), message: z.string() }).optional() })
    .parse(await answered.json());
  return error === undefined ? `${answered.status}` : `${answered.status} ${error.code}: ${error.message}`;
}

describe("tokens of oidc-provider", () => {
  it("come in with RS256, as issuer and subject, sent by the client", async () => {
    const token = await tokenOf();
    const answered = await world.post("/v1/chat/completions", chat("x"), { authorization: `Bearer ${token}` });
    expect(answered.status).toBe(200);
    const id = answered.headers.get("x-request-id");
    expect(await eventually(() => world.gateway.audit().find((line) => line["requestId"] === id))).toMatchObject({
      callerKind: "token",
      principal: `${issuer}#shop`,
      actor: "shop",
    });
  });

  it("come in with ES256, by a key that was known beside the other", async () => {
    startProvider(["rsa-1", "ec-1"], "ES256");
    expect(await ask(await tokenOf())).toBe("200");
    expect(keysAsked).toBe(1);
  });

  it.each([
    [
      "of another client",
      { client_id: "stranger" },
      `403 insufficient_scope: Cannot accept the token: its application must be one of the issuer's actors: current value is "stranger"`,
    ],
    [
      "of another scope",
      { scope: "other" },
      "403 insufficient_scope: Cannot accept the token: scp must hold one of agent",
    ],
    [
      "for another resource",
      { resource: "urn:agents:other" },
      `401 invalid_token: Cannot accept the token: aud must be ${AUDIENCE}: current value is ["urn:agents:other"]`,
    ],
  ])("%s are refused", async (_, form, expected) => {
    expect(await ask(await tokenOf(form))).toBe(expected);
  });

  it("come in after its key was replaced, with one look at its keys, and old ones beside them", async () => {
    const old = await tokenOf();
    startProvider(["rsa-1", "ec-2", "ec-1"], "ES256");
    const fresh = await tokenOf();
    const before = keysAsked;
    expect(await ask(fresh)).toBe("200");
    expect(await ask(old)).toBe("200");
    expect(keysAsked).toBe(before + 1);
  });

  it("of a second new key within the minute are refused, and nobody is asked", async () => {
    startProvider(["rsa-1", "ec-3", "ec-2"], "ES256");
    const before = keysAsked;
    expect(await ask(await tokenOf())).toBe(
      "401 invalid_token: Cannot accept the token: no applicable key found in the JSON Web Key Set",
    );
    expect(keysAsked).toBe(before);
  });

  it("go on coming in while it is away, known ones and new ones", async () => {
    startProvider(["rsa-1", "ec-2"], "ES256");
    const known = await tokenOf();
    expect(await ask(known)).toBe("200");
    const fresh = await tokenOf();
    answer = undefined;
    expect(await ask(known)).toBe("200");
    expect(await ask(fresh)).toBe("200");
  });

  it("that are opaque are refused: nobody but the issuer can read them", async () => {
    startProvider(["rsa-1"], "RS256", "opaque");
    expect(await ask(await tokenOf())).toBe("401 invalid_api_key: Cannot accept the API key as it is not known");
  });
});
