import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { Control } from "#core/api/pod-config.ts";
import {
  API_KEY,
  chat,
  control,
  deployment,
  eventually,
  type GatewayWorld,
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
  const one = (name: string) => ({
    name,
    outputTokensMax: 100,
    deployments: [deployment("primary", { modelUrl: model.url })],
  });
  world = await startGatewayWorld({ modelUrl: model.url, models: ["gpt", "small"].map(one) });
});
afterAll(async () => {
  await world?.stop();
  await model?.stop();
});
afterEach(async () => {
  world.folder.writeControl(control());
  await eventually(async () => ((await listed()).length === 2 ? true : undefined));
});

const answerSchema = z.object({
  error: z.object({ code: z.string(), type: z.string(), param: z.string().nullable(), message: z.string() }),
});

function allow(features: Control["entitlement"]["features"]): void {
  world.folder.writeControl(
    control({ entitlement: { state: "Active", planId: "pro", validUntil: "2099-01-01T00:00:00Z", features } }),
  );
}

async function listed(): Promise<string[]> {
  const answer = await fetch(`${world.gateway.url}/v1/models`, { headers: { "api-key": API_KEY } });
  const { data } = z.object({ data: z.array(z.object({ id: z.string() })) }).parse(await answer.json());
  return data.map(({ id }) => id);
}

/** Polls until the gateway has read its control: it answers as wanted, or the last answer is shown. */
async function refused(path: string, body: object, headers?: Record<string, string>): Promise<Response> {
  return eventually(async () => {
    const answer = await world.post(path, body, headers);
    return answer.status === 200 ? undefined : answer;
  });
}

describe("a plan that allows one model", () => {
  it("refuses the others, lists only that one, and says so in audit and metrics", async () => {
    allow({ models: ["small"] });
    const before = model.requests.length;
    await eventually(async () => ((await listed()).length === 1 ? true : undefined));
    expect(await listed()).toEqual(["small"]);
    const answer = await refused("/v1/chat/completions", chat("x"));
    expect([
      answer.status,
      answer.headers.get("x-should-retry"),
      answerSchema.parse(await answer.json()).error,
    ]).toEqual([
      403,
      "false",
      {
        code: "not_entitled",
        type: "permission_error",
        param: "model",
        message: 'Cannot call the model as plan pro allows model small: current value is "gpt"',
      },
    ]);
    expect(model.requests.length).toBe(before);
    expect((await world.post("/v1/chat/completions", { ...chat("x"), model: "small" })).status).toBe(200);

    // What the agent asks for in its own run is under the same rule.
    const authorization = `Bearer ${await world.issuer.sign()}`;
    const own = await world.post("/v1/chat/completions", chat("x"), { authorization });
    expect([own.status, answerSchema.parse(await own.json()).error.code]).toEqual([403, "not_entitled"]);

    const lines = world.gateway.audit().filter((line) => line["rule"] === "plan_models");
    expect(lines.map(({ decision, planId, model: alias }) => ({ decision, planId, alias }))).toEqual(
      ["client", "run"].map(() => ({ decision: "refuse", planId: "pro", alias: "gpt" })),
    );
    expect(await world.gateway.metrics()).toMatch(/supercargo_gateway_refusals_total\{reason="not_entitled"\} 2$/m);
  });
});

describe("a plan that allows routes", () => {
  const rows = [
    ["chat", "/v1/chat/completions", chat("x")],
    ["responses", "/v1/responses", { model: "gpt", input: "x" }],
    ["embeddings", "/v1/embeddings", { model: "gpt", input: "x" }],
    ["agent", "/v1/responses", { input: "x" }],
  ] as const;

  it.each(rows)("all but %s refuses that alone", async (route, path, body) => {
    const others = rows.filter(([name]) => name !== route);
    allow({ routes: others.map(([name]) => name) });
    const answer = await refused(path, body);
    expect([answer.status, answerSchema.parse(await answer.json()).error]).toEqual([
      403,
      expect.objectContaining({
        code: "not_entitled",
        message: `Cannot begin this as plan pro allows route ${others.map(([name]) => name).join(", ")}: current value is "${route}"`,
      }),
    ]);
    for (const [, otherPath, otherBody] of others) expect((await world.post(otherPath, otherBody)).status).toBe(200);
    expect(world.gateway.audit().at(-4)).toMatchObject({ decision: "refuse", rule: "plan_routes", planId: "pro" });
  });

  it("of runs alone lets the agent think, and stored runs be read", async () => {
    allow({ routes: ["agent"] });
    await refused("/v1/chat/completions", chat("x"));
    const authorization = `Bearer ${await world.issuer.sign()}`;
    expect((await world.post("/v1/chat/completions", chat("x"), { authorization })).status).toBe(200);
    expect((await world.post("/v1/responses", { input: "x" })).status).toBe(200);
    const stored = await fetch(`${world.gateway.url}/v1/responses/resp_1`, { headers: { "api-key": API_KEY } });
    expect(stored.status).toBe(200);
  });
});
