import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chat, eventually, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "../../test-world.ts";

/** Masks in the real gateway, before a model that tells what it was sent. */

let model: Peer;
let world: GatewayWorld;

beforeAll(async () => {
  model = await startPeer((_, response) => {
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ id: "a", object: "chat.completion", choices: [], usage }));
  });
  const rules = { type: "LocalRules", phase: "Input", failureMode: "Closed" } as const;
  world = await startGatewayWorld({
    modelUrl: model.url,
    guardrails: () => [
      { ...rules, name: "refuse", action: "Reject", detect: ["Cards", "Secrets"], denyWords: [], allowWords: [] },
      {
        ...rules,
        name: "mask",
        action: "Mask",
        detect: ["Cards", "Emails"],
        denyWords: ["nightingale"],
        allowWords: [],
      },
    ],
  });
});
beforeEach(() => void model.requests.splice(0));
afterAll(async () => {
  await world?.stop();
  await model?.stop();
});

const auditOf = (answer: Response): Promise<Record<string, unknown>> =>
  eventually(() =>
    world.gateway.audit().find((line) => line["requestId"] === (answer.headers.get("x-request-id") ?? "none")),
  );

describe("a mask", () => {
  it("lets a model see labels alone, and those after it in the list too", async () => {
    const text = "Pay with 4111 1111 1111 1111 or 378282246310005, says ann@example.com";
    const answer = await world.post("/v1/chat/completions", chat(text));
    expect(answer.status).toBe(200);
    const [request] = model.requests;
    expect(request?.body).toContain('"Pay with [card] or [card], says [email]"');
    expect(request?.headers["content-length"]).toBe(String(Buffer.byteLength(request?.body ?? "")));
    const audit = await auditOf(answer);
    // What limits count is what goes on.
    const bodyBytes = Buffer.byteLength(JSON.stringify(chat("Pay with [card] or [card], says [email]")));
    expect(audit).toMatchObject({ guardrails: "mask=Mask:card*2,email refuse=Allow", decision: "mask", bodyBytes });
    expect(JSON.stringify(audit)).not.toMatch(/4111|3782|ann@/);
    expect(await world.gateway.metrics()).toContain(
      'supercargo_gateway_guardrail_matches_total{guardrail="mask",phase="Input",rule="card"} 2',
    );
  });

  it("leaves a body as it came where nothing is found", async () => {
    const answer = await world.post("/v1/chat/completions", chat("Hello"));
    expect(answer.status).toBe(200);
    expect(model.requests[0]?.body).toContain('"Hello"');
    expect(await auditOf(answer)).toMatchObject({ guardrails: "mask=Allow refuse=Allow", decision: "allow" });
  });

  it("refuses what it cannot mask", async () => {
    const tools = [{ type: "function", function: { name: "nightingale", parameters: {} } }];
    const answer = await world.post("/v1/chat/completions", { ...chat("Hello"), tools });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain("finds something where it cannot be masked");
    expect(model.requests).toEqual([]);
    expect(await auditOf(answer)).toMatchObject({ guardrails: "mask=Reject:deny_word" });
  });

  it("leaves a body that is no JSON to those who refuse it", async () => {
    const answer = await world.post("/v1/chat/completions", '{"messages":[{"content":"ann@example.com",}]');
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain("invalid_json");
  });
});
