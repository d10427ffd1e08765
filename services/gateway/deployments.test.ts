import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  chat,
  deployment,
  eventually,
  type GatewayWorld,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "./test-world.ts";

/** What is reserved and what is paid by use, behind the alias `gpt`; the second also alone behind `alone`. */
let reserved: Peer;
let onDemand: Peer;
let world: GatewayWorld;

const whole: Peer["answer"] = (_, response) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.end('{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}');
};

beforeAll(async () => {
  reserved = await startPeer(whole);
  onDemand = await startPeer(whole);
  const alias = (name: string) => ({
    name,
    outputTokensMax: 4096,
    deployments: [deployment("on-demand", { modelUrl: onDemand.url })],
  });
  world = await startGatewayWorld({
    modelUrl: reserved.url,
    models: [
      {
        name: "gpt",
        outputTokensMax: 4096,
        deployments: [
          deployment("reserved", { modelUrl: reserved.url }),
          { ...deployment("on-demand", { modelUrl: onDemand.url }), priority: 1 },
        ],
      },
      {
        name: "quick",
        outputTokensMax: 4096,
        firstByteTimeoutMs: 400,
        deployments: [
          deployment("reserved", { modelUrl: reserved.url }),
          { ...deployment("on-demand", { modelUrl: onDemand.url }), priority: 1 },
        ],
      },
      alias("alone"),
      alias("slow"),
    ],
  });
});
afterAll(async () => {
  await world?.stop();
  await reserved?.stop();
  await onDemand?.stop();
});
beforeEach(() => {
  reserved.requests.length = onDemand.requests.length = 0;
  reserved.answer = onDemand.answer = whole;
});

const ask = (model: string): Promise<Response> => world.post("/v1/chat/completions", { ...chat("x"), model });
const seen = (): [number, number] => [reserved.requests.length, onDemand.requests.length];
async function metric(name: string): Promise<string[]> {
  const text = await world.gateway.metrics();
  return text.split("\n").filter((line) => line.startsWith(`supercargo_gateway_${name}{`));
}
const auditOf = (answer: Response): Promise<Record<string, unknown>> =>
  eventually(() => world.gateway.audit().find((line) => line["requestId"] === answer.headers.get("x-request-id")));

describe("a reserved deployment that says for how long it is full", () => {
  it("is left alone for so long, also over a change of the configuration; the other one serves", async () => {
    reserved.answer = (_, response) => {
      response.writeHead(429, { "retry-after": "30" });
      response.end("{}");
    };
    expect((await ask("gpt")).status).toBe(200);
    expect(seen()).toEqual([1, 1]);
    const second = await ask("gpt");
    expect([second.status, await auditOf(second)]).toMatchObject([200, { deployment: "on-demand", attempts: 1 }]);
    expect(await metric("retries_total")).toEqual(['supercargo_gateway_retries_total{model="gpt",reason="429"} 1']);
    expect(await metric("fallbacks_total")).toEqual([
      'supercargo_gateway_fallbacks_total{model="gpt",deployment="on-demand",reason="failed"} 1',
      'supercargo_gateway_fallbacks_total{model="gpt",deployment="on-demand",reason="unavailable"} 1',
    ]);
    const config = JSON.parse(readFileSync(world.folder.files.config, "utf8"));
    world.folder.writeConfig({
      ...config,
      models: config.models.filter((model: { name: string }) => model.name !== "slow"),
    });
    await eventually(async () => ((await ask("slow")).status === 404 ? true : undefined));
    expect((await ask("gpt")).status).toBe(200);
    expect(reserved.requests).toHaveLength(1);
    expect(await metric("deployment_state")).toEqual([
      'supercargo_gateway_deployment_state{model="gpt",deployment="reserved"} 1',
      'supercargo_gateway_deployment_state{model="gpt",deployment="on-demand"} 0',
      'supercargo_gateway_deployment_state{model="quick",deployment="reserved"} 0',
      'supercargo_gateway_deployment_state{model="quick",deployment="on-demand"} 0',
      'supercargo_gateway_deployment_state{model="alone",deployment="on-demand"} 0',
    ]);
  });
});

describe("a deployment that fails again and again", () => {
  it("is not asked any more; with no other the client gets 503 and when to come back", async () => {
    onDemand.answer = (_, response) => {
      response.writeHead(500, { "content-type": "application/json" });
      response.end("{}");
    };
    expect([(await ask("alone")).status, (await ask("alone")).status]).toEqual([502, 502]);
    expect(seen()).toEqual([0, 5]);
    const answer = await ask("alone");
    expect([answer.status, await answer.json()]).toMatchObject([
      503,
      {
        error: {
          message: "Cannot call the model as none of its deployments works at the moment",
          type: "upstream_error",
          code: "upstream_unavailable",
        },
      },
    ]);
    const waitMs = Number(answer.headers.get("retry-after-ms"));
    expect(waitMs).toBeGreaterThan(5_000);
    expect(waitMs).toBeLessThanOrEqual(10_000);
    expect(answer.headers.get("retry-after")).toBe(String(Math.ceil(waitMs / 1000)));
    expect(seen()).toEqual([0, 5]);
    expect(await auditOf(answer)).toMatchObject({ decision: "refuse", rule: "upstream_unavailable" });
    expect(await metric("deployment_state")).toContain(
      'supercargo_gateway_deployment_state{model="alone",deployment="on-demand"} 2',
    );
    expect(world.gateway.lines).toContainEqual(
      expect.objectContaining({ msg: "Opened the breaker of deployment", deployment: "on-demand", openings: 1 }),
    );
  });
});

describe("a deployment whose answer does not begin within firstByteTimeoutMs", () => {
  it.each<[string, Peer["answer"]]>([
    ["no head", () => {}],
    ["a head alone", (_, response) => response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders()],
  ])("is left for another one: %s", async (_, answer) => {
    reserved.answer = answer;
    const startMs = performance.now();
    const got = await ask("quick");
    expect([got.status, await auditOf(got)]).toMatchObject([200, { deployment: "on-demand", attempts: 2 }]);
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(390);
    expect(performance.now() - startMs).toBeLessThan(3_000);
    expect(await metric("retries_total")).toContainEqual(expect.stringContaining('{model="quick",reason="timeout"}'));
  });

  it("is not asked a second time: with no other the client gets 504", async () => {
    reserved.answer = onDemand.answer = () => {};
    const got = await ask("quick");
    expect([got.status, await got.json()]).toMatchObject([504, { error: { code: "upstream_timeout" } }]);
    expect(seen()).toEqual([1, 1]);
  });
});
