import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createJwksClient, jwksUriOf } from "./jwks.ts";
import { createTestKey, type TestKey } from "./test-issuer.ts";
import { type Peer, startPeer } from "../test-world.ts";

const client = createJwksClient();
let peer: Peer;
let key: TestKey;
/** What the issuer answers, by path. */
let pages: Record<
  string,
  { readonly status?: number; readonly headers?: Record<string, string>; readonly body: unknown }
>;

beforeAll(async () => {
  key = await createTestKey("one");
  peer = await startPeer((request, response) => {
    const page = pages[request.url ?? ""] ?? { status: 404, body: "" };
    response.writeHead(page.status ?? 200, page.headers ?? {});
    response.end(typeof page.body === "string" ? page.body : JSON.stringify(page.body));
  });
});
afterAll(async () => {
  await client.close();
  await peer?.stop();
});

const DISCOVERY = "/.well-known/openid-configuration";
const fetchKeys = (source: { issuer?: string; jwksUri?: string } = {}): Promise<unknown> =>
  client.fetch({ issuer: peer.url, ...source }, AbortSignal.timeout(5_000));
const discovery = (changed: Record<string, unknown> = {}): { body: unknown } => ({
  body: { issuer: peer.url, jwks_uri: `${peer.url}/keys`, ...changed },
});

describe("createJwksClient()", () => {
  it("finds the keys by discovery, and leaves those that are not for signatures", async () => {
    const others = [{ kty: "oct", k: "AA" }, { ...key.jwk, use: "enc" }, { kty: "OKP" }];
    pages = { [DISCOVERY]: discovery(), "/keys": { body: { keys: [...others, key.jwk] } } };
    expect(await fetchKeys()).toEqual([key.jwk]);
  });

  it("asks under an issuer that ends in a slash, as those of Entra v1.0 do", async () => {
    const issuer = `${peer.url}/tenant/`;
    pages = { [`/tenant${DISCOVERY}`]: discovery({ issuer }), "/keys": { body: { keys: [key.jwk] } } };
    expect(await fetchKeys({ issuer })).toEqual([key.jwk]);
  });

  it("asks nobody else where jwksUri says where the keys are", async () => {
    pages = { "/keys": { body: { keys: [key.jwk] } } };
    expect(await fetchKeys({ issuer: "https://id.example.com", jwksUri: `${peer.url}/keys` })).toEqual([key.jwk]);
  });

  const huge = { keys: [{ ...key, kty: "RSA", x5c: "x".repeat(300 * 1024) }] };
  it.each([
    ["no discovery", () => ({}), /configuration must answer 200: current status is 404$/],
    [
      "another issuer",
      () => ({ [DISCOVERY]: discovery({ issuer: "https://evil.example" }) }),
      /must name the issuer .*: current value is "https:\/\/evil\.example"$/,
    ],
    [
      "no link to keys",
      () => ({ [DISCOVERY]: { body: { issuer: peer.url } } }),
      /must answer with issuer and jwks_uri$/,
    ],
    [
      "a link that is none",
      () => ({ [DISCOVERY]: discovery({ jwks_uri: "file:///etc/passwd" }) }),
      /must be an https URL/,
    ],
    [
      "a redirect",
      () => ({ [DISCOVERY]: discovery(), "/keys": { status: 302, headers: { location: "/x" }, body: "" } }),
      /keys must answer 200: current status is 302$/,
    ],
    ["no JSON", () => ({ [DISCOVERY]: discovery(), "/keys": { body: "<html>" } }), /keys must answer with JSON$/],
    [
      "no key",
      () => ({ [DISCOVERY]: discovery(), "/keys": { body: { keys: [] } } }),
      /must hold a key of type RSA or EC/,
    ],
    [
      "65 keys",
      () => ({ [DISCOVERY]: discovery(), "/keys": { body: { keys: Array.from({ length: 65 }, () => key.jwk) } } }),
      /a JWKS of at most 64 keys$/,
    ],
    ["an endless body", () => ({ [DISCOVERY]: discovery(), "/keys": { body: huge } }), /size/i],
  ] as const)("refuses %s", async (_, given, problem) => {
    pages = given();
    await expect(fetchKeys()).rejects.toThrow(problem);
  });

  it("takes no keys over http from an issuer of https", () => {
    const where = { issuer: "https://id.example.com", url: "https://id.example.com/d" };
    const document = (jwksUri: string): unknown => ({ issuer: where.issuer, jwks_uri: jwksUri });
    expect(() => jwksUriOf(document("http://id.example.com/keys"), where)).toThrow(
      'jwks_uri of https://id.example.com/d must be an https URL: current value is "http://id.example.com/keys"',
    );
    expect(jwksUriOf(document("https://keys.example.com/"), where)).toBe("https://keys.example.com/");
  });

  it("gives up when it is told to", async () => {
    const silent = await startPeer(() => undefined);
    const asked = client.fetch({ issuer: silent.url }, AbortSignal.timeout(50));
    await expect(asked).rejects.toThrow(/timeout|aborted/i);
    await silent.stop();
  });
});
