import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GatewayConfig } from "#core/api/pod-config.ts";
import {
  AGENT,
  API_KEY,
  chat,
  control,
  gatewayConfig,
  type GatewayWorld,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "../test-world.ts";

let model: Peer;
let world: GatewayWorld;
let isBroken = false;
let isSilent = false;

beforeAll(async () => {
  model = await startPeer((_, response) => {
    if (isSilent) return;
    response.writeHead(isBroken ? 400 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify({ choices: [], usage: { prompt_tokens: 40, completion_tokens: 60 } }));
  });
  world = await startGatewayWorld({ modelUrl: model.url });
});
afterAll(async () => {
  await world.stop();
  await model.stop();
});

/** Other limits, in force when the gateway says so. */
async function setRates(rateLimits: NonNullable<GatewayConfig["rateLimits"]>): Promise<void> {
  const applied = (): number => world.gateway.lines.filter(({ msg }) => msg === "Applied config").length;
  const before = applied();
  world.folder.writeConfig(
    gatewayConfig({
      modelUrl: model.url,
      orchestratorUrl: world.orchestrator.url,
      identity: world.issuer.identity,
      modelKeyFile: world.folder.modelKeyFile,
      rateLimits,
    }),
  );
  await expect.poll(applied, { timeout: 10_000 }).toBeGreaterThan(before);
}

async function setPlan(requestsPerMinute: number | undefined): Promise<void> {
  const applied = (): number => world.gateway.lines.filter(({ msg }) => msg === "Applied control").length;
  const before = applied();
  const { entitlement } = control();
  const features = requestsPerMinute === undefined ? {} : { requestsPerMinute };
  world.folder.writeControl(control({ entitlement: { ...entitlement, features } }));
  await expect.poll(applied, { timeout: 5000 }).toBeGreaterThan(before);
}

async function statuses(calls: number, path = "/v1/chat/completions", body: object = chat("a")): Promise<number[]> {
  const answers = await Promise.all(Array.from({ length: calls }, () => world.post(path, body)));
  await Promise.all(answers.map((answer) => answer.text()));
  return answers.map(({ status }) => status).toSorted((a, b) => a - b);
}

const metric = async (line: string): Promise<boolean> => (await world.gateway.metrics()).includes(line);

describe("rate limits", () => {
  it("let in as many of many at once as the limit allows, and tell the others when to come back", async () => {
    await setRates([{ name: "keys", per: "Key", mode: "Enforce", requestsPerMinute: 4 }]);
    const asked = model.requests.length;
    expect(await statuses(10)).toEqual([200, 200, 200, 200, 429, 429, 429, 429, 429, 429]);
    expect(model.requests.length - asked).toBe(4);
    const answer = await world.post("/v1/chat/completions", chat("a"));
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after-ms"))).toBeGreaterThan(1000);
    expect(answer.headers.get("x-ratelimit-limit-requests")).toBe("4");
    expect(answer.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    expect(await answer.json()).toMatchObject({
      error: {
        code: "rate_limit_exceeded",
        message: "Cannot begin the request as the limit keys allows a key 4 requests per minute",
      },
    });
    expect(await metric('rate_limited_total{limit="keys",unit="requests",mode="enforce"} 7')).toBe(true);
    expect(world.gateway.audit().at(-1)).toMatchObject({ decision: "refuse", rule: "rate_keys", status: 429 });
  });

  it("stop the agent's clients too, and their own SDK knows what it means", async () => {
    await setRates([{ name: "all", per: "Agent", mode: "Enforce", requestsPerMinute: 1 }]);
    const client = new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
    await client.responses.create({ model: AGENT.name, input: "a" });
    const second = client.responses.create({ model: AGENT.name, input: "a" });
    await expect(second).rejects.toBeInstanceOf(OpenAI.RateLimitError);
  });

  it("take tokens by estimate and correct them by what was used", async () => {
    await setRates([{ name: "tokens", per: "Caller", mode: "Enforce", tokensPerMinute: 10_000 }]);
    const call = chat("a", { max_completion_tokens: 4000 });
    const first = await world.post("/v1/chat/completions", call);
    await first.text();
    expect(Number(first.headers.get("x-ratelimit-remaining-tokens"))).toBeLessThan(6000);
    // 100 were used of some 4,020: as many calls as one minute has room for, one after the other.
    for (let next = 0; next < 20; next += 1) expect((await statuses(1, undefined, call))[0]).toBe(200);
    const now = await world.post("/v1/chat/completions", chat("a", { max_completion_tokens: 1 }));
    await now.text();
    expect(Number(now.headers.get("x-ratelimit-remaining-tokens"))).toBeGreaterThan(7800);
  });

  it("take nothing of tokens that a call never used, as its model failed", async () => {
    await setRates([{ name: "failing", per: "Caller", mode: "Enforce", tokensPerMinute: 10_000 }]);
    isBroken = true;
    const call = chat("a", { max_completion_tokens: 9000 });
    expect(await statuses(1, undefined, call)).toEqual([400]);
    isBroken = false;
    expect(await statuses(1, undefined, call)).toEqual([200]);
  });

  it("give back the tokens of a client that left before the answer", async () => {
    await setRates([{ name: "leaving", per: "Caller", mode: "Enforce", tokensPerMinute: 10_000 }]);
    isSilent = true;
    const asked = model.requests.length;
    const call = chat("a", { max_completion_tokens: 9000 });
    const leave = new AbortController();
    const left = fetch(`${world.gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
      body: JSON.stringify(call),
      signal: leave.signal,
    });
    await expect.poll(() => model.requests.length).toBe(asked + 1);
    isSilent = false;
    expect(await statuses(1, undefined, call)).toEqual([429]);
    leave.abort();
    await expect(left).rejects.toThrow("aborted");
    await expect.poll(() => statuses(1, undefined, call), { timeout: 5000 }).toEqual([200]);
  });

  it("tell a client that it has used four fifths, by name, and count it", async () => {
    await setRates([
      { name: "few", per: "Key", mode: "Enforce", requestsPerMinute: 10 },
      { name: "far", per: "Agent", mode: "Enforce", requestsPerMinute: 600 },
    ]);
    const told = [];
    for (let call = 0; call < 11; call += 1) {
      const answer = await world.post("/v1/chat/completions", chat("a"));
      await answer.text();
      told.push([answer.status, answer.headers.get("x-supercargo-rate-limit-near")]);
    }
    expect(told.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => [200, null]));
    expect(told.slice(8)).toEqual([
      [200, "few"],
      [200, "few"],
      [429, null],
    ]);
    expect(await metric('rate_limit_near_total{limit="few",unit="requests"} 2')).toBe(true);
  });

  it("in shadow mode refuse nobody, and leave a note", async () => {
    await setRates([{ name: "trial", per: "Caller", mode: "Shadow", requestsPerMinute: 1 }]);
    expect(await statuses(3)).toEqual([200, 200, 200]);
    expect(await metric('rate_limited_total{limit="trial",unit="requests",mode="shadow"} 2')).toBe(true);
    expect(world.gateway.audit().filter(({ rateLimits }) => rateLimits === "trial=Shadow")).toHaveLength(2);
  });

  it("of the plan hold for the whole agent, come and go without a restart, and give nobody a fresh start", async () => {
    await setRates([]);
    await setPlan(3);
    expect(await statuses(5)).toEqual([200, 200, 200, 429, 429]);
    await setPlan(4);
    expect(await statuses(1)).toEqual([429]);
    expect(world.gateway.audit().at(-1)).toMatchObject({ rule: "rate_plan" });
    await setPlan(undefined);
    expect(await statuses(5)).toEqual([200, 200, 200, 200, 200]);
  });

  it("leave the requests of the agent's own runs alone, not their tokens", async () => {
    await setRates([{ name: "all", per: "Agent", mode: "Enforce", requestsPerMinute: 1, tokensPerMinute: 9000 }]);
    const own = { authorization: `Bearer ${await world.issuer.sign()}` };
    const answer = await world.post("/v1/chat/completions", chat("a"), own);
    await answer.text();
    expect(answer.status).toBe(200);
    expect(answer.headers.get("x-ratelimit-limit-requests")).toBeNull();
    expect(answer.headers.get("x-ratelimit-limit-tokens")).toBe("9000");
  });
});
