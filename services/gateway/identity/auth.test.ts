import { createHash, createSign, generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { exportSPKI, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GatewayConfig } from "#core/api/pod-config.ts";
import { Refusal } from "#core/errors.ts";
import { createLogger } from "#runtime/log.ts";
import { createFakeClock, type FakeClock } from "../../../test/fakes/clock.ts";
import { type Authenticator, type Caller, createAuthenticator } from "./auth.ts";
import { createIssuers, type Issuers } from "./issuers.ts";
import { createJwksClient } from "./jwks.ts";
import { parseSnapshot } from "../snapshot.ts";
import {
  AUDIENCE,
  CLIENT,
  createTestKey,
  entraClaims,
  entraIssuer,
  OBJECT,
  startTestIssuer,
  TENANT,
  type TestIssuer,
  type TestKey,
} from "./test-issuer.ts";
import {
  API_KEY,
  createServiceIssuer,
  gatewayConfig,
  ORCHESTRATOR_SUBJECT,
  type ServiceIssuer,
} from "../test-world.ts";

const NOW_MS = Date.parse("2026-11-24T12:00:00Z");
const NOW = NOW_MS / 1000;
const MINUTE_MS = 60_000;
const GOOD: Caller = { kind: "token", principal: `${TENANT}/${OBJECT}`, actor: CLIENT };

let server: TestIssuer;
let rsa: TestKey;
let ec: TestKey;
let service: ServiceIssuer;
let clock: FakeClock;
let issuers: Issuers;
let config: GatewayConfig;
let auth: Authenticator;

beforeAll(async () => {
  rsa = await createTestKey("rsa", "RS256");
  ec = await createTestKey("ec", "ES256");
  service = await createServiceIssuer();
  server = await startTestIssuer([rsa, ec]);
});
afterAll(async () => {
  await issuers?.stop();
  await server?.stop();
});
beforeEach(async () => {
  server.keys = [rsa, ec];
  server.isDown = false;
  config = {
    ...gatewayConfig({ modelUrl: "http://m", orchestratorUrl: "http://o", identity: service.identity }),
    oidc: [entraIssuer(server.url)],
  };
  await open();
});

/** A gateway that has just started. */
async function open(): Promise<void> {
  await issuers?.stop();
  server.peer.requests.length = 0;
  clock = createFakeClock(NOW_MS);
  const log = createLogger({ component: "test", level: "silent" });
  issuers = createIssuers({ client: createJwksClient(), clock, random: () => 0, log });
  issuers.retain(config.oidc ?? []);
  auth = authenticator();
  // Real HTTP takes real time.
  while (issuers.notReady() !== undefined) await clock.advance(0);
}

function authenticator(revokedKeys: readonly string[] = []): Authenticator {
  return createAuthenticator({
    snapshot: parseSnapshot(JSON.stringify(config)),
    revokedKeys: new Set(revokedKeys),
    issuers,
  });
}

const claims = (changed: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...entraClaims(server.url, clock.now()),
  ...changed,
});
const judge = (credential: string, by = auth): Promise<Caller> =>
  by.authenticate({ authorization: `Bearer ${credential}` }, clock.now());
/** `code: message` of a refusal; `ok` of none. */
const verdictOf = (credential: string): Promise<string> =>
  judge(credential).then(
    () => "ok",
    (error: unknown) => (error instanceof Refusal ? `${error.code}: ${error.message}` : `defect: ${String(error)}`),
  );

describe("a token", () => {
  it.each(["RS256", "ES256"])("of %s lets its bearer in", async (alg) => {
    expect(await judge(await (alg === "RS256" ? rsa : ec).sign(claims()))).toEqual(GOOD);
  });

  it("in api-key is as good as in authorization", async () => {
    expect(await auth.authenticate({ "api-key": await ec.sign(claims()) }, clock.now())).toEqual(GOOD);
  });

  it.each([
    ["ended 59 s ago", { exp: NOW - 59 }, "ok"],
    ["begins in 59 s", { nbf: NOW + 59 }, "ok"],
    ["is one of several audiences", { aud: ["other", AUDIENCE] }, "ok"],
    ["ended 61 s ago", { exp: NOW - 61 }, 'invalid_token: Cannot accept the token: "exp" claim timestamp check failed'],
    ["begins in 61 s", { nbf: NOW + 61 }, 'invalid_token: Cannot accept the token: "nbf" claim timestamp check failed'],
    ["never ends", { exp: undefined }, 'invalid_token: Cannot accept the token: missing required "exp" claim'],
    ["ends at no number", { exp: "soon" }, 'invalid_token: Cannot accept the token: "exp" claim must be a number'],
    [
      "is for another audience",
      { aud: "other" },
      `invalid_token: Cannot accept the token: aud must be ${AUDIENCE}: current value is ["other"]`,
    ],
    [
      "has no audience",
      { aud: undefined },
      `invalid_token: Cannot accept the token: aud must be ${AUDIENCE}: current value is []`,
    ],
    [
      "is of another tenant",
      { tid: "00000000-0000-4000-8000-000000000001" },
      `invalid_token: Cannot accept the token: tid must be ${TENANT}: current value is "00000000-0000-4000-8000-000000000001"`,
    ],
    [
      "has the form of v1.0",
      { ver: "1.0", appid: CLIENT, azp: undefined },
      'invalid_token: Cannot accept the token: ver must be 2.0: current value is "1.0"',
    ],
    [
      "has no right",
      { roles: ["Reader"] },
      "insufficient_scope: Cannot accept the token: roles must hold one of Agent.Call",
    ],
    [
      "comes from another application",
      { azp: "other" },
      'insufficient_scope: Cannot accept the token: its application must be one of the issuer\'s actors: current value is "other"',
    ],
  ])("that %s: %j", async (_, changed, expected) => {
    expect(await verdictOf(await ec.sign(claims(changed)))).toBe(expected);
  });

  it("of another issuer is told which ones there are", async () => {
    expect(await verdictOf(await ec.sign(claims({ iss: "https://evil.example" })))).toBe(
      `invalid_token: Cannot accept the token: iss must be ${server.url}: current value is "https://evil.example"`,
    );
    config = { ...config, oidc: [] };
    await open();
    expect(await verdictOf(await ec.sign(claims()))).toBe(
      "invalid_token: Cannot accept the token: no issuer is configured",
    );
  });

  const forged: readonly (readonly [string, () => Promise<string>, RegExp])[] = [
    [
      "without algorithm",
      async () => `${new UnsecuredJWT(claims()).encode()}AA`,
      /"alg" \(Algorithm\) Header Parameter value not allowed/,
    ],
    [
      "with the public key as a shared secret",
      async () =>
        new SignJWT(claims())
          .setProtectedHeader({ alg: "HS256", kid: "rsa" })
          .sign(new TextEncoder().encode(await exportSPKI(rsa.publicKey))),
      /"alg" \(Algorithm\) Header Parameter value not allowed/,
    ],
    [
      "with PS256 by a good key",
      () => withHeader(rsa, { alg: "PS256" }),
      /"alg" \(Algorithm\) Header Parameter value not allowed/,
    ],
    [
      "by another key of that name",
      async () => (await createTestKey("ec")).sign(claims()),
      /signature verification failed/,
    ],
    [
      "by a key that it brings along",
      async () => {
        const own = await createTestKey("own");
        return own.sign(claims(), { jwk: own.jwk });
      },
      /no applicable key found/,
    ],
    [
      "with a link to keys of its own",
      async () => (await createTestKey("own")).sign(claims(), { jku: "http://evil.example/keys" }),
      /no applicable key/,
    ],
    ["of a critical extension", () => withHeader(rsa, { crit: ["exp"], exp: 1 }), /crit must name no extension/],
    [
      "that is not encoded",
      () => withHeader(rsa, { crit: ["b64"], b64: false }),
      /JWTs MUST NOT use unencoded payload|signature/,
    ],
    ["of another type", async () => ec.sign(claims(), { typ: "logout+jwt" }), /typ must be JWT or at\+jwt/],
    ["with a subject that is none", async () => ec.sign({ ...claims(), sub: null }), /sub must be a string/],
    ["with a list for a subject", async () => ec.sign({ ...claims(), sub: ["x"] }), /sub must be a string/],
  ];
  it.each(forged)("%s is refused", async (_, make, reason) => {
    const verdict = await verdictOf(await make());
    expect(verdict).toMatch(/^invalid_token: Cannot accept the token: /);
    expect(verdict).toMatch(reason);
  });

  it("without a name for its key is judged by the only one of its kind, and refused where there are two", async () => {
    expect(await judge(await ec.sign(claims(), { kid: undefined }))).toEqual(GOOD);
    server.keys = [ec, await createTestKey("two")];
    await open();
    expect(await verdictOf(await ec.sign(claims(), { kid: undefined }))).toContain("multiple matching keys");
  });

  it("without a signature is no token", async () => {
    expect(await verdictOf(new UnsecuredJWT(claims()).encode())).toBe(
      "invalid_api_key: Cannot accept the API key as it is not known",
    );
  });

  it("of RFC 9068 is a token too", async () => {
    expect(await judge(await ec.sign(claims(), { typ: "at+jwt" }))).toEqual(GOOD);
  });

  it("by an RSA key of 1024 bits is refused, though the issuer publishes it", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
    server.keys = [{ ...rsa, kid: "weak", jwk: { ...publicKey.export({ format: "jwk" }), kid: "weak", alg: "RS256" } }];
    await open();
    const signed = `${encode({ alg: "RS256", kid: "weak" })}.${encode(claims())}`;
    const signature = createSign("sha256").update(signed).sign(privateKey).toString("base64url");
    expect(await verdictOf(`${signed}.${signature}`)).toBe(
      "invalid_token: Cannot accept the token: the token cannot be verified",
    );
  });
});

function encode(part: unknown): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}

/** A good token with more in its header, as a forger can write it. */
async function withHeader(key: TestKey, header: Readonly<Record<string, unknown>>): Promise<string> {
  const [, payload = "", signature = ""] = (await key.sign(claims())).split(".");
  return [encode({ alg: key.alg, kid: key.kid, ...header }), payload, signature].join(".");
}

describe("a key", () => {
  it("comes in by either header, and by each in its own form alone, whatever came in before", async () => {
    const came = { kind: "key", principal: "orders team", actor: "team" };
    const at = (headers: Record<string, string>): Promise<Caller> => auth.authenticate(headers, clock.now());
    for (let again = 0; again < 2; again += 1) {
      expect(await at({ "api-key": API_KEY })).toEqual(came);
      expect(await at({ authorization: `Bearer ${API_KEY}` })).toEqual(came);
      expect(await at({ authorization: `bearer   ${API_KEY}` })).toEqual(came);
      await expect(at({ authorization: API_KEY })).rejects.toMatchObject({ code: "invalid_api_key" });
      await expect(at({ "api-key": `Bearer ${API_KEY}` })).rejects.toMatchObject({ code: "invalid_api_key" });
    }
  });
});

describe("several issuers", () => {
  it("are told apart by iss, and two of one issuer by aud", async () => {
    const plain = { name: "plain", issuer: server.url, audience: "plain", actors: [], roles: [], scopes: [] };
    config = { ...config, oidc: [entraIssuer(server.url), plain] };
    await open();
    expect(await judge(await ec.sign(claims()))).toEqual(GOOD);
    expect(await judge(await ec.sign(claims({ aud: "plain", sub: "alice" })))).toEqual({
      kind: "token",
      principal: `${server.url}#alice`,
      actor: CLIENT,
    });
    expect(await verdictOf(await ec.sign(claims({ aud: "x" })))).toContain(`aud must be ${AUDIENCE} or plain`);
    // One issuer is watched once.
    expect(server.looks()).toBe(1);
  });

  it("leave our own pods their own way in", async () => {
    const token = await service.sign({ expiresInSeconds: 3600 });
    const at = { authorization: `Bearer ${token}`, "x-supercargo-acting-for": "alice" };
    expect(await auth.authenticate(at, Date.now())).toEqual({
      kind: "orchestrator",
      principal: "alice",
      actor: ORCHESTRATOR_SUBJECT,
    });
  });

  it("believe of nobody else whom he acts for", async () => {
    const headers = { authorization: `Bearer ${await ec.sign(claims())}`, "x-supercargo-acting-for": "alice" };
    expect(await auth.authenticate(headers, clock.now())).toEqual(GOOD);
  });
});

describe("the keys of an issuer", () => {
  it("that rotate cost one look, and the token of the new key comes in", async () => {
    const fresh = await createTestKey("fresh");
    server.keys = [fresh, ec];
    expect(await judge(await fresh.sign(claims()))).toEqual(GOOD);
    expect(await judge(await ec.sign(claims()))).toEqual(GOOD);
    for (let forged = 0; forged < 20; forged += 1)
      expect(await verdictOf(await ec.sign(claims(), { kid: `kid-${forged}` }))).toContain("no applicable key");
    expect(server.looks()).toBe(2);
  });

  it("go on while it is down: tokens known and new come in, one of an unknown key is told to come back", async () => {
    const known = await ec.sign(claims());
    await judge(known);
    server.isDown = true;
    await clock.advance(4 * MINUTE_MS);
    expect(await judge(known)).toEqual(GOOD);
    expect(await judge(await rsa.sign(claims()))).toEqual(GOOD);
    const fresh = await createTestKey("fresh");
    expect(await verdictOf(await fresh.sign(claims()))).toBe(
      `issuer_unavailable: Cannot judge the token as the keys of its issuer cannot be had: ${server.url}`,
    );
  });

  it("that never came let nobody in", async () => {
    server.isDown = true;
    await open();
    expect(await verdictOf(await ec.sign(claims()))).toMatch(/^issuer_unavailable: /);
  });

  it("that were withdrawn take their tokens along, remembered ones too", async () => {
    await clock.advance(9 * MINUTE_MS);
    const token = await ec.sign(claims());
    await judge(token);
    const keysNow = (): unknown => issuers.keysOf(entraIssuer(server.url))?.current();
    const before = keysNow();
    server.keys = [rsa];
    await clock.advance(MINUTE_MS);
    // Real HTTP takes real time.
    for (let turn = 0; turn < 1_000 && keysNow() === before; turn += 1) await clock.advance(0);
    expect(await verdictOf(token)).toContain("no applicable key");
  });
});

describe("the memo", () => {
  /** Breaks every signature check: whoever still comes in was remembered. */
  const loseKeys = (): void => issuers.retain([]);
  const untold = (token: string): Promise<string> => verdictOf(token).then((verdict) => verdict.split(":", 1)[0] ?? "");

  it("remembers a token for five minutes, and no longer", async () => {
    const { current } = issuers.keysOf(entraIssuer(server.url)) ?? {};
    expect(current?.()).toBeDefined();
    const token = await ec.sign(claims());
    await judge(token);
    loseKeys();
    await clock.advance(5 * MINUTE_MS - 1);
    expect(await judge(token)).toEqual(GOOD);
    await clock.advance(1);
    expect(await untold(token)).toBe("issuer_unavailable");
  });

  it("forgets a token at its end", async () => {
    const token = await ec.sign(claims({ exp: NOW + 30 }));
    await judge(token);
    loseKeys();
    await clock.advance(29_999);
    expect(await judge(token)).toEqual(GOOD);
    await clock.advance(1);
    expect(await untold(token)).toBe("issuer_unavailable");
  });

  it("is empty after a revocation, which one key does not survive", async () => {
    expect(await judge(API_KEY)).toMatchObject({ kind: "key", actor: "team" });
    const revoked = authenticator([createHash("sha256").update(API_KEY).digest("hex")]);
    await expect(judge(API_KEY, revoked)).rejects.toMatchObject({ code: "invalid_api_key" });
  });
});

describe("fuzzing", () => {
  it("law: a token of which one character was changed never comes in, nor does any other text", async () => {
    const tokens = [await ec.sign(claims()), await rsa.sign(claims())];
    for (const token of tokens) expect(await judge(token)).toEqual(GOOD);
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/% ";
    const changed = fc
      .tuple(fc.constantFrom(...tokens), fc.nat(2000), fc.constantFrom(...alphabet.split("")))
      .map(([token, at, letter]) => {
        // The end is where a decoder may look away.
        const place = at % 3 === 0 ? token.length - 1 - (at % 4) : at % token.length;
        return token.slice(0, place) + letter + token.slice(place + 1);
      });
    const cut = fc
      .tuple(fc.constantFrom(...tokens), fc.nat(2000))
      .map(([token, at]) => token.slice(0, at % token.length));
    const part = fc.oneof(
      fc.json().map((text) => Buffer.from(text).toString("base64url")),
      fc.base64String().map((text) => text.replace(/[+/=]/g, "_")),
      fc.constantFrom(...tokens.flatMap((token) => token.split("."))),
      fc
        .record({
          alg: fc.constantFrom("none", "None", "HS256", "RS256", "ES256", "", 1, null),
          kid: fc.constantFrom("ec", "rsa", "x"),
        })
        .map(encode),
    );
    const patched = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("."));
    await fc.assert(
      fc.asyncProperty(fc.oneof(changed, cut, patched, fc.string({ maxLength: 300 })), async (text) => {
        fc.pre(!tokens.includes(text) && text !== "");
        const verdict = await verdictOf(text);
        expect(verdict).toMatch(/^(invalid_token|invalid_api_key|issuer_unavailable): Cannot /);
      }),
      { numRuns: 3_000 },
    );
  });

  it("law: claims of any kind, well signed, crash nothing, and come in only as the principal of their tenant", async () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(TENANT, OBJECT, CLIENT, AUDIENCE, "2.0", ["Agent.Call"]));
    const names = fc.constantFrom("iss", "aud", "exp", "nbf", "tid", "oid", "azp", "ver", "roles", "scp", "sub", "cnf");
    await fc.assert(
      fc.asyncProperty(fc.dictionary(names, value, { maxKeys: 3 }), async (odd) => {
        const signed = await ec.sign({ ...claims(), ...odd });
        const verdict = await verdictOf(signed);
        if (verdict === "ok") expect((await judge(signed)).principal).toMatch(new RegExp(`^${TENANT}/[0-9a-f-]{36}$`));
        else expect(verdict).toMatch(/^(invalid_token|insufficient_scope): Cannot accept the token: /);
      }),
      { numRuns: 500 },
    );
  });
});
