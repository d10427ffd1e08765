import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import type { ServiceIdentity } from "#core/api/pod-config.ts";
import { looksLikeJwt } from "./jwt.ts";
import { createServiceVerifier } from "./service-identity.ts";

const NOW_MS = Date.parse("2026-11-24T12:00:00Z");
const NOW = NOW_MS / 1000;
const ISSUER = "https://kubernetes.default.svc.cluster.local";
const AUDIENCE = "gateway.orders.shop.supercargo.dev";
const SUBJECT = "system:serviceaccount:shop:orders-orchestrator";

type Keys = Awaited<ReturnType<typeof generateKeyPair>>;
let keys: Keys;
let others: Keys;
let identity: ServiceIdentity;

beforeAll(async () => {
  keys = await generateKeyPair("RS256", { extractable: true });
  others = await generateKeyPair("RS256");
  identity = {
    issuer: ISSUER,
    audience: AUDIENCE,
    subjects: [SUBJECT],
    jwks: { keys: [{ ...(await exportJWK(keys.publicKey)), kid: "k1", alg: "RS256", use: "sig" }] },
  };
});

interface Claims {
  readonly iss?: string;
  readonly aud?: string;
  readonly sub?: string;
  readonly exp?: number;
  readonly nbf?: number;
  readonly kid?: string;
}

function token(claims: Claims = {}, signer: Keys = keys): Promise<string> {
  const { kid = "k1", ...payload } = claims;
  return new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: SUBJECT, exp: NOW + 600, ...payload })
    .setProtectedHeader({ alg: "RS256", kid })
    .sign(signer.privateKey);
}

describe("createServiceVerifier()", () => {
  it("accepts the account it expects, until the token's end", async () => {
    expect(await createServiceVerifier(identity)(await token(), NOW_MS)).toEqual({
      ok: true,
      subject: SUBJECT,
      expiresAtMs: NOW_MS + 600_000,
    });
  });

  it("forgives a skew of 60 s and no more", async () => {
    const verify = createServiceVerifier(identity);
    expect(await verify(await token({ exp: NOW - 59 }), NOW_MS)).toMatchObject({ ok: true });
    expect(await verify(await token({ exp: NOW - 61 }), NOW_MS)).toMatchObject({ ok: false });
  });

  const refused: readonly (readonly [string, () => Promise<string>, RegExp])[] = [
    ["another issuer", () => token({ iss: "https://evil.example" }), /"iss"/],
    ["another audience", () => token({ aud: "gateway.other.shop.supercargo.dev" }), /"aud"/],
    ["another account", () => token({ sub: "system:serviceaccount:shop:default" }), /is not allowed here/],
    ["an expired token", () => token({ exp: NOW - 3600 }), /"exp"/],
    ["a token for later", () => token({ nbf: NOW + 3600 }), /"nbf"/],
    ["an unknown key", () => token({ kid: "k2" }), /no applicable key/],
    ["a signature by another key", () => token({}, others), /signature verification failed/],
    [
      "no end of life",
      () =>
        new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: SUBJECT })
          .setProtectedHeader({ alg: "RS256", kid: "k1" })
          .sign(keys.privateKey),
      /"exp"/,
    ],
    [
      "algorithm none",
      async () => new UnsecuredJWT({ iss: ISSUER, aud: AUDIENCE, sub: SUBJECT, exp: NOW + 600 }).encode(),
      /./,
    ],
    [
      "the public key used as a shared secret",
      async () =>
        new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: SUBJECT, exp: NOW + 600 })
          .setProtectedHeader({ alg: "HS256", kid: "k1" })
          .sign(new TextEncoder().encode(await exportSPKI(keys.publicKey))),
      /not allowed/,
    ],
    ["garbage", async () => "a.b.c", /./],
    ["nothing", async () => "", /./],
  ];
  it.each(refused)("refuses %s and never repeats the token", async (_, make, reason) => {
    const text = await make();
    const verdict = await createServiceVerifier(identity)(text, NOW_MS);
    expect(verdict.ok).toBe(false);
    if (verdict.ok) return;
    expect(verdict.reason).toMatch(reason);
    if (text.length > 20) expect(verdict.reason).not.toContain(text.slice(0, 20));
  });
});

describe("looksLikeJwt()", () => {
  it.each([
    ["a.b.c", true],
    ["sk-abc", false],
    ["a.b", false],
    ["a.b.c.d", false],
    ["a.b.c d", false],
  ])("%s: %s", (text, answer) => {
    expect(looksLikeJwt(text)).toBe(answer);
  });
});
