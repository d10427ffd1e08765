import { readFileSync } from "node:fs";
import { get, type IncomingMessage, request as httpRequest } from "node:http";
import OpenAI from "openai";
import { z } from "zod";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Emulator, startEmulator } from "../emulator/app.ts";
import {
  API_KEY,
  chat,
  deployment,
  difference,
  eventually,
  type GatewayWorld,
  MODEL_KEY,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "./test-world.ts";

let emulator: Emulator;
/** The model behind the alias `odd`: answers as the test says. */
let odd: Peer;
let world: GatewayWorld;
let client: OpenAI;

beforeAll(async () => {
  emulator = await startEmulator({ model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: [] } });
  odd = await startPeer((_, response) => response.end());
  const alias = (name: string, url: string) => ({
    name,
    outputTokensMax: 4096,
    deployments: [deployment("primary", { modelUrl: url })],
  });
  world = await startGatewayWorld({ modelUrl: emulator.url, models: [] });
  const keyed = { modelUrl: emulator.url, modelKeyFile: world.folder.modelKeyFile };
  world.folder.writeConfig({
    ...JSON.parse(readFileSync(world.folder.files.config, "utf8")),
    models: [
      { name: "gpt", outputTokensMax: 4096, deployments: [deployment("primary", keyed)] },
      alias("odd", odd.url),
      {
        name: "pair",
        outputTokensMax: 4096,
        deployments: [
          deployment("first", { modelUrl: odd.url }),
          { ...deployment("second", keyed), priority: 1, model: "gpt-5-fallback" },
        ],
      },
    ],
  });
  client = new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
  await eventually(async () => ((await client.models.list()).data.length === 3 ? true : undefined));
});
afterAll(async () => {
  await world?.stop();
  await odd?.stop();
  await emulator?.stop();
});

const tallySchema = z.object({
  deployments: z.array(
    z.object({
      deployment: z.string(),
      completed: z.object({ requests: z.number(), inputTokens: z.number(), outputTokens: z.number() }),
      cut: z.object({ requests: z.number(), inputTokens: z.number(), outputTokens: z.number() }),
      clientGone: z.number(),
    }),
  ),
});

interface Tally {
  readonly completed: number;
  readonly completedOutput: number;
  readonly cut: number;
  readonly cutOutput: number;
  readonly clientGone: number;
}

/** What the emulator has sent, over all deployments. */
async function tally(): Promise<Tally> {
  const answer = await fetch(`${emulator.controlUrl}/control/model/tally`);
  const { deployments } = tallySchema.parse(await answer.json());
  const sum = (of: (each: (typeof deployments)[number]) => number): number =>
    deployments.reduce((total, each) => total + of(each), 0);
  return {
    completed: sum((each) => each.completed.requests),
    completedOutput: sum((each) => each.completed.outputTokens),
    cut: sum((each) => each.cut.requests),
    cutOutput: sum((each) => each.cut.outputTokens),
    clientGone: sum((each) => each.clientGone),
  };
}

async function textOf(answer: Response): Promise<{ text: string; broke: boolean }> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of answer.body ?? []) text += decoder.decode(chunk, { stream: true });
    return { text, broke: false };
  } catch {
    return { text, broke: true };
  }
}

const sse = { "content-type": "text/event-stream" };

describe("a stream whose client did not ask for usage", () => {
  it("has all bytes of the upstream but the usage chunk, whichever way TCP cuts it", async () => {
    const delta = (text: string): string =>
      `data: {"choices":[{"index":0,"delta":{"content":"${text}"}}],"usage":null}\r\n\r\n`;
    const kept = [
      ": ping\n\n",
      delta("a"),
      'data: {"choices":[],"prompt_filter_results":[]}\n\n',
      delta("é😀"),
      "data: [DONE]\n\n",
    ];
    const sent = Buffer.from(
      [...kept.slice(0, 4), 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n', kept[4]].join(
        "",
      ),
    );
    odd.answer = (_, response) => {
      response.writeHead(200, sse);
      void (async () => {
        for (let at = 0; at < sent.length; at += 7) {
          response.write(sent.subarray(at, at + 7));
          await new Promise((resolve) => setImmediate(resolve));
        }
        response.end();
      })();
    };
    const added = await world.counted(async () => {
      const answer = await world.post("/v1/chat/completions", { ...chat("x", { stream: true }), model: "odd" });
      expect((await textOf(answer)).text).toBe(kept.join(""));
    });
    expect(added).toEqual({ input_tokens: 3, output_tokens: 2, model_requests: 1 });
    expect(JSON.parse(odd.requests.at(-1)?.body ?? "")).toMatchObject({
      stream_options: { include_usage: true },
      max_completion_tokens: 4096,
      model: "gpt-5-mini",
    });
  });
});

describe("a client that leaves", () => {
  it("in the middle of a stream: upstream is closed, what had come is counted as an estimate", async () => {
    const before = { usage: await world.gateway.usage(), tally: await tally() };
    const stream = await client.chat.completions.create({
      model: "gpt",
      messages: [{ role: "user", content: "[[tokens 2000]] [[delay 5]]" }],
      stream: true,
    });
    let seen = 0;
    for await (const _ of stream) {
      seen += 1;
      if (seen === 20) break;
    }
    const leftMs = performance.now();
    const after = await eventually(async () =>
      (await tally()).clientGone > before.tally.clientGone ? await tally() : undefined,
    );
    expect(performance.now() - leftMs).toBeLessThan(1_500);
    const added = difference(await world.gateway.usage(), before.usage);
    const sent = after.cutOutput - before.tally.cutOutput;
    expect(added["model_requests"]).toBe(1);
    expect(added["input_tokens"]).toBeGreaterThan(0);
    // What lay in buffers when the client left was sent and not yet read along.
    expect(added["output_tokens"]).toBeGreaterThanOrEqual(18);
    expect(added["output_tokens"]).toBeLessThanOrEqual(sent);
    expect(sent - (added["output_tokens"] ?? 0)).toBeLessThanOrEqual(5);
    const line = world.gateway.audit().findLast((each) => each["route"] === "chat");
    expect(line).toMatchObject({ cutBy: "client", estimated: true, decision: "allow" });
  });

  it("before any header: upstream is closed, nothing is counted, the process lives", async () => {
    odd.answer = () => {};
    const before = odd.aborted.count;
    const asked = odd.requests.length;
    const usage = await world.gateway.usage();
    const leaving = httpRequest(`${world.gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "api-key": API_KEY },
    });
    leaving.on("error", () => {});
    leaving.end(JSON.stringify({ ...chat("x"), model: "odd" }));
    await eventually(() => (odd.requests.length > asked ? true : undefined));
    leaving.destroy();
    const leftMs = performance.now();
    await eventually(() => (odd.aborted.count > before ? true : undefined));
    expect(performance.now() - leftMs).toBeLessThan(1_000);
    expect(await world.gateway.usage()).toEqual(usage);
    expect((await client.models.list()).data).toHaveLength(3);
  });

  it("while the upstream waits for its turn to be asked again: no more attempt is made", async () => {
    odd.answer = (_, response) => {
      response.writeHead(429, { "retry-after": "1" });
      response.end("{}");
    };
    const asked = odd.requests.length;
    const stop = new AbortController();
    const call = world.post("/v1/chat/completions", { ...chat("x"), model: "odd" }).catch(() => undefined);
    const leaving = fetch(`${world.gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "api-key": API_KEY },
      body: JSON.stringify({ ...chat("x"), model: "odd" }),
      signal: stop.signal,
    }).catch(() => undefined);
    await eventually(() => (odd.requests.length >= asked + 2 ? true : undefined));
    stop.abort();
    await Promise.all([call, leaving]);
    // Three attempts of the one that stayed, one of the one that left.
    expect(odd.requests.length - asked).toBe(4);
  });
});

describe("an upstream that dies in the middle", () => {
  it("of a chat: the client gets an error event, no end; what had come is counted", async () => {
    let seen = 0;
    const added = await world.counted(async () => {
      const answer = await world.post(
        "/v1/chat/completions",
        chat("[[tokens 50]] [[die after 5]] [[delay 2]]", { stream: true }),
      );
      const { text, broke } = await textOf(answer);
      expect(broke).toBe(true);
      expect(text).not.toContain("[DONE]");
      seen = text.split('"content":"tok "').length - 1;
      expect(text.trim().split("\n\n").at(-1)).toBe(
        'data: {"error":{"message":"Cannot finish the stream as it was interrupted","type":"upstream_error","param":null,"code":"stream_interrupted"}}',
      );
    });
    expect(seen).toBeGreaterThan(2);
    expect(added).toMatchObject({ output_tokens: seen, model_requests: 1 });
  });

  it("of a chat: the openai client throws", async () => {
    const read = async (): Promise<void> => {
      const stream = await client.chat.completions.create({
        model: "gpt",
        messages: [{ role: "user", content: "[[tokens 50]] [[die after 5]] [[delay 2]]" }],
        stream: true,
      });
      for await (const chunk of stream) expect(chunk.object).toBe("chat.completion.chunk");
    };
    await expect(read()).rejects.toThrow("Cannot finish the stream as it was interrupted");
  });

  it("of a response: error, then response.failed with its id and rising numbers; the openai client throws", async () => {
    const body = { model: "gpt", input: "[[tokens 50]] [[die after 5]] [[delay 2]]", stream: true };
    const { text, broke } = await textOf(await world.post("/v1/responses", body));
    expect(broke).toBe(true);
    const events = text
      .trim()
      .split("\n\n")
      .map((event) => JSON.parse(event.slice(event.indexOf("data: ") + 6)));
    const numbers = events.map((event) => event.sequence_number);
    expect(numbers).toEqual(numbers.map((_, index) => index));
    expect(events.at(-2)).toMatchObject({ type: "error", code: "stream_interrupted" });
    expect(events.at(-1)).toMatchObject({
      type: "response.failed",
      response: { id: events[0].response.id, status: "failed", error: { code: "stream_interrupted" } },
    });
    const read = async (): Promise<void> => {
      const stream = await client.responses.create({ ...body, stream: true });
      for await (const event of stream) expect(event.type).toMatch(/^response\./);
    };
    await expect(read()).rejects.toThrow();
  });

  it("and closes cleanly without [DONE] is still no normal end", async () => {
    odd.answer = (_, response) => {
      response.writeHead(200, sse);
      response.end('data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\ndata: {"choi');
    };
    const { text, broke } = await textOf(
      await world.post("/v1/chat/completions", { ...chat("x", { stream: true }), model: "odd" }),
    );
    expect([broke, text.includes("stream_interrupted"), text.includes('"choi\n')]).toEqual([true, true, false]);
  });

  it("of a JSON answer: it is asked again, and counted once", async () => {
    let calls = 0;
    odd.answer = (_, response) => {
      calls += 1;
      response.writeHead(200, { "content-type": "application/json" });
      if (calls === 1) response.write('{"choices":[', () => response.destroy());
      else response.end('{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}');
    };
    const added = await world.counted(async () => {
      const answer = await world.post("/v1/chat/completions", { ...chat("x"), model: "odd" });
      expect([answer.status, (await answer.text()).length]).toEqual([200, 64]);
    });
    expect([calls, added]).toEqual([2, { input_tokens: 2, output_tokens: 1, model_requests: 1 }]);
  });
});

describe("an upstream that is busy", () => {
  it("is asked again after the wait it named, up to three times, then the client is told its wait", async () => {
    const times: number[] = [];
    odd.answer = (_, response) => {
      times.push(performance.now());
      response.writeHead(429, { "retry-after-ms": "300" });
      response.end("{}");
    };
    const answer = await world.post("/v1/chat/completions", { ...chat("x"), model: "odd" });
    expect([answer.status, answer.headers.get("retry-after-ms"), answer.headers.get("retry-after")]).toEqual([
      429,
      "300",
      "1",
    ]);
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(waits).toHaveLength(2);
    for (const wait of waits) expect(wait).toBeGreaterThanOrEqual(295);
  });

  it("leaves the call to the next deployment at once, under its own name of the model", async () => {
    odd.answer = (_, response) => {
      response.writeHead(429, { "retry-after": "9" });
      response.end("{}");
    };
    const startMs = performance.now();
    const answer = await world.post("/v1/chat/completions", { ...chat("[[say ok]]"), model: "pair" });
    const body = z.object({ model: z.string() }).parse(await answer.json());
    expect([answer.status, body.model]).toEqual([200, "gpt-5-fallback"]);
    expect(performance.now() - startMs).toBeLessThan(1_000);
    const line = await eventually(() =>
      world.gateway.audit().find((each) => each["requestId"] === answer.headers.get("x-request-id")),
    );
    expect(line).toMatchObject({ deployment: "second", attempts: 2, model: "pair" });
    expect(await world.gateway.metrics()).toContain(
      'supercargo_gateway_upstream_errors_total{model="pair",deployment="first",reason="429"} 1',
    );
  });

  it.each([
    [401, 502, "upstream_refused_credential"],
    [403, 502, "upstream_refused_credential"],
    [302, 502, "upstream_error"],
  ])("that answers %i: %i %s", async (...[upstream, status, code]) => {
    odd.answer = (_, response) => {
      response.writeHead(upstream, { location: "http://127.0.0.1:1/" });
      response.end('{"secret":"ours"}');
    };
    const answer = await world.post("/v1/chat/completions", { ...chat("x"), model: "odd" });
    const text = await answer.text();
    expect([answer.status, JSON.parse(text).error.code]).toEqual([status, code]);
    expect(text).not.toContain("secret");
  });

  it("passes its own 400 on as it is, and counts nothing", async () => {
    const added = await world.counted(async () => {
      const answer = await world.post("/v1/chat/completions", chat("[[content_filter]]"));
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({
        error: { code: "content_filter", innererror: { code: "ResponsibleAIPolicyViolation" } },
      });
    });
    expect(added).toEqual({});
  });
});

describe("a slow client", () => {
  it("holds its upstream back: the gateway buffers little", async () => {
    const event = `data: {"choices":[{"index":0,"delta":{"content":"${"x".repeat(16_000)}"}}]}\n\n`;
    let written = 0;
    odd.answer = (_, response) => {
      response.writeHead(200, sse);
      const more = (): void => {
        for (let fits = true; fits && written < 4_000; written += 1) fits = response.write(event);
        if (written >= 4_000) response.end("data: [DONE]\n\n");
        else response.once("drain", more);
      };
      more();
    };
    const answer = await new Promise<IncomingMessage>((resolve) => {
      const request = httpRequest(`${world.gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", "api-key": API_KEY },
      });
      request.on("response", resolve);
      request.end(JSON.stringify({ ...chat("x", { stream: true }), model: "odd" }));
    });
    answer.pause();
    let last = -1;
    await eventually(async () => {
      await new Promise((resolve) => get(`${world.gateway.adminUrl}/livez`, resolve));
      const still = written === last && written > 0;
      last = written;
      return still ? true : undefined;
    });
    // 64 MB would be all; what fits into the sockets' buffers of two connections is a part of it.
    expect(written).toBeLessThan(1_500);
    let bytes = 0;
    for await (const chunk of answer) bytes += Buffer.from(chunk).length;
    expect(bytes).toBe(4_000 * event.length + "data: [DONE]\n\n".length);
  });
});

describe("the agent's stream", () => {
  it("passes untouched, counts one agent request and no token, and breaks off visibly", async () => {
    const created =
      'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_9"}}\n\n';
    const completed =
      'event: response.completed\ndata: {"type":"response.completed","sequence_number":1,"response":{"id":"resp_9","usage":{"input_tokens":50,"output_tokens":9}}}\n\ndata: [DONE]\n\n';
    world.orchestrator.answer = (_, response) => {
      response.writeHead(200, sse);
      response.end(created + completed);
    };
    const added = await world.counted(async () => {
      const answer = await world.post("/v1/responses", { input: "x", stream: true });
      expect(await textOf(answer)).toEqual({ text: created + completed, broke: false });
    });
    expect(added).toEqual({ agent_requests: 1 });
    world.orchestrator.answer = (_, response) => {
      response.writeHead(200, sse);
      response.write(created, () => response.destroy());
    };
    const cut = await textOf(await world.post("/v1/responses", { input: "x", stream: true }));
    expect([cut.broke, cut.text.includes('"type":"response.failed"')]).toEqual([true, true]);
  });

  it("passes errors of the orchestrator on, without counting", async () => {
    const body = '{"error":{"message":"m","type":"invalid_request_error","param":"input","code":"invalid_value"}}';
    world.orchestrator.answer = (_, response) => {
      response.writeHead(400, { "content-type": "application/json" });
      response.end(body);
    };
    const added = await world.counted(async () => {
      const answer = await world.post("/v1/responses", {});
      expect([answer.status, await answer.text()]).toEqual([400, body]);
    });
    expect(added).toEqual({});
  });
});
