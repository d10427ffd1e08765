import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  API_KEY,
  chat,
  control,
  eventually,
  EXPIRED_KEY,
  gatewayConfig,
  type GatewayWorld,
  ORCHESTRATOR_SUBJECT,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "./test-world.ts";

let model: Peer;
let world: GatewayWorld;

beforeAll(async () => {
  model = await startPeer((_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } }));
  });
  world = await startGatewayWorld({ modelUrl: model.url });
});
afterAll(async () => {
  await world?.stop();
  await model?.stop();
});

async function errorOf(
  answer: Response,
): Promise<{ status: number; headers: Headers; error: { code?: string; message?: string } }> {
  const body: unknown = await answer.json();
  const error = typeof body === "object" && body !== null && "error" in body ? Object(body.error) : {};
  return { status: answer.status, headers: answer.headers, error };
}

describe("a body that cannot be read", () => {
  const json = "Cannot read the request body as JSON as";
  it.each([
    ["", `${json} it must be an object: it ends at byte 0`],
    ["hello", `${json} it must be an object: see byte 0`],
    ["[]", `${json} it must be an object: see byte 0`],
    ['"gpt"', `${json} it must be an object: see byte 0`],
    ["{", `${json} a key in quotes must follow: it ends at byte 1`],
    ['{"model"', `${json} a colon must follow a key: it ends at byte 8`],
    ['{"model":', `${json} a value must follow: it ends at byte 9`],
    ['{"model":"gpt"', `${json} a comma or } must follow a value: it ends at byte 14`],
    ['{"model":"gpt",}', `${json} a key in quotes must follow: see byte 15`],
    ['{"model":"gpt"}}', `${json} nothing may follow the object: see byte 15`],
    ['{"model":"gp', `${json} a string must end with a quote and hold no raw control character: it ends at byte 12`],
    ["{model:1}", `${json} a key in quotes must follow: see byte 1`],
    ['{"n":NaN}', `${json} a value must follow: see byte 5`],
    ['{"n":+1}', `${json} a value must follow: see byte 5`],
    ['{"a":"\\q"}', `${json} an unknown escape stands in a string: see byte 6`],
    ["{/*c*/}", `${json} a key in quotes must follow: see byte 1`],
  ])("%j", async (body, message) => {
    const { status, error, headers } = await errorOf(await world.post("/v1/chat/completions", body));
    expect([status, error]).toEqual([
      400,
      { message, type: "invalid_request_error", param: null, code: "invalid_json" },
    ]);
    expect(headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get("x-should-retry")).toBe("false");
  });

  it.each([
    [
      "no model",
      "chat/completions",
      { messages: [] },
      400,
      "invalid_value",
      "Cannot find the model as model must be gpt",
    ],
    [
      "unknown model",
      "chat/completions",
      { model: "gpt-9" },
      404,
      "model_not_found",
      'Cannot find the model as model must be gpt: current value is "gpt-9"',
    ],
    [
      "the agent on a model's route",
      "chat/completions",
      { model: "orders" },
      404,
      "model_not_found",
      'Cannot find the model as model must be gpt: current value is "orders"',
    ],
    [
      "unknown model for a response",
      "responses",
      { model: "x" },
      404,
      "model_not_found",
      'Cannot find the model as model must be one of orders, gpt: current value is "x"',
    ],
    [
      "a background response of a model",
      "responses",
      { model: "gpt", background: true },
      400,
      "unsupported_parameter",
      "Cannot run a model in the background as its usage could not be counted: background must be false",
    ],
  ])("%s", async (...[, path, body, status, code, message]) => {
    const answer = await errorOf(await world.post(`/v1/${path}`, body));
    expect([answer.status, answer.error.code, answer.error.message]).toEqual([status, code, message]);
  });
});

describe("a request on the wrong way", () => {
  it.each([
    ["GET", "/", 404, "not_found", "Cannot find the route as it must be one that is served: current value is GET /"],
    [
      "POST",
      "/v1/completions",
      404,
      "not_found",
      "Cannot find the route as it must be one that is served: current value is POST /v1/completions",
    ],
    [
      "GET",
      "/v1/chat/completions",
      405,
      "method_not_allowed",
      "Cannot use the route as its method must be POST: current value is GET /v1/chat/completions",
    ],
    [
      "PUT",
      "/v1/responses/resp_1",
      405,
      "method_not_allowed",
      "Cannot use the route as its method must be GET or DELETE: current value is PUT /v1/responses/resp_1",
    ],
    [
      "GET",
      "/metrics",
      404,
      "not_found",
      "Cannot find the route as it must be one that is served: current value is GET /metrics",
    ],
    ["GET", "/v1/responses/../models", 200, undefined, undefined],
  ])("%s %s: %i", async (...[method, path, status, code, message]) => {
    const answer = await fetch(`${world.gateway.url}${path}`, { method, headers: { "api-key": API_KEY } });
    if (code === undefined) expect(answer.status).toBe(status);
    else {
      const { error, headers } = await errorOf(answer);
      expect([answer.status, error.code, error.message]).toEqual([status, code, message]);
      expect(headers.get("allow") !== null).toBe(status === 405);
    }
  });

  it.each([
    [
      { "content-encoding": "gzip" },
      "Cannot read the request body as content-encoding must be absent or identity: current value is gzip",
    ],
    [
      { "content-type": "text/plain" },
      "Cannot read the request body as content-type must be application/json: current value is text/plain",
    ],
  ])("with %j: 415", async (headers, message) => {
    const answer = await errorOf(await world.post("/v1/chat/completions", "{}", headers));
    expect([answer.status, answer.error.code, answer.error.message]).toEqual([415, "unsupported_media_type", message]);
  });

  it("that is no HTTP gets an error in the same shape", async () => {
    const text = await new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(world.gateway.url).port), "127.0.0.1", () =>
        socket.write("nonsense\r\n\r\n"),
      );
      let seen = "";
      socket.on("data", (chunk) => (seen += chunk.toString())).on("close", () => resolve(seen));
    });
    expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(text).toContain('"message":"Cannot read the request as it must be HTTP/1.1"');
  });
});

describe("a credential", () => {
  it.each([
    ["none", {}, "invalid_api_key", "Cannot authenticate as authorization or api-key must be set"],
    [
      "another scheme",
      { authorization: "Basic eDp5" },
      "invalid_api_key",
      "Cannot read the credential as authorization must be Bearer and a key or token",
    ],
    [
      "unknown",
      { authorization: "Bearer sk-unknown" },
      "invalid_api_key",
      "Cannot accept the API key as it is not known",
    ],
    [
      "expired",
      { "api-key": EXPIRED_KEY },
      "invalid_api_key",
      "Cannot accept the API key as it has expired: current key is old",
    ],
    ["a token of nobody", { authorization: "Bearer aa.bb.cc" }, "invalid_token", /^Cannot accept the token: /],
  ])("%s: 401", async (...[, headers, code, message]) => {
    const answer = await fetch(`${world.gateway.url}/v1/models`, { headers });
    const { status, error } = await errorOf(answer);
    expect([status, error.code]).toEqual([401, code]);
    expect(error.message).toMatch(message);
    expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer /);
  });

  it("reaches the openai client as its typed error", async () => {
    const client = new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: "sk-wrong", maxRetries: 2 });
    await expect(client.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  });

  it("is refused within a second of its revocation, and known again after it", async () => {
    const [key] = gatewayConfig({
      modelUrl: model.url,
      orchestratorUrl: model.url,
      identity: world.issuer.identity,
    }).apiKeys;
    const statusNow = async (): Promise<number> => (await world.post("/v1/chat/completions", chat("x"))).status;
    expect(await statusNow()).toBe(200);
    world.folder.writeControl(control({ revokedKeys: [key?.sha256 ?? ""] }));
    await eventually(async () => ((await statusNow()) === 401 ? true : undefined));
    world.folder.writeControl(control());
    await eventually(async () => ((await statusNow()) === 200 ? true : undefined));
  });

  it("of the orchestrator is believed about whom it acts for; of a key holder it is not", async () => {
    const token = await world.issuer.sign();
    const header = { "x-supercargo-acting-for": "Zo%C3%AB" };
    const asService = await world.post("/v1/chat/completions", chat("x"), {
      authorization: `Bearer ${token}`,
      ...header,
    });
    const asClient = await world.post("/v1/chat/completions", chat("x"), header);
    const lineOf = (answer: Response): Promise<Record<string, unknown>> =>
      eventually(() => world.gateway.audit().find((line) => line["requestId"] === answer.headers.get("x-request-id")));
    expect(await lineOf(asService)).toMatchObject({
      callerKind: "orchestrator",
      principal: "Zoë",
      actor: ORCHESTRATOR_SUBJECT,
    });
    expect(await lineOf(asClient)).toMatchObject({ callerKind: "key", principal: "orders team", actor: "team" });
  });

  it("of the orchestrator opens no way back to the agent itself", async () => {
    const authorization = `Bearer ${await world.issuer.sign()}`;
    const run = await errorOf(
      await world.post("/v1/responses", { model: "orders", input: "again" }, { authorization }),
    );
    const stored = await errorOf(
      await fetch(`${world.gateway.url}/v1/responses/resp_1`, { headers: { authorization } }),
    );
    expect([run.status, stored.status]).toEqual([404, 404]);
    expect(world.orchestrator.requests).toEqual([]);
  });

  it("never goes upstream, nor does any other header of the caller", async () => {
    await world.post("/v1/chat/completions", chat("x"), {
      "user-agent": "spy",
      "x-stainless-lang": "js",
      cookie: "a=b",
      "x-request-id": "mine-1",
    });
    const seen = model.requests.at(-1);
    expect(Object.keys(seen?.headers ?? {}).sort()).toEqual([
      "accept",
      "accept-encoding",
      "api-key",
      "connection",
      "content-length",
      "content-type",
      "host",
      "x-request-id",
    ]);
    expect(seen?.headers["x-request-id"]).toBe("mine-1");
    expect(JSON.stringify(seen)).not.toContain(API_KEY);
  });
});

describe("a body above the limit", () => {
  const big = (mebibytes: number): string => JSON.stringify(chat("x".repeat(mebibytes * 1024 * 1024)));

  it.each([5, 30])("of %i MiB gets a 413 that curl can read", async (mebibytes) => {
    const file = join(world.folder.path, `${mebibytes}.json`);
    writeFileSync(file, big(mebibytes));
    const before = model.requests.length;
    const { stdout } = await promisify(execFile)("curl", [
      "-sS",
      "-m",
      "20",
      "-w",
      "\n%{http_code}",
      "-H",
      "content-type: application/json",
      "-H",
      `api-key: ${API_KEY}`,
      "--data-binary",
      `@${file}`,
      `${world.gateway.url}/v1/chat/completions`,
    ]);
    const [body = "", status] = stdout.split("\n");
    expect(status).toBe("413");
    expect(JSON.parse(body)).toEqual({
      error: {
        message: expect.stringMatching(
          /^Cannot accept the request body as it must be at most 4194304 bytes: current size is \d+ or more$/,
        ),
        type: "invalid_request_error",
        param: null,
        code: "request_too_large",
      },
    });
    expect(model.requests.length).toBe(before);
  });

  it("reaches the openai client as its typed error", async () => {
    const client = new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
    const call = client.chat.completions.create({ model: "gpt", messages: [{ role: "user", content: big(5) }] });
    await expect(call).rejects.toSatisfy((error) => error instanceof APIError && error.status === 413);
  });

  it("in chunks, of no announced length, is refused as well", async () => {
    const status = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(`${world.gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", "api-key": API_KEY, "transfer-encoding": "chunked" },
      });
      request.on("response", (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.on("error", reject);
      request.end(big(5));
    });
    expect(status).toBe(413);
  });
});

describe("what the pod is told", () => {
  const statusOf = async (answer: Response): Promise<string> =>
    `${answer.status} ${(await errorOf(answer)).error.code ?? "ok"}`;

  it.each([
    [
      "a suspended subscription",
      { entitlement: { state: "Suspended", planId: "pro", validUntil: "2099-01-01T00:00:00Z" } },
      "403 subscription_suspended",
    ],
    [
      "a revoked subscription",
      { entitlement: { state: "Revoked", planId: "pro", validUntil: "2099-01-01T00:00:00Z" } },
      "403 subscription_revoked",
    ],
    [
      "a grant that ran out",
      { entitlement: { state: "Active", planId: "pro", validUntil: "2020-01-01T00:00:00Z" } },
      "403 grant_expired",
    ],
    [
      "a grant that ran out by the demo's clock",
      {
        clockOffsetSeconds: 2_147_483_647,
        entitlement: { state: "Active", planId: "pro", validUntil: "2080-01-01T00:00:00Z" },
      },
      "403 grant_expired",
    ],
    ["mode Revoked", { mode: "Revoked" }, "403 not_entitled"],
    [
      "a plan that the catalogue does not have",
      { entitlement: { state: "Unknown", planId: "gold", validUntil: "2099-01-01T00:00:00Z" } },
      "503 unknown_plan",
    ],
  ] as const)("%s: %s", async (...[, changed, expected]) => {
    world.folder.writeControl(control(changed));
    await eventually(async () =>
      (await statusOf(await world.post("/v1/chat/completions", chat("x")))) === expected ? true : undefined,
    );
    expect((await world.gateway.ready()).status).toBe(200);
  });

  it("mode Paused begins nothing new, but lets a run in flight end", async () => {
    world.folder.writeControl(control({ mode: "Paused" }));
    await eventually(async () =>
      (await statusOf(await world.post("/v1/responses", { input: "x" }))) === "403 agent_paused" ? true : undefined,
    );
    expect(await statusOf(await world.post("/v1/chat/completions", chat("x")))).toBe("403 agent_paused");
    const authorization = `Bearer ${await world.issuer.sign()}`;
    expect((await world.post("/v1/chat/completions", chat("x"), { authorization })).status).toBe(200);
    const stored = await fetch(`${world.gateway.url}/v1/responses/resp_1`, { headers: { "api-key": API_KEY } });
    expect(stored.status).toBe(200);
    world.folder.writeControl(control());
    await eventually(async () =>
      (await world.post("/v1/responses", { input: "x" })).status === 200 ? true : undefined,
    );
  });
});
