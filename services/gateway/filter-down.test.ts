import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Emulator, startEmulator } from "../emulator/app.ts";
import { chat, eventually, type GatewayWorld, MODEL_KEY, startGatewayWorld } from "./test-world.ts";

let emulator: Emulator;
let world: GatewayWorld;

beforeAll(async () => {
  emulator = await startEmulator({ model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: [] } });
  world = await startGatewayWorld({ modelUrl: emulator.url });
});
afterAll(async () => {
  await world?.stop();
  await emulator?.stop();
});

const lastAudit = (requestId: string): Promise<Record<string, unknown>> =>
  eventually(() => world.gateway.audit().find((line) => line["requestId"] === requestId));
const counted = async (): Promise<number> =>
  Number(
    /^supercargo_gateway_content_filter_down_total\{model="gpt",deployment="primary"\} (\d+)$/m.exec(
      await world.gateway.metrics(),
    )?.[1] ?? 0,
  );
const send = (route: "chat" | "responses", content: string, stream: boolean): Promise<Response> =>
  route === "chat"
    ? world.post("/v1/chat/completions", chat(content, { stream }))
    : world.post("/v1/responses", { model: "gpt", input: content, stream });

describe("an answer that says that Azure's content filter was down", () => {
  it.each(
    (["chat", "responses"] as const).flatMap((route) =>
      [false, true].flatMap((stream) =>
        ["error", "error_each_chunk", "error_prompt"].map((kind) => [route, stream, kind] as const),
      ),
    ),
  )("%s, stream %s, %s: passes, is counted and audited", async (...[route, stream, kind]) => {
    const before = await counted();
    const answer = await send(route, `[[say All is said]] [[content_filter ${kind}]]`, stream);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain("content_filter_error");
    expect(await lastAudit(answer.headers.get("x-request-id") ?? "")).toMatchObject({
      decision: "allow",
      contentFilter: "down",
    });
    expect(await counted()).toBe(before + 1);
  });

  it.each([
    ["chat", false],
    ["chat", true],
    ["responses", false],
    ["responses", true],
  ] as const)("%s, stream %s: is not taken for one that quotes it", async (route, stream) => {
    const before = await counted();
    const answer = await send(route, '[[say {"error":{"code":"content_filter_error"}}]] [[chunk 50]]', stream);
    expect(await answer.text()).toContain("content_filter_error");
    expect(await lastAudit(answer.headers.get("x-request-id") ?? "")).not.toHaveProperty("contentFilter");
    expect(await counted()).toBe(before);
  });
});
