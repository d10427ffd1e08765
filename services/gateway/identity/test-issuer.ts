import { CompactSign, exportJWK, generateKeyPair } from "jose";
import type { OidcIssuer } from "#core/api/pod-config.ts";
import { type Peer, startPeer } from "../test-world.ts";

/** What the tests of tokens share: an issuer over real HTTP, whose answers and keys the test chooses. */

export const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
export const OBJECT = "9f4880d8-80ba-4c40-97bc-f7a23c703084";
export const CLIENT = "6731de76-14a6-49ae-97bc-6eba6914391e";
export const AUDIENCE = "8f1a9f0e-2b1d-4d57-9b3c-4e0a6f1d2c3b";
export const ROLE = "Agent.Call";

type Algorithm = "RS256" | "ES256";

/** A private key with its public half as a JWK. */
export interface TestKey {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly jwk: Readonly<Record<string, unknown>>;
  readonly publicKey: Awaited<ReturnType<typeof generateKeyPair>>["publicKey"];
  /** Signs whatever it is given: good claims, odd ones, or none. */
  sign(claims: unknown, header?: Readonly<Record<string, unknown>>): Promise<string>;
  /** The signature of any text, for headers that no library would write. */
  signText(text: string): Promise<string>;
}

export async function createTestKey(kid: string, alg: Algorithm = "ES256"): Promise<TestKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return {
    kid,
    alg,
    jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" },
    publicKey,
    sign: (claims, header = {}) =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
        .setProtectedHeader({ alg, kid, typ: "JWT", ...header })
        .sign(privateKey),
    async signText(text) {
      const name = alg === "ES256" ? { name: "ECDSA", hash: "SHA-256" } : "RSASSA-PKCS1-v1_5";
      return Buffer.from(await crypto.subtle.sign(name, privateKey, Buffer.from(text))).toString("base64url");
    },
  };
}

export interface TestIssuer {
  readonly url: string;
  readonly peer: Peer;
  /** What its JWKS holds. */
  keys: TestKey[];
  /** While it is set, every answer is a 503. */
  isDown: boolean;
  /** How often its keys were asked for. */
  looks(): number;
  stop(): Promise<void>;
}

export async function startTestIssuer(keys: TestKey[]): Promise<TestIssuer> {
  const peer = await startPeer((request, response) => {
    const isKeys = request.url === "/keys";
    response.writeHead(issuer.isDown ? 503 : 200, { "content-type": "application/json" });
    const discovery = { issuer: peer.url, jwks_uri: `${peer.url}/keys` };
    response.end(JSON.stringify(isKeys ? { keys: issuer.keys.map((key) => key.jwk) } : discovery));
  });
  const issuer: TestIssuer = {
    url: peer.url,
    peer,
    keys,
    isDown: false,
    looks: () => peer.requests.filter(({ url }) => url === "/keys").length,
    stop: () => peer.stop(),
  };
  return issuer;
}

/** The issuer as the operator renders it: Entra ID in the form of v2.0, one application, one role. */
export function entraIssuer(issuer: string, changed: Partial<OidcIssuer> = {}): OidcIssuer {
  return {
    name: "entra",
    issuer,
    audience: AUDIENCE,
    entra: { tenantId: TENANT, tokenVersion: "V2" },
    actors: [CLIENT],
    roles: [ROLE],
    scopes: [],
    ...changed,
  };
}

/** The claims of a good token for it, an hour long. */
export function entraClaims(issuer: string, nowMs: number): Record<string, unknown> {
  const now = Math.floor(nowMs / 1000);
  return {
    iss: issuer,
    aud: AUDIENCE,
    iat: now,
    nbf: now,
    exp: now + 3600,
    azp: CLIENT,
    oid: OBJECT,
    sub: "pairwise",
    tid: TENANT,
    ver: "2.0",
    roles: [ROLE],
  };
}
