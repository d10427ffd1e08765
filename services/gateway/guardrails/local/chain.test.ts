import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Emulator, startEmulator } from "../../../emulator/app.ts";
import { chat, eventually, type GatewayWorld, MODEL_KEY, startGatewayWorld } from "../../test-world.ts";

/** Local rules in the real gateway, before the emulated model. */

let emulator: Emulator;
let world: GatewayWorld;

beforeAll(async () => {
  emulator = await startEmulator({ model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: [] } });
  const rules = { type: "LocalRules", phase: "Input", failureMode: "Closed" } as const;
  const none = () => ({ denyWords: [], allowWords: [] });
  world = await startGatewayWorld({
    modelUrl: emulator.url,
    guardrails: () => [
      { ...rules, ...none(), name: "watch", action: "Alert", detect: ["Emails"] },
      { ...rules, ...none(), name: "local", action: "Reject", detect: ["Cards"] },
    ],
  });
});
afterAll(async () => {
  await world?.stop();
  await emulator?.stop();
});

const auditOf = (answer: Response): Promise<Record<string, unknown>> =>
  eventually(() =>
    world.gateway.audit().find((line) => line["requestId"] === (answer.headers.get("x-request-id") ?? "none")),
  );

describe("local rules", () => {
  it.each([
    ["Hello", 200, "watch=Allow local=Allow"],
    ["I am ann@example.com", 200, "watch=Alert:email local=Allow"],
    ["Pay with 4111 1111 1111 1111", 400, "watch=Allow local=Reject:card"],
  ])("answer %s with %i and leave %s behind, never the text", async (text, status, guardrails) => {
    const answer = await world.post("/v1/chat/completions", chat(text));
    const body = await answer.text();
    expect(answer.status).toBe(status);
    if (status === 400) expect(body).toContain("Cannot accept the request as the guardrail local refuses it");
    const audit = await auditOf(answer);
    expect(audit).toMatchObject({ guardrails });
    expect(JSON.stringify(audit)).not.toMatch(/ann@example|4111/);
  });
});
