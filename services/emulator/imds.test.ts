import { ManagedIdentityCredential } from "@azure/identity";
import { decodeJwt } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { OWNER, request, startKit, STRANGER, usageEvent, type Kit } from "./test-kit.ts";

const AUDIENCE = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
const GOOD = `api-version=2018-02-01&client_id=${OWNER}&resource=${AUDIENCE}`;

let kit: Kit;
beforeAll(async () => {
  kit = await startKit({ clock: systemClock });
});
afterAll(() => kit.stop());
beforeEach(() => kit.control("reset", {}));
afterEach(() => vi.unstubAllEnvs());

const ask = (query: string, headers: Record<string, string> = { metadata: "true" }, slash = "") =>
  request(`${kit.imdsUrl}/metadata/identity/oauth2/token${slash}?${query}`, { headers });

describe("the token endpoint", () => {
  it.each(["", "/"])("answers with string times, with '%s' at the end", async (slash) => {
    const answer = await ask(GOOD, { metadata: "true" }, slash);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      access_token: expect.any(String),
      client_id: OWNER,
      expires_in: "86400",
      expires_on: expect.stringMatching(/^\d+$/),
      ext_expires_in: "86399",
      not_before: expect.stringMatching(/^\d+$/),
      resource: AUDIENCE,
      token_type: "Bearer",
    });
  });

  it.each([
    ["no Metadata header", GOOD, {}, "Required metadata header not specified"],
    ["a proxy on the way", GOOD, { metadata: "true", "x-forwarded-for": "10.0.0.1" }, "X-Forwarded-For"],
    ["no api-version", GOOD.replace("api-version", "v"), undefined, "api-version"],
    ["no resource", GOOD.replace("resource", "r"), undefined, "resource"],
    ["an unknown client id", GOOD.replace(OWNER, "nobody"), undefined, "Identity not found"],
    ["several identities and no client id", GOOD.replace("client_id", "clientId"), undefined, "Identity not found"],
  ])("refuses %s", async (...[_name, query, headers, text]) => {
    const answer = await ask(query, headers);
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual({ error: "invalid_request", error_description: expect.stringContaining(text) });
  });

  it.each([410, 429, 500])("answers %i on demand", async (status) => {
    await kit.control("faults", { standIn: "imds", kind: "Status", status });
    expect(await ask(GOOD)).toMatchObject({ status });
    expect(await ask(GOOD)).toMatchObject({ status: 200 });
  });

  it("knows an identity that is added, and the life that is set", async () => {
    await kit.control("identities", { clientId: "late" });
    await kit.control("token-lifetime", { seconds: 120 });
    expect(await ask(GOOD.replace(OWNER, "late"))).toMatchObject({ body: { client_id: "late", expires_in: "120" } });
  });
});

describe("what agents ask beside tokens", () => {
  it.each([
    ["versions", { apiVersions: expect.arrayContaining(["2018-02-01", "2020-09-01"]) }],
    ["instance?api-version=2020-09-01", { compute: { subscriptionId: expect.any(String) }, network: {} }],
    ["attested/document?api-version=2020-09-01", { encoding: "pkcs7", signature: expect.any(String) }],
  ])("%s, with the Metadata header alone", async (path, body) => {
    const url = `${kit.imdsUrl}/metadata/${path}`;
    expect(await request(url, { headers: { metadata: "True" } })).toMatchObject({ status: 200, body });
    expect(await request(url)).toMatchObject({ status: 400, body: { error: "invalid_request" } });
  });
});

describe("ManagedIdentityCredential of @azure/identity", () => {
  it("gets a token that the metering API believes", async () => {
    vi.stubEnv("AZURE_POD_IDENTITY_AUTHORITY_HOST", kit.imdsUrl);
    const token = await new ManagedIdentityCredential({ clientId: OWNER }).getToken(`${AUDIENCE}/.default`);
    expect(decodeJwt(token.token)).toMatchObject({ aud: AUDIENCE, appid: OWNER, ver: "1.0", oid: expect.any(String) });
    expect(token.expiresOnTimestamp).toBeGreaterThan(Date.now() + 86_000_000);
    const event = usageEvent({ effectiveStartTime: new Date(Date.now()).toISOString() });
    const booked = await kit.post("usageEvent", event, { authorization: `Bearer ${token.token}` });
    expect(booked).toMatchObject({ status: 200, body: { status: "Accepted" } });
  });

  it("fails at once for an unknown client id", async () => {
    vi.stubEnv("AZURE_POD_IDENTITY_AUTHORITY_HOST", kit.imdsUrl);
    const asked = new ManagedIdentityCredential({ clientId: STRANGER.replace("2", "9") }).getToken(AUDIENCE);
    await expect(asked).rejects.toThrow(/Identity not found/);
    expect(await kit.control("requests")).toMatchObject({
      body: { requests: [{ standIn: "imds", status: 400, count: 1 }] },
    });
  });
});
