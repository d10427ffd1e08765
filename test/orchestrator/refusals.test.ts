import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import type { TokenClaims } from "./pod-files.ts";
import { type AgentWorld, createWorld } from "./world.ts";

let world: AgentWorld;
beforeAll(async () => {
  world = await createWorld({ environment: { SUPERCARGO_RUNS_MAX: "1" } });
  await world.start();
});
afterEach(() => {
  world.writeControl();
  world.hooks.beforeModel = () => {};
});
afterAll(() => world.stop());

async function errorOf(answer: Response): Promise<unknown> {
  expect(answer.headers.get("x-request-id")).toBeTruthy();
  return { status: answer.status, ...Object(await answer.json()).error };
}

describe("callers", () => {
  interface Claims extends TokenClaims {
    readonly token?: string;
  }
  const cases: readonly (readonly [string, Claims, string | RegExp])[] = [
    ["no token", {}, "Cannot accept the call as it must carry the gateway's token: Authorization: Bearer TOKEN"],
    ["a broken token", { token: "a.b.c" }, /^Cannot accept the call as /],
    ["another callee's token", { audience: "gateway.order-desk.shop.supercargo.dev" }, /aud/],
    [
      "another account",
      { subject: "system:serviceaccount:shop:other" },
      "Cannot accept the call as subject system:serviceaccount:shop:other is not allowed here",
    ],
    ["an old token", { expiresIn: "-5m" }, /exp/],
  ];
  it.each(cases)("with %s get 401", async (_what, claims, message) => {
    const minted = Object.keys(claims).length === 0 ? undefined : (claims.token ?? (await world.token(claims)));
    const answer = await fetch(`${world.url()}/v1/responses`, {
      method: "POST",
      headers: {
        ...(minted === undefined ? {} : { authorization: `Bearer ${minted}` }),
        "content-type": "application/json",
        [ACTING_FOR_HEADER]: "alice",
      },
      body: JSON.stringify({ input: "x" }),
    });
    expect(await errorOf(answer)).toEqual({
      status: 401,
      type: "authentication_error",
      param: null,
      code: "invalid_token",
      message: typeof message === "string" ? message : expect.stringMatching(message),
    });
    expect(answer.headers.get("x-should-retry")).toBe("false");
  });

  it("that name no principal get 401", async () => {
    const answer = await world.request("/v1/responses", { body: { input: "x" }, headers: { [ACTING_FOR_HEADER]: "" } });
    expect(await errorOf(answer)).toMatchObject({
      status: 401,
      message: "Cannot accept the call as x-supercargo-acting-for must name the principal it is made for",
    });
  });
});

describe("requests", () => {
  it.each([
    [
      { path: "/v1/responses/resp_0" },
      { status: 404, code: "response_not_found", message: 'Cannot find response "resp_0"' },
    ],
    [{ path: "/v1/other" }, { status: 404, code: "not_found", message: "Cannot find GET /v1/other" }],
    [
      { path: "/v1/responses", method: "PUT", body: {} },
      { status: 405, code: "method_not_allowed", message: "Cannot use this method here: see the allow header" },
    ],
    [
      { path: "/v1/responses", body: { input: "x", model: "gpt-9" } },
      {
        status: 404,
        code: "model_not_found",
        param: "model",
        message: 'Cannot find the model as model must be order-desk: current value is "gpt-9"',
      },
    ],
    [
      { path: "/v1/responses", body: { input: "x", previous_response_id: "resp_0" } },
      {
        status: 404,
        code: "response_not_found",
        param: "previous_response_id",
        message:
          'Cannot find the previous response as previous_response_id must name a stored response: current value is "resp_0"',
      },
    ],
    [
      {
        path: "/v1/responses",
        body: { input: [{ type: "function_call", call_id: "c1", name: "f", arguments: "{}" }] },
      },
      {
        status: 400,
        code: "invalid_value",
        message:
          'Cannot create the response as each function_call must have a function_call_output: current value is "c1"',
      },
    ],
    [
      { path: "/v1/responses", body: { input: [{ type: "function_call_output", call_id: "c2", output: "" }] } },
      {
        status: 400,
        code: "invalid_value",
        message:
          'Cannot create the response as call_id of a function_call_output must name a function_call: current value is "c2"',
      },
    ],
    [
      { path: "/v1/responses", body: { input: "x" }, headers: { "content-type": "text/plain" } },
      {
        status: 415,
        code: "unsupported_media_type",
        message: "Cannot read the body as it must be application/json without content-encoding",
      },
    ],
    [
      { path: "/v1/responses", body: { input: "x" }, headers: { "idempotency-key": "a b" } },
      {
        status: 400,
        code: "invalid_value",
        message: "Cannot create the response as Idempotency-Key must have 1 to 255 visible ASCII characters",
      },
    ],
    [
      { path: "/v1/responses", body: { input: "x".repeat(4 * 1024 * 1024) } },
      {
        status: 413,
        code: "request_too_large",
        message: "Cannot accept the request body as it must be at most 4194304 bytes",
      },
    ],
    [{ path: "/v1/responses/resp_0?stream=true" }, { status: 404, code: "response_not_found" }],
  ])("%j", async ({ path, ...options }, expected) => {
    expect(await errorOf(await world.request(path, options))).toMatchObject(expected);
  });
});

describe("control", () => {
  const valid = "2099-01-01T00:00:00Z";
  it.each([
    [{ mode: "Paused" }, "agent_paused", "Cannot begin a run as the agent is paused"],
    [{ mode: "Revoked" }, "not_entitled", "Cannot serve as the agent was revoked"],
    [
      { entitlement: { state: "Suspended", planId: "p", validUntil: valid } },
      "subscription_suspended",
      "Cannot serve as the subscription is suspended",
    ],
    [
      { entitlement: { state: "Revoked", planId: "p", validUntil: valid } },
      "subscription_revoked",
      "Cannot serve as the subscription was revoked",
    ],
    [
      { entitlement: { state: "Active", planId: "p", validUntil: "2020-01-01T00:00:00Z" } },
      "grant_expired",
      "Cannot serve as the grant ended at 2020-01-01T00:00:00Z",
    ],
    [
      {
        entitlement: { state: "Active", planId: "p", validUntil: "2040-01-01T00:00:00Z" },
        clockOffsetSeconds: 2 ** 30,
      },
      "grant_expired",
      "Cannot serve as the grant ended at 2040-01-01T00:00:00Z",
    ],
  ])("%j", async (control, code, message) => {
    world.writeControl(control);
    const error = async (): Promise<unknown> => errorOf(await world.request("/v1/responses", { body: { input: "x" } }));
    await expect.poll(error, { timeout: 3000 }).toMatchObject({ status: 403, code, message });
  });

  it("Constrained refuses every tool call and still answers", async () => {
    world.writeControl({ mode: "Constrained" });
    const ask = async (): Promise<string> => {
      const body = { input: '[[call get_order {"order_id":"A-1001"}]][[next]][[say Sorry.]]' };
      return (await world.request("/v1/responses", { body })).text();
    };
    await expect.poll(ask, { timeout: 3000 }).toContain("Refused (approval_unavailable): The agent is constrained");
  });
});

describe("bounds", () => {
  it("refuses a run more than allowed with 429, and says when to come back", async () => {
    const reached = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    world.hooks.beforeModel = () => {
      reached.resolve();
      return release.promise;
    };
    const first = world.request("/v1/responses", { body: { input: "[[say One.]]" } });
    await reached.promise;
    const second = await world.request("/v1/responses", { body: { input: "[[say Two.]]" } });
    expect(second.headers.get("retry-after")).toBe("2");
    expect(await errorOf(second)).toMatchObject({
      status: 429,
      code: "rate_limit_exceeded",
      message: "Cannot begin a run as at most 1 run at the same time",
    });
    const streamed = await world.request("/v1/responses", { body: { input: "[[say Two.]]", stream: true } });
    expect(streamed.status).toBe(429);
    release.resolve();
    expect((await first).status).toBe(200);
  });
});
