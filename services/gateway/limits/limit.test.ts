import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { decodeCounterFile } from "#core/counter-record.ts";
import { API_KEY, control, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "../test-world.ts";

let model: Peer;
let world: GatewayWorld;
let release: () => void = () => {};
let isHeld = false;

beforeAll(async () => {
  model = await startPeer((_, response) => {
    const answer = (): void => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ choices: [], usage: { prompt_tokens: 4, completion_tokens: 6 } }));
    };
    if (isHeld) release = answer;
    else answer();
  });
  world = await startGatewayWorld({ modelUrl: model.url });
});
afterAll(async () => {
  await world?.stop();
  await model?.stop();
});
beforeEach(() => {
  model.requests.length = 0;
  isHeld = false;
});

const leases = (): unknown => decodeCounterFile(readFileSync(world.folder.files.counters))?.leases;

/** New ceilings, in force when the gateway says so. */
async function limit(ceilings: Readonly<Record<string, number>>): Promise<void> {
  const given = Object.entries(ceilings).map(([dimension, upTo]) => ({ dimension, upTo: `${upTo}` }));
  world.folder.writeControl(control({ leases: given }));
  const wanted = given.map(({ dimension, upTo }) => [dimension, expect.objectContaining({ applied: `${upTo}` })]);
  await expect.poll(leases, { timeout: 5000 }).toEqual(Object.fromEntries(wanted));
}

async function ask(body: object): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${world.gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt", messages: [{ role: "user", content: "Hello" }], ...body }),
  });
  return { status: answer.status, text: await answer.text() };
}

const REACHED = { status: 403, text: expect.stringContaining('"code":"hard_limit_reached"') };

describe("a hard limit of the plan", () => {
  it("lets no call begin whose cap is more than is left, and gives the rest back when it ended", async () => {
    const used = (await world.gateway.usage())["output_tokens"] ?? 0;
    await limit({ output_tokens: used + 100 });
    expect(await ask({ max_completion_tokens: 101 })).toMatchObject(REACHED);
    expect(await ask({ max_completion_tokens: 26, n: 4 })).toMatchObject(REACHED);
    expect(await ask({})).toMatchObject(REACHED);
    expect(model.requests).toHaveLength(0);
    for (let call = 1; call <= 16; call += 1)
      expect(await ask({ max_completion_tokens: 100 - 6 * (call - 1) })).toMatchObject({ status: 200 });
    expect(await ask({ max_completion_tokens: 5 })).toMatchObject(REACHED);
    expect((await world.gateway.usage())["output_tokens"]).toBe(used + 96);
  });

  it("holds the worst case of calls in flight, so that many at once do not overshoot", async () => {
    const used = (await world.gateway.usage())["model_requests"] ?? 0;
    await limit({ model_requests: used + 1 });
    isHeld = true;
    const first = ask({});
    await expect.poll(() => model.requests.length, { timeout: 5000 }).toBe(1);
    await expect.poll(leases, { timeout: 5000 }).toMatchObject({ model_requests: { held: "1" } });
    expect(await ask({})).toMatchObject(REACHED);
    release();
    expect(await first).toMatchObject({ status: 200 });
    expect((await world.gateway.usage())["model_requests"]).toBe(used + 1);
    expect(await ask({})).toMatchObject(REACHED);
  });

  it("refuses input whose tokens no byte bounds", async () => {
    await limit({ input_tokens: 1_000_000 });
    const image = { type: "image_url", image_url: { url: "https://images.example.com/a.png" } };
    const refused = await ask({ messages: [{ role: "user", content: [image] }] });
    expect(refused).toMatchObject({
      status: 400,
      text: expect.stringContaining(
        "Cannot bound the input of this request, as the plan limits input tokens: image_url must be absent, send text",
      ),
    });
    const escaped = JSON.stringify({ content: [image] }).replaceAll("image_url", "image\\u005furl");
    const hidden = await fetch(`${world.gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
      body: `{"model":"gpt","messages":[${escaped}]}`,
    });
    expect(hidden.status).toBe(400);
    const quoted = await ask({ messages: [{ role: "user", content: 'What does "image_url": mean?' }] });
    expect(quoted.status).toBe(200);
  });

  it("refuses the agent's runs as well", async () => {
    await limit({ agent_requests: (await world.gateway.usage())["agent_requests"] ?? 0 });
    const answer = await fetch(`${world.gateway.url}/v1/responses`, {
      method: "POST",
      headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
      body: JSON.stringify({ input: "Hello" }),
    });
    expect({ status: answer.status, text: await answer.text() }).toMatchObject(REACHED);
  });

  it("limits nothing where the plan has none", async () => {
    await limit({});
    expect(await ask({})).toMatchObject({ status: 200 });
  });
});
