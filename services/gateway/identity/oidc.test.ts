import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Emulator, startEmulator } from "../../emulator/app.ts";
import { CLIENT, OBJECT, TENANT } from "./test-issuer.ts";
import { API_KEY, chat, control, eventually, type GatewayWorld, startGatewayWorld } from "../test-world.ts";

/** A gateway process and tokens of the emulator's issuer, in both forms of Entra ID, over HTTP. */

const V2_AUDIENCE = "8f1a9f0e-2b1d-4d57-9b3c-4e0a6f1d2c3b";
const V1_AUDIENCE = "api://order-desk";
const GOOD = { client_id: CLIENT, oid: OBJECT, tid: TENANT, scope: `${V2_AUDIENCE}/.default`, roles: "Agent.Call" };

let emulator: Emulator;
let world: GatewayWorld;

beforeAll(async () => {
  emulator = await startEmulator({ model: { auth: "None", apiKeys: [], deployments: ["gpt-5-mini"] } });
  const rights = { actors: [CLIENT], roles: ["Agent.Call"], scopes: ["Agent.Use"] };
  world = await startGatewayWorld({
    modelUrl: emulator.url,
    oidc: [
      {
        name: "v2",
        issuer: emulator.url,
        audience: V2_AUDIENCE,
        entra: { tenantId: TENANT, tokenVersion: "V2" },
        ...rights,
      },
      {
        name: "v1",
        issuer: `${emulator.url}/${TENANT}/`,
        audience: V1_AUDIENCE,
        entra: { tenantId: TENANT, tokenVersion: "V1" },
        ...rights,
      },
    ],
  });
  await eventually(async () => ((await world.gateway.ready()).status === 200 ? true : undefined));
});
afterAll(async () => {
  await world?.stop();
  await emulator?.stop();
});

async function tokenOf(form: Record<string, string> = {}): Promise<string> {
  const answer = await fetch(`${emulator.url}/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "client_credentials", client_secret: "any", ...GOOD, ...form }),
  });
  return z.object({ access_token: z.string() }).parse(await answer.json()).access_token;
}

async function emulate(path: string, body: unknown): Promise<void> {
  const answer = await fetch(`${emulator.controlUrl}/control/${path}`, { method: "POST", body: JSON.stringify(body) });
  expect(answer.status, await answer.text()).toBeLessThan(300);
}

const ask = (token: string): Promise<Response> =>
  world.post("/v1/chat/completions", chat("[[say Hi]]"), { authorization: `Bearer ${token}` });

const seen = async (answer: Response): Promise<unknown> => {
  const body = z.looseObject({ error: z.unknown() }).parse(await answer.json());
  const { headers } = answer;
  return {
    status: answer.status,
    error: body.error,
    challenge: headers.get("www-authenticate"),
    again: headers.get("x-should-retry"),
    wait: headers.get("retry-after"),
  };
};
const refusal = (status: number, code: string, message: string): unknown => ({
  status,
  error: { message, type: status === 401 ? "authentication_error" : "permission_error", param: null, code },
  challenge: `Bearer realm="supercargo", error="${code}"`,
  again: "false",
  wait: null,
});

describe("a token of Entra ID", () => {
  it.each([
    ["v2.0 with a role", {}],
    ["v2.0 with a scope", { roles: "", scp: "openid Agent.Use" }],
    ["v1.0", { ver: "1.0", scope: V1_AUDIENCE }],
  ])("in the form of %s comes in, and the audit line says who", async (_, form) => {
    const answer = await ask(await tokenOf(form));
    expect(answer.status).toBe(200);
    const id = answer.headers.get("x-request-id");
    expect(await eventually(() => world.gateway.audit().find((line) => line["requestId"] === id))).toMatchObject({
      callerKind: "token",
      principal: `${TENANT}/${OBJECT}`,
      actor: CLIENT,
      decision: "allow",
    });
  });

  it("is what the openai client takes as its key", async () => {
    const client = new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: () => tokenOf() });
    const answer = await client.chat.completions.create({ model: "gpt", messages: [{ role: "user", content: "x" }] });
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
  });

  it("makes its bearer the one for whom the agent acts", async () => {
    const authorization = `Bearer ${await tokenOf()}`;
    const answer = await world.post("/v1/responses", { model: "orders", input: "x" }, { authorization });
    expect(answer.status).toBe(200);
    const headers = world.orchestrator.requests.at(-1)?.headers ?? {};
    expect(headers["x-supercargo-acting-for"]).toBe(`${TENANT}/${OBJECT}`);
    expect(headers.authorization).not.toBe(authorization);
  });

  const OTHER = "00000000-0000-4000-8000-00000000aaaa";
  it.each([
    ["expired", { expires_in: "-120" }, 401, "invalid_token", '"exp" claim timestamp check failed'],
    [
      "of another audience",
      { scope: "https://graph.microsoft.com/.default" },
      401,
      "invalid_token",
      `aud must be ${V2_AUDIENCE}: current value is ["https://graph.microsoft.com"]`,
    ],
    ["of another tenant", { tid: OTHER }, 401, "invalid_token", `tid must be ${TENANT}: current value is "${OTHER}"`],
    [
      "of a person without a GUID",
      { oid: "person" },
      401,
      "invalid_token",
      'oid must be a GUID: current value is "person"',
    ],
    [
      "without role and scope",
      { roles: "Reader", scp: "openid" },
      403,
      "insufficient_scope",
      "roles must hold one of Agent.Call, or scp must hold one of Agent.Use",
    ],
    [
      "of another application",
      { client_id: OTHER },
      403,
      "insufficient_scope",
      `its application must be one of the issuer's actors: current value is "${OTHER}"`,
    ],
  ] as const)("%s: %j is refused with %i", async (_, form, status, code, reason) => {
    expect(await seen(await ask(await tokenOf(form)))).toEqual(
      refusal(status, code, `Cannot accept the token: ${reason}`),
    );
  });

  it("in the form of v1.0 is refused where v2.0 is configured", async () => {
    const answer = await ask(await tokenOf({ ver: "1.0", tid: OTHER, scope: V2_AUDIENCE }));
    const issuers = `${emulator.url} or ${emulator.url}/${TENANT}/`;
    expect(await seen(answer)).toEqual(
      refusal(
        401,
        "invalid_token",
        `Cannot accept the token: iss must be ${issuers}: current value is "${emulator.url}/${OTHER}/"`,
      ),
    );
  });

  it("of 40 KB is refused before anything of it is read, and the next one comes in", async () => {
    const answer = await ask(`${"e".repeat(40_000)}.e.e`);
    expect(answer.status).toBe(431);
    expect(await answer.json()).toMatchObject({ error: { code: "request_too_large" } });
    expect((await ask(await tokenOf())).status).toBe(200);
  });

  it("never stands in the log, good or bad", async () => {
    const tokens = [await tokenOf(), await tokenOf({ scope: "other" }), await tokenOf({ roles: "" })];
    for (const token of tokens) await ask(token);
    const log = JSON.stringify(world.gateway.lines);
    for (const token of tokens) for (const part of token.split(".").slice(1)) expect(log).not.toContain(part);
  });
});

describe("a key that is replaced by another", () => {
  const fresh = `sk-${"f".repeat(43)}`;
  const keyOf = (key: string, name: string): Record<string, string> => ({
    name,
    sha256: createHash("sha256").update(key).digest("hex"),
    principal: "orders team",
  });

  it("is good beside it, until it is revoked: at once, and the new one stays", async () => {
    const config: unknown = JSON.parse(readFileSync(world.folder.files.config, "utf8"));
    const apiKeys = [keyOf(API_KEY, "team"), keyOf(fresh, "team-2")];
    world.folder.writeConfig({ ...z.looseObject({}).parse(config), apiKeys });
    await eventually(async () => ((await ask(fresh)).status === 200 ? true : undefined));
    expect((await ask(API_KEY)).status).toBe(200);
    world.folder.writeControl(control({ revokedKeys: [apiKeys[0]?.["sha256"] ?? ""] }));
    const startMs = performance.now();
    await eventually(async () => ((await ask(API_KEY)).status === 401 ? true : undefined));
    expect(performance.now() - startMs).toBeLessThan(1_000);
    expect((await ask(fresh)).status).toBe(200);
    world.folder.writeControl(control());
    await eventually(async () => ((await ask(API_KEY)).status === 200 ? true : undefined));
  });
});

describe("an issuer", () => {
  it("that rotates its key is asked once, and both tokens come in", async () => {
    const old = await tokenOf();
    expect((await ask(old)).status).toBe(200);
    await emulate("keys/rotate", {});
    const fresh = await tokenOf();
    expect((await ask(fresh)).status).toBe(200);
    expect((await ask(old)).status).toBe(200);
  });

  it("that is down keeps nobody out whose token was known, nor a new token of a known key", async () => {
    const known = await tokenOf();
    await ask(known);
    const fresh = await tokenOf();
    await emulate("faults", { standIn: "issuer", kind: "Status", status: 503, forSeconds: 3600 });
    expect((await ask(known)).status).toBe(200);
    expect((await ask(fresh)).status).toBe(200);
    expect((await world.gateway.ready()).status).toBe(200);
  });

  it("that is down and has a new key makes its bearers wait, as theirs may be good tokens", async () => {
    const other = await startEmulator();
    const worldOfOther = await startGatewayWorld({
      modelUrl: emulator.url,
      oidc: [{ name: "x", issuer: other.url, audience: "a", actors: [], roles: [], scopes: [] }],
    });
    await eventually(async () => ((await worldOfOther.gateway.ready()).status === 200 ? true : undefined));
    await fetch(`${other.controlUrl}/control/keys/rotate`, { method: "POST", body: "{}" });
    const form = { grant_type: "client_credentials", client_id: "c", client_secret: "s", scope: "a" };
    const body = new URLSearchParams(form);
    const issued = await (await fetch(`${other.url}/token`, { method: "POST", body })).json();
    const token = z.object({ access_token: z.string() }).parse(issued).access_token;
    await other.stop();
    const answer = await worldOfOther.post("/v1/chat/completions", chat("x"), { authorization: `Bearer ${token}` });
    expect(await seen(answer)).toEqual({
      status: 503,
      error: {
        message: `Cannot judge the token as the keys of its issuer cannot be had: ${other.url}`,
        type: "server_error",
        param: null,
        code: "issuer_unavailable",
      },
      challenge: null,
      again: null,
      wait: "2",
    });
    expect((await worldOfOther.post("/v1/chat/completions", chat("x"))).status).toBe(200);
    await worldOfOther.stop();
  });

  it("that was never there keeps its bearers out and nobody else, and the pod is ready", async () => {
    const away = "http://127.0.0.1:9";
    const alone = await startGatewayWorld({
      modelUrl: emulator.url,
      oidc: [{ name: "x", issuer: away, audience: "a", actors: [], roles: [], scopes: [] }],
    });
    await eventually(async () => ((await alone.gateway.ready()).status === 200 ? true : undefined));
    const token = `${part({ alg: "ES256", kid: "1" })}.${part({ iss: away, aud: "a", sub: "s" })}.AA`;
    const answer = await alone.post("/v1/chat/completions", chat("x"), { authorization: `Bearer ${token}` });
    expect([answer.status, await answer.json()]).toMatchObject([503, { error: { code: "issuer_unavailable" } }]);
    expect((await alone.post("/v1/chat/completions", chat("x"))).status).toBe(200);
    await alone.stop();
  });
});

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
