import { createRemoteJWKSet, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { systemClock } from "#runtime/clock.ts";
import { request, startKit, type Kit } from "./test-kit.ts";

const FORM = {
  grant_type: "client_credentials",
  client_id: "9d4c6b2e-1111-4222-8333-444455556666",
  client_secret: "any",
  scope: "api://supercargo/.default",
};

let kit: Kit;
beforeAll(async () => {
  kit = await startKit({ clock: systemClock });
});
afterAll(() => kit.stop());

async function ask(form: Record<string, string>, headers: Record<string, string> = {}) {
  const type = { "content-type": "application/x-www-form-urlencoded" };
  return request(`${kit.url}/token`, {
    method: "POST",
    body: new URLSearchParams(form).toString(),
    headers: { ...type, ...headers },
  });
}

async function tokenOf(form: Record<string, string> = {}): Promise<string> {
  return z.object({ access_token: z.string() }).parse((await ask({ ...FORM, ...form })).body).access_token;
}

async function keys(): Promise<ReturnType<typeof createRemoteJWKSet>> {
  const discovery = await request(`${kit.url}/.well-known/openid-configuration`);
  const { jwks_uri } = z.object({ jwks_uri: z.url() }).parse(discovery.body);
  return createRemoteJWKSet(new URL(jwks_uri));
}

describe("the issuer", () => {
  it("gives Entra-like v2 tokens that verify by discovery", async () => {
    const verified = await jwtVerify(await tokenOf({ roles: "Agent.Call Agent.Approve" }), await keys(), {
      issuer: kit.url,
      audience: "api://supercargo",
      algorithms: ["ES256"],
    });
    expect(verified.payload).toMatchObject({
      azp: FORM.client_id,
      oid: FORM.client_id,
      tid: expect.any(String),
      roles: ["Agent.Call", "Agent.Approve"],
      ver: "2.0",
    });
  });

  it("sets the claims that are asked for, and expired tokens", async () => {
    const asked = { tid: "other-tenant", oid: "person", scp: "Agent.Call", expires_in: "-120" };
    const token = await tokenOf(asked);
    await expect(jwtVerify(token, await keys())).rejects.toThrow(/exp/);
    const read = await jwtVerify(token, await keys(), { currentDate: new Date(Date.now() - 180_000) });
    expect(read.payload).toMatchObject({ tid: "other-tenant", oid: "person", scp: "Agent.Call", roles: [] });
  });

  it("gives tokens in the form of v1.0, with an issuer per tenant that discovery knows", async () => {
    const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const token = await tokenOf({ ver: "1.0", tid: tenant });
    const issuer = `${kit.url}/${tenant}/`;
    const discovery = await request(`${issuer}.well-known/openid-configuration`);
    expect(discovery.body).toMatchObject({ issuer, jwks_uri: `${kit.url}/jwks` });
    const { payload } = await jwtVerify(token, await keys(), { issuer, audience: "api://supercargo" });
    expect(payload).toMatchObject({ appid: FORM.client_id, tid: tenant, ver: "1.0" });
    expect(payload).not.toHaveProperty("azp");
  });

  it("takes basic authentication", async () => {
    const { client_id, client_secret, ...form } = FORM;
    const authorization = `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString("base64")}`;
    expect(await ask(form, { authorization })).toMatchObject({
      status: 200,
      body: { token_type: "Bearer", expires_in: 3600 },
    });
  });

  it.each([
    [{ ...FORM, grant_type: "password" }, 400, "unsupported_grant_type"],
    [{ ...FORM, client_secret: "" }, 401, "invalid_client"],
    [{ ...FORM, scope: "" }, 400, "invalid_scope"],
  ])("refuses %j", async (form, status, error) => {
    expect(await ask(form)).toMatchObject({ status, body: { error } });
  });

  it("rotates keys: old tokens stay good until the old keys are retired", async () => {
    const old = await tokenOf();
    await kit.control("keys/rotate", {});
    const fresh = await tokenOf();
    expect(old.split(".")[0]).not.toBe(fresh.split(".")[0]);
    for (const token of [old, fresh]) await jwtVerify(token, await keys());
    await kit.control("keys/rotate", { retireOld: true });
    await expect(jwtVerify(old, await keys())).rejects.toThrow(/no applicable key/);
    await jwtVerify(await tokenOf(), await keys());
  });
});
