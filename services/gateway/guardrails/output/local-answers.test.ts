import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chat, eventually, type GatewayWorld, type Peer, startGatewayWorld, startPeer } from "../../test-world.ts";

/** Local rules over answers in the real gateway: addresses are noted, cards masked, a name ends the answer. */

let model: Peer;
let world: GatewayWorld;

beforeAll(async () => {
  model = await startPeer((_, response) => response.end());
  const rules = { type: "LocalRules", phase: "Output", failureMode: "Closed" } as const;
  const none = { denyWords: [], allowWords: [] };
  world = await startGatewayWorld({
    modelUrl: model.url,
    guardrails: () => [
      { ...rules, ...none, name: "watch", action: "Alert", detect: ["Emails"] },
      { ...rules, ...none, name: "cards", action: "Mask", detect: ["Cards"] },
      { ...rules, ...none, name: "names", action: "Reject", detect: [], denyWords: ["nightingale"] },
    ],
  });
});
afterAll(async () => {
  await world?.stop();
  await model?.stop();
});

const CARD = "4111 1111 1111 1111";
const usage = { prompt_tokens: 7, completion_tokens: 9 };

function answerWith(body: string, type = "application/json"): void {
  model.answer = (_, response) => {
    response.writeHead(200, { "content-type": type });
    response.end(body);
  };
}

const auditOf = (answer: Response): Promise<Record<string, unknown>> =>
  eventually(() =>
    world.gateway.audit().find((line) => line["requestId"] === (answer.headers.get("x-request-id") ?? "none")),
  );

/** As a model writes it: spaces, numbers and escapes in forms that no parser would give back. */
const chatJson = (text: string): string =>
  `{ "id":"c1", "choices":[{"index":0,"message":{"role":"assistant","content":${text}},"logprobs":null}], "created":1.0,\n` +
  ` "usage":${JSON.stringify(usage)}, "note":"\\u00e9 ${CARD}" }`;

describe("a JSON answer", () => {
  it.each([
    ["names nothing", `"Hello"`, `"Hello"`, "watch=Allow cards=Allow names=Allow"],
    ["names a card", `"Pay \\u0034${CARD.slice(1)}, é"`, `"Pay [card], é"`, "watch=Allow cards=Mask:card names=Allow"],
    ["names an address", `"ann@example.com"`, `"ann@example.com"`, "watch=Alert:email cards=Allow names=Allow"],
  ])("that %s: %s is %s", async (_, text, expected, guardrails) => {
    answerWith(chatJson(text));
    let answer: Response | undefined;
    const added = await world.counted(async () => {
      answer = await world.post("/v1/chat/completions", chat("x"));
    });
    const bytes = Buffer.from(await (answer?.arrayBuffer() ?? new ArrayBuffer(0)));
    expect(bytes.toString()).toBe(chatJson(expected));
    expect(answer?.headers.get("content-length")).toBe(String(bytes.length));
    expect(added).toMatchObject({ input_tokens: 7, output_tokens: 9, model_requests: 1 });
    const audit = await auditOf(answer ?? Response.error());
    expect(audit).toMatchObject({ status: 200, guardrails });
    expect(JSON.stringify(audit)).not.toMatch(/ann@|4111/);
  });

  it("that names what may not be named is refused, and counted as delivered", async () => {
    answerWith(chatJson('"The nightingale sings"'));
    let answer: Response | undefined;
    const added = await world.counted(async () => {
      answer = await world.post("/v1/chat/completions", chat("x"));
    });
    expect(answer?.status).toBe(400);
    const body = await (answer?.text() ?? "");
    expect(JSON.parse(body)).toEqual({
      error: {
        message: "Cannot pass the answer on as the guardrail names refuses it",
        type: "invalid_request_error",
        param: null,
        code: "content_filter",
      },
    });
    expect(added).toMatchObject({ input_tokens: 7, output_tokens: 9, model_requests: 1 });
    expect(await auditOf(answer ?? Response.error())).toMatchObject({
      decision: "refuse",
      rule: "content_filter",
      outputTokens: 9,
      guardrails: "watch=Allow cards=Allow names=Reject:deny_word",
    });
  });

  it("of Responses has its texts and calls masked, and nothing of what the client sent", async () => {
    const body = (card: string): string =>
      JSON.stringify({
        instructions: CARD,
        output: [
          {
            type: "message",
            content: [{ type: "output_text", text: `Card ${card}`, logprobs: card === CARD ? [{ token: "41" }] : [] }],
          },
          { type: "function_call", name: "pay", arguments: JSON.stringify({ number: card, line: `a\n${card}` }) },
        ],
        usage: { input_tokens: 1, output_tokens: 2 },
      });
    answerWith(body(CARD));
    const answer = await world.post("/v1/responses", { model: "gpt", input: "x" });
    expect(await answer.text()).toBe(body("[card]"));
  });

  it.each([
    ["that nobody can read", "{broken", "unreadable_answer"],
    [
      "that is too long to be checked",
      `{"choices":[],"x":"${"x".repeat(5_000_000)}","usage":${JSON.stringify(usage)}}`,
      "too_long",
    ],
  ])("%s is refused", async (_, body, reason) => {
    answerWith(body);
    const answer = await world.post("/v1/chat/completions", chat("x"));
    expect(answer.status).toBe(503);
    expect(JSON.parse(await answer.text())).toMatchObject({ error: { code: "guardrail_unavailable" } });
    const audit = await auditOf(answer);
    expect(audit).toMatchObject({ guardrails: `watch=FailClosed:${reason}` });
    if (reason === "too_long") expect(audit).toMatchObject({ outputTokens: 9, estimated: false });
  });

  it("that is long is checked in turns, with the same end", async () => {
    const text = (card: string): string => JSON.stringify(`Pay ${card}, `.repeat(30_000));
    answerWith(chatJson(text(CARD)));
    const answer = await world.post("/v1/chat/completions", chat("x"));
    expect((await answer.text()) === chatJson(text("[card]"))).toBe(true);
    expect(await auditOf(answer)).toMatchObject({ outputTokens: 9, decision: "mask" });
  });

  it("of embeddings is not looked at", async () => {
    answerWith(`{"data":[{"embedding":[1]}],"note":"${CARD}","usage":{"prompt_tokens":1}}`);
    const answer = await world.post("/v1/embeddings", { model: "gpt", input: "x" });
    expect(await answer.text()).toContain(CARD);
  });
});

const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;
const delta = (content: string, finish: string | null = null): string =>
  event({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] });

describe("a stream", () => {
  it("has its cards masked, its usage counted and its end", async () => {
    const end = `${event({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}${event({ choices: [], usage })}data: [DONE]\n\n`;
    answerWith(
      `${delta("Pay 4111 11")}${delta("11 1111 11")}${delta("11, ann@example.com")}${end}`,
      "text/event-stream",
    );
    let answer: Response | undefined;
    let body = "";
    const added = await world.counted(async () => {
      answer = await world.post("/v1/chat/completions", chat("x", { stream: true }));
      body = await answer.text();
    });
    const said = [...body.matchAll(/"content":"([^"]*)"/g)].map((match) => match[1]).join("");
    expect(said).toBe("Pay [card], ann@example.com");
    expect(body.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(body).not.toContain("usage");
    expect(added).toMatchObject({ input_tokens: 7, output_tokens: 9 });
    expect(await auditOf(answer ?? Response.error())).toMatchObject({
      guardrails: "watch=Alert:email cards=Mask:card names=Allow",
      finishReason: "stop",
    });
  });

  it("that names what may not be named ends with an error, and is counted by what had come", async () => {
    answerWith(
      `${delta("Of birds the night")}${delta("ingale, ")}${delta("more")}data: [DONE]\n\n`,
      "text/event-stream",
    );
    let answer: Response | undefined;
    let body = "";
    const added = await world.counted(async () => {
      answer = await world.post("/v1/chat/completions", chat("x", { stream: true }));
      body = await readAll(answer);
    });
    expect(body).not.toMatch(/night|more|DONE/);
    expect(added).toMatchObject({ model_requests: 1 });
    expect(added["output_tokens"]).toBeGreaterThan(5);
    expect(await auditOf(answer ?? Response.error())).toMatchObject({
      decision: "refuse",
      rule: "content_filter",
      estimated: true,
      guardrails: "watch=Allow cards=Allow names=Reject:deny_word",
    });
  });

  it("of Responses that is refused has an error and an end with numbers that rise", async () => {
    const item = { item_id: "m", output_index: 0, content_index: 0 };
    const events = [
      { type: "response.created", response: { id: "r", status: "in_progress", output: [] } },
      { type: "response.output_text.delta", ...item, delta: `Pay ${CARD}` },
      { type: "response.output_text.done", ...item, text: `Pay ${CARD}` },
      { type: "response.output_text.delta", ...item, output_index: 1, delta: "the nightingale " },
    ].map((data, index) => event({ ...data, sequence_number: index }));
    model.answer = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(events.slice(0, 3).join(""));
      finish = () => response.end(events[3]);
    };
    let finish = (): void => {};
    const answer = await world.post("/v1/responses", { model: "gpt", input: "x", stream: true });
    finish();
    const body = await readAll(answer);
    expect(body).not.toMatch(/4111|night/);
    const numbers = [...body.matchAll(/"sequence_number":(\d+)/g)].map((match) => Number(match[1]));
    const types = [...body.matchAll(/data: {"type":"([^"]*)"/g)].map((match) => match[1]);
    expect(types).toEqual([
      "response.created",
      "response.output_text.delta",
      "response.output_text.delta",
      "response.output_text.done",
      "error",
      "response.failed",
    ]);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(6);
    expect(body).toContain('"code":"content_filter"');
  });

  it("whose model dies lets out nothing of what was held", async () => {
    model.answer = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(delta("Pay 4111 1111 "), () => setImmediate(() => response.destroy()));
    };
    const answer = await world.post("/v1/chat/completions", chat("x", { stream: true }));
    const body = await readAll(answer);
    expect(body).toContain("stream_interrupted");
    expect(body).not.toMatch(/4111|DONE/);
    expect(await auditOf(answer)).toMatchObject({
      cutBy: "upstream",
      guardrails: "watch=Allow cards=Allow names=Allow",
    });
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
