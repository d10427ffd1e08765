import { writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GatewayGuardrail } from "#core/api/pod-config.ts";
import { type Emulator, startEmulator } from "../../../emulator/app.ts";
import {
  API_KEY,
  chat,
  control,
  eventually,
  type GatewayWorld,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "../../test-world.ts";

/** Analyze text over answers in the real gateway, with the emulated Content Safety; cards are masked before it is asked. */

let emulator: Emulator;
let model: Peer;
/** A Content Safety that answers when the test lets it. */
let slow: Peer;
let worlds: Record<"Closed" | "Open" | "slow", GatewayWorld>;

beforeAll(async () => {
  emulator = await startEmulator({ contentSafety: { keys: ["safety-key"] } });
  model = await startPeer((_, response) => response.end());
  slow = await startPeer(() => {});
  const start = (failureMode: "Closed" | "Open", endpoint: string): Promise<GatewayWorld> =>
    startGatewayWorld({
      modelUrl: model.url,
      guardrails: ({ path }) => [harm(endpoint, failureMode, join(path, "safety-key")), CARDS],
    });
  const [Closed, Open, waiting] = await Promise.all([
    start("Closed", emulator.url),
    start("Open", emulator.url),
    start("Closed", slow.url),
  ]);
  worlds = { Closed, Open, slow: waiting };
}, 30_000);
afterAll(async () => {
  await Promise.all(Object.values(worlds ?? {}).map((world) => world.stop()));
  await Promise.all([model, slow, emulator].map((each) => each?.stop()));
});
beforeEach(() => emulate("reset", {}));

const emulate = (path: string, body: object): Promise<Response> =>
  fetch(`${emulator.controlUrl}/control/${path}`, { method: "POST", body: JSON.stringify(body) });

function harm(endpoint: string, failureMode: "Closed" | "Open", file: string): GatewayGuardrail {
  writeFileSync(file, "safety-key");
  const common = { name: "harm", phase: "Output", action: "Reject", failureMode } as const;
  const categories = [{ category: "Hate", severityMin: 4 } as const];
  const service = { endpoint, auth: { type: "SecretFile", file } as const, timeoutMs: 2_000 };
  return { type: "AnalyzeText", ...common, ...service, categories, blocklists: [] };
}

const CARDS: GatewayGuardrail = {
  type: "LocalRules",
  name: "cards",
  phase: "Output",
  action: "Mask",
  failureMode: "Closed",
  detect: ["Cards"],
  denyWords: [],
  allowWords: [],
};

const usage = { prompt_tokens: 7, completion_tokens: 9 };
const json = (content: string): string => JSON.stringify({ choices: [{ index: 0, message: { content } }], usage });
const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;
const delta = (content: string): string => event({ choices: [{ index: 0, delta: { content } }] });
const END = `${event({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}${event({ choices: [], usage })}data: [DONE]\n\n`;

function answerWith(body: string, type: "application/json" | "text/event-stream"): void {
  model.answer = (_, response) => {
    response.writeHead(200, { "content-type": type });
    response.end(body);
  };
}

const auditOf = (world: GatewayWorld, answer: Response): Promise<Record<string, unknown>> =>
  eventually(() =>
    world.gateway.audit().find((line) => line["requestId"] === (answer.headers.get("x-request-id") ?? "none")),
  );
const send = (world: GatewayWorld, stream: boolean): Promise<Response> =>
  world.post("/v1/chat/completions", chat("x", { stream }));

describe("a JSON answer", () => {
  it.each([
    ["that is clean", "Hello", "Closed", 200, "cards=Allow harm=Allow"],
    ["with a card", "4111 1111 1111 1111", "Closed", 200, "cards=Mask:card harm=Allow"],
    ["that is hit", "[[hate 6]]", "Closed", 400, "cards=Allow harm=Reject:hate"],
    ["below the severity", "[[hate 2]]", "Closed", 200, "cards=Allow harm=Allow"],
  ] as const)("%s", async (_, text, mode, status, guardrails) => {
    answerWith(json(text), "application/json");
    let answer: Response | undefined;
    const added = await worlds[mode].counted(async () => {
      answer = await send(worlds[mode], false);
      expect(await answer.text()).not.toMatch(/4111|hate 6/);
    });
    expect(answer?.status).toBe(status);
    expect(added).toMatchObject({ model_requests: 1, input_tokens: 7, output_tokens: 9 });
    expect(await auditOf(worlds[mode], answer ?? Response.error())).toMatchObject({ guardrails });
  });

  it.each([
    ["Closed", 503, "FailClosed"],
    ["Open", 200, "FailOpen"],
  ] as const)("that could not be checked, %s: %i, and counted", async (mode, status, action) => {
    await emulate("faults", { standIn: "contentSafety", kind: "Status", status: 401 });
    answerWith(json(`Hello ${mode}`), "application/json");
    let answer: Response | undefined;
    const added = await worlds[mode].counted(async () => (answer = await send(worlds[mode], false)));
    expect(answer?.status).toBe(status);
    expect(added).toMatchObject({ output_tokens: 9 });
    expect(await auditOf(worlds[mode], answer ?? Response.error())).toMatchObject({
      guardrails: `cards=Allow harm=${action}:credential`,
    });
  });

  it("whose client leaves while it is checked is counted, and holds nothing any more", async () => {
    answerWith(json("Hello you"), "application/json");
    const world = worlds.slow;
    const before = slow.requests.length;
    const added = await world.counted(async () => {
      const leaving = new AbortController();
      const answer = fetch(`${world.gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${API_KEY}`, "x-request-id": "leaver" },
        body: JSON.stringify(chat("x")),
        signal: leaving.signal,
      });
      await eventually(() => (slow.requests.length > before ? true : undefined));
      leaving.abort();
      await expect(answer).rejects.toThrow();
      await eventually(() => world.gateway.audit().find((line) => line["requestId"] === "leaver"));
    });
    expect(added).toMatchObject({ output_tokens: 9, model_requests: 1 });
    await eventually(async () => (/in_flight_requests 0$/m.test(await world.gateway.metrics()) ? true : undefined));
    await eventually(() => (slow.aborted.count > 0 ? true : undefined));
  });
});

describe("an answer that is checked", () => {
  it.each([false, true])("keeps its place in the plan's limits until it is counted; stream %s", async (stream) => {
    const world = worlds.slow;
    const statusOf = async (outputMax: number): Promise<number> =>
      (await world.post("/v1/chat/completions", chat("x", { max_completion_tokens: outputMax }))).status;
    if (stream) answerWith(`${delta("Held in a stream")}${END}`, "text/event-stream");
    else answerWith(json("Held"), "application/json");
    slow.answer = (_, response) => judgeClean(response);
    const { output_tokens: counted = 0 } = await world.gateway.usage();
    world.folder.writeControl(control({ leases: [{ dimension: "output_tokens", upTo: String(counted + 6_000) }] }));
    await eventually(async () => ((await statusOf(7_000)) === 403 ? true : undefined));
    let judge = (): void => {};
    slow.answer = (_, response) => (judge = () => judgeClean(response));
    const before = slow.requests.length;
    answerWith(
      stream ? `${delta("Held anew")}${END}` : json("Held again"),
      stream ? "text/event-stream" : "application/json",
    );
    const first = world.post("/v1/chat/completions", chat("x", { stream, max_completion_tokens: 4_000 }));
    await eventually(() => (slow.requests.length > before ? true : undefined));
    expect(await statusOf(4_000)).toBe(403);
    judge();
    const answer = await first;
    expect([answer.status, (await answer.text()).includes("Held")]).toEqual([200, true]);
    slow.answer = (_, response) => judgeClean(response);
    expect(await statusOf(4_000)).toBe(200);
    world.folder.writeControl(control());
    await eventually(async () => ((await statusOf(7_000)) === 200 ? true : undefined));
    slow.answer = () => {};
  });
});

function judgeClean(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ blocklistsMatch: [], categoriesAnalysis: [{ category: "Hate", severity: 0 }] }));
}

describe("a stream", () => {
  const words = "All is well and so it goes on. ".repeat(60);

  it("that is clean passes with all its bytes, in windows, and its usage is counted", async () => {
    const deltas = Array.from({ length: 60 }, (_, index) => delta(words.slice(index * 31, index * 31 + 31)));
    answerWith(`${deltas.join("")}${END}`, "text/event-stream");
    let body = "";
    const added = await worlds.Closed.counted(async () => {
      const answer = await send(worlds.Closed, true);
      body = await answer.text();
      expect(await auditOf(worlds.Closed, answer)).toMatchObject({ guardrails: "cards=Allow harm=Allow" });
    });
    expect(body).toBe(`${deltas.join("")}${END}`.replace(event({ choices: [], usage }), ""));
    expect(added).toMatchObject({ input_tokens: 7, output_tokens: 9 });
  });

  it.each([
    ["from the first window on", "[[hate 6]] and more", "", 400],
    ["in a later window, over two events", "", "[[hate 6]]", 200],
  ])("that is hit %s never looks whole", async (_, first, last, status) => {
    let finish = (): void => {};
    model.answer = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(delta(`${first}${words.slice(0, 1_000)}`));
      finish = () => response.end(`${delta(`seam ${last.slice(0, 5)}`)}${delta(last.slice(5))}${END}`);
    };
    const answer = await send(worlds.Closed, true);
    finish();
    const body = await readAll(answer);
    expect(answer.status).toBe(status);
    expect(body).toContain('"code":"content_filter"');
    expect(body).not.toMatch(/\[\[hate|hate 6|DONE|stop/);
    expect(await auditOf(worlds.Closed, answer)).toMatchObject({
      decision: "refuse",
      rule: "content_filter",
      guardrails: "cards=Allow harm=Reject:hate",
    });
  });

  it("tells nobody what is masked", async () => {
    const from = slow.requests.length;
    slow.answer = (_, response) => judgeClean(response);
    answerWith(`${delta("Card 4111 1111")}${delta(" 1111 1111.")}${END}`, "text/event-stream");
    const answer = await send(worlds.slow, true);
    expect(await answer.text()).toContain("DONE");
    const bodies = slow.requests.slice(from).map(({ body }) => body);
    expect(bodies.map((body) => /"text":"([^"]*)"/.exec(body)?.[1])).toEqual(["Card [card]."]);
    slow.answer = () => {};
  });

  it("whose model dies while a window is checked ends as broken, with nothing of it", async () => {
    let write = (): void => {};
    let die = (): void => {};
    model.answer = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(event({ choices: [], prompt_filter_results: [] }));
      write = () => void response.write(delta(`held ${words.slice(0, 1_000)}`));
      die = () => response.destroy();
    };
    const before = slow.requests.length;
    const answer = await send(worlds.slow, true);
    write();
    await eventually(() => (slow.requests.length > before ? true : undefined));
    die();
    const body = await readAll(answer);
    expect(body).toContain("stream_interrupted");
    expect(body).not.toContain("held");
    expect(await auditOf(worlds.slow, answer)).toMatchObject({ cutBy: "upstream", estimated: true });
  });
});

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
