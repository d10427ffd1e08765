import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GatewayConfig } from "#core/api/pod-config.ts";
import { type Emulator, startEmulator } from "../emulator/app.ts";
import {
  chat,
  deployment,
  eventually,
  type GatewayWorld,
  MODEL_KEY,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "./test-world.ts";

let emulator: Emulator;
let world: GatewayWorld;
/** Of an agent whose owner wants no answer that nothing has judged. */
let closed: GatewayWorld;
let odd: Peer;

beforeAll(async () => {
  emulator = await startEmulator({ model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: [] } });
  odd = await startPeer((_, response) => response.end());
  const filter = { type: "AzureContentFilter", name: "filter", phase: "Output", action: "Reject" } as const;
  const worldWith = (failureMode: "Closed" | "Open"): Promise<GatewayWorld> =>
    startGatewayWorld({
      modelUrl: emulator.url,
      models: (folder) => [
        alias("gpt", { modelUrl: emulator.url, modelKeyFile: folder.modelKeyFile }),
        alias("odd", { modelUrl: odd.url }),
      ],
      guardrails: () => [{ ...filter, failureMode }],
    });
  [world, closed] = await Promise.all([worldWith("Open"), worldWith("Closed")]);
});
afterAll(async () => {
  await world?.stop();
  await closed?.stop();
  await odd?.stop();
  await emulator?.stop();
});

function alias(name: string, to: Parameters<typeof deployment>[1]): GatewayConfig["models"][number] {
  return { name, outputTokensMax: 4096, deployments: [deployment("primary", to)] };
}

const lastAudit = (requestId: string, of = world): Promise<Record<string, unknown>> =>
  eventually(() => of.gateway.audit().find((line) => line["requestId"] === requestId));
const counted = async (): Promise<number> =>
  Number(
    /^supercargo_gateway_content_filter_down_total\{model="gpt",deployment="primary"\} (\d+)$/m.exec(
      await world.gateway.metrics(),
    )?.[1] ?? 0,
  );
const send = (route: "chat" | "responses", content: string, stream: boolean, to = world): Promise<Response> =>
  route === "chat"
    ? to.post("/v1/chat/completions", chat(content, { stream }))
    : to.post("/v1/responses", { model: "gpt", input: content, stream });

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
      guardrails: "filter=FailOpen:filter_down",
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

describe("where nothing may pass that was not judged", () => {
  const routes = ["chat", "responses"] as const;
  const refusedAudit = {
    decision: "refuse",
    rule: "guardrail_unavailable",
    contentFilter: "down",
    guardrails: "filter=FailClosed:filter_down",
  };

  it.each(
    routes.flatMap((route) => ["error", "error_each_chunk", "error_prompt"].map((kind) => [route, kind] as const)),
  )("%s, %s: a JSON answer is refused, and counted", async (route, kind) => {
    const text = `[[say Not judged]] [[content_filter ${kind}]]`;
    let answer: Response | undefined;
    const added = await closed.counted(async () => (answer = await send(route, text, false, closed)));
    expect(answer?.status).toBe(503);
    expect(answer?.headers.get("retry-after")).toBe("2");
    const body = await answer?.text();
    expect(JSON.parse(body ?? "")).toMatchObject({ error: { code: "guardrail_unavailable" } });
    expect(body).not.toContain("judged");
    expect(await lastAudit(answer?.headers.get("x-request-id") ?? "", closed)).toMatchObject(refusedAudit);
    expect(added).toMatchObject({ model_requests: 1, output_tokens: 3 });
  });

  it.each(
    routes.flatMap((route) => ["error", "error_each_chunk", "error_prompt"].map((kind) => [route, kind] as const)),
  )("%s, %s: a stream ends with an error, where it has begun, and never as whole", async (route, kind) => {
    const text = `[[say One two three four]] [[delay 5]] [[content_filter ${kind}]]`;
    const answer = await send(route, text, true, closed);
    const id = answer.headers.get("x-request-id") ?? "";
    // The connection breaks off: no client takes that for an end.
    const body = await readAll(answer);
    expect(answer.status === 503 || answer.status === 200).toBe(true);
    expect(body).toContain('"code":"guardrail_unavailable"');
    expect(body).not.toMatch(/\[DONE\]|response\.completed/);
    if (kind === "error_prompt" && route === "chat") expect(answer.status).toBe(503);
    if (kind === "error_each_chunk" && route === "chat") expect(body).not.toContain("One");
    expect(await lastAudit(id, closed)).toMatchObject(refusedAudit);
  });

  it("tells its upstream that it wants no more", async () => {
    odd.answer = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(event({ content_filter_result: down, delta: { content: "secret" } }));
    };
    const answer = await closed.post("/v1/chat/completions", { ...chat("x", { stream: true }), model: "odd" });
    expect([answer.status, (await answer.text()).includes("secret")]).toEqual([503, false]);
    await eventually(() => (odd.aborted.count === 1 ? true : undefined));
  });

  it.each([
    ["at its beginning", (text: string) => ({ prompt_filter_results: [{ content_filter_results: down }], text }), 503],
    ["at its end", (text: string) => ({ text, choices: [{ content_filter_results: down }] }), 200],
  ])("refuses a JSON answer too large to be held, with the news %s", async (_, bodyOf, status) => {
    const usage = { prompt_tokens: 7, completion_tokens: 9 };
    odd.answer = (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ ...bodyOf("x".repeat(3_000_000)), usage }));
    };
    let body = "";
    const added = await closed.counted(async () => {
      const answer = await closed.post("/v1/chat/completions", { ...chat("x"), model: "odd" });
      expect(answer.status).toBe(status);
      body = await readAll(answer);
    });
    expect(body).not.toContain("usage");
    expect(added).toMatchObject({ input_tokens: 7, output_tokens: 9 });
  });

  it("lets pass what was judged", async () => {
    for (const route of routes)
      for (const stream of [false, true]) {
        const answer = await send(route, "[[say All is said]] [[chunk 50]]", stream, closed);
        expect([answer.status, (await answer.text()).includes("said")]).toEqual([200, true]);
      }
  });
});

const down = { error: { code: "content_filter_error", message: "The contents are not filtered" } };
const event = (choice: object): string => `data: ${JSON.stringify({ choices: [choice] })}\n\n`;

/** What comes until the end, or until the connection breaks off. */
async function readAll(answer: Response): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  try {
    for await (const chunk of answer.body ?? []) text += decoder.decode(chunk, { stream: true });
  } catch {
    // Broken off.
  }
  return text;
}
