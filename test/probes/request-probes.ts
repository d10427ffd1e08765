import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import OpenAI, { APIError } from "openai";
import { Pool } from "undici";
import { type Facts, numberOf, type Probe } from "./probe.ts";
import { chatTo, post, type ProbeTarget } from "./target.ts";

const MIB = 1024 * 1024;
const CLIENT_SECRET = "secret-of-the-client";

type SendBig = (target: ProbeTarget, body: string) => Promise<string>;

/** Each gives the status and code that this client could read, or what it met instead. */
const BIG_BODY_CLIENTS: Readonly<Record<string, SendBig>> = {
  async curl(target, body) {
    const folder = mkdtempSync(join(tmpdir(), "probe-"));
    const file = join(folder, "body.json");
    writeFileSync(file, body);
    const headers = Object.entries({ "content-type": "application/json", ...target.headers("one") });
    const args = ["-sS", "-m", "20", "-w", "\n%{http_code}", "--data-binary", `@${file}`];
    try {
      const { stdout } = await promisify(execFile)("curl", [
        ...args,
        ...headers.flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
        `${target.url}/v1/chat/completions`,
      ]);
      const [text = "", status = ""] = stdout.split("\n");
      return toldBy(Number(status), text);
    } catch (error) {
      return `failed: ${error instanceof Error ? error.message.split("\n").at(-2) : ""}`;
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  nodeHttp: (target, body) =>
    new Promise((resolve) => {
      const headers = {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        ...target.headers("one"),
      };
      const request = httpRequest(`${target.url}/v1/chat/completions`, { method: "POST", headers });
      request.on("error", (error) => resolve(`failed: ${error.message}`));
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve(toldBy(response.statusCode ?? 0, Buffer.concat(chunks).toString())));
        response.on("error", (error) => resolve(`failed: ${error.message}`));
      });
      request.end(body);
    }),
  async openai(target, body) {
    const headers = target.headers("one");
    const client = new OpenAI({
      baseURL: `${target.url}/v1`,
      apiKey: headers["authorization"]?.replace("Bearer ", "") ?? "none",
      defaultHeaders: headers,
      maxRetries: 0,
    });
    const messages = [{ role: "user", content: body } as const];
    return await client.chat.completions.create({ model: "one", messages }).then(
      () => "200",
      (error: unknown) => (error instanceof APIError ? `${error.status} ${error.code}` : String(error)),
    );
  },
};

function toldBy(status: number, text: string): string {
  const code = /"code":\s*"?(\w+)/.exec(text)?.[1];
  return code === undefined ? `${status}` : `${status} ${code}`;
}

export const bigBodies: Probe = {
  name: "5 and 30 MiB body",
  right: "413 JSON, readable by curl, node:http and openai; no reset; upstream saw nothing",
  async observe(target, { first }) {
    const facts: Record<string, string | number> = {};
    for (const mebibytes of [5, 30]) {
      const body = JSON.stringify(
        chatTo("one", { messages: [{ role: "user", content: "x".repeat(mebibytes * MIB) }] }),
      );
      for (const [client, send] of Object.entries(BIG_BODY_CLIENTS))
        facts[`${client}${mebibytes}MiB`] = await send(target, body);
    }
    return { ...facts, upstreamSaw: first.requests.length };
  },
  isRight: ({ upstreamSaw, ...told }) =>
    upstreamSaw === 0 && Object.values(told).every((each) => each === "413 request_too_large"),
};

const BAD: Readonly<Record<string, { readonly body: unknown; readonly wanted: string }>> = {
  malformed: { body: '{"model":"one","messages":[', wanted: "400 -" },
  noObject: { body: "[]", wanted: "400 -" },
  model7: { body: { model: 7, messages: [] }, wanted: "400 model" },
  maxTokensText: { body: chatTo("one", { max_tokens: "many" }), wanted: "400 max_tokens" },
  streamText: { body: chatTo("one", { stream: "yes" }), wanted: "400 stream" },
  unknownAlias: { body: { model: "nobody-knows", messages: [] }, wanted: "404 model" },
};

export const badRequests: Probe = {
  name: "malformed JSON; wrong types; unknown alias",
  right: "400; 400 with param; 404, never 500; upstream saw nothing",
  async observe(target, { first }) {
    const facts: Record<string, string | number> = {};
    for (const [name, { body }] of Object.entries(BAD)) {
      const answer = await post(target, "one", { body });
      const param = /"param":"(\w+)"/.exec(await answer.text())?.[1] ?? "-";
      facts[name] = `${answer.status} ${param}`;
    }
    return { ...facts, upstreamSaw: first.requests.length };
  },
  isRight: (facts) =>
    facts["upstreamSaw"] === 0 && Object.entries(BAD).every(([name, { wanted }]) => facts[name] === wanted),
};

const FILTER_DOWN = { messages: [{ role: "user", content: "[[say Not judged]] [[content_filter error]]" }] };

async function askUnfiltered(target: ProbeTarget): Promise<Facts> {
  const answer = await post(target, "emulated", { body: chatTo("emulated", FILTER_DOWN) });
  const text = await answer.text();
  const passed = text.includes("Not judged");
  if (target.own === undefined) return { status: answer.status, passed, absent: "a policy, metric or record for it" };
  const line = target.own.gateway.audit().some((each) => each["contentFilter"] === "down");
  return {
    status: answer.status,
    passed,
    audit: line,
    metric: /^supercargo_gateway_content_filter_down_total\{.*\} [1-9]/m.test(await target.own.gateway.metrics()),
  };
}

export const filterDownSeen: Probe = {
  name: "content_filter_error, policy open",
  right: "passes, with a metric and an audit record",
  observe: (target) => askUnfiltered(target),
  isRight: ({ status, passed, audit, metric }) =>
    status === 200 && passed === true && audit === true && metric === true,
};

export const filterDownRefused: Probe = {
  name: "content_filter_error, policy closed",
  right: "refused, with a metric and an audit record",
  needs: async () => ({ options: { isFilterClosed: true }, stop: async () => {} }),
  observe: (target) => askUnfiltered(target),
  isRight: ({ status, passed, audit, metric }) =>
    status === 503 && passed === false && audit === true && metric === true,
};

export const upstreamHeaders: Probe = {
  name: "headers seen upstream",
  right: "none of the client's but its request id, no client credential",
  async observe(target, { first }) {
    const sent: Record<string, string> = {
      "user-agent": "spy",
      "x-stainless-lang": "js",
      cookie: `session=${CLIENT_SECRET}`,
      "accept-language": "de",
      "x-secret": CLIENT_SECRET,
      "x-request-id": "mine-1",
    };
    await (await post(target, "one", { body: chatTo("one"), headers: sent })).text();
    const seen = first.requests[0]?.headers ?? {};
    const credentials = Object.values(target.headers("one"));
    return {
      names: Object.keys(seen).sort().join(" "),
      ofClient: Object.keys(sent)
        .filter((name) => seen[name] === sent[name])
        .join(" "),
      credential: Object.values(seen).some((value) => credentials.includes(String(value))),
    };
  },
  isRight: ({ ofClient, credential }) => ofClient === "x-request-id" && credential === false,
};

/** Series of our own; those of the runtime come and go with its handles. */
function seriesOf(exposition: string): number {
  return exposition.split("\n").filter((line) => /^(supercargo|gen_ai|metering)_/.test(line)).length;
}

async function sendRandom(pool: Pool, target: ProbeTarget, index: number): Promise<void> {
  const answer = await pool.request({
    method: "POST",
    path: index % 2 === 0 ? "/v1/chat/completions" : `/v1/path-${index}`,
    headers: { "content-type": "application/json", ...target.headers("one") },
    body: JSON.stringify({ model: `model-${index}`, messages: [] }),
  });
  await answer.body.dump();
}

const RANDOM = 10_000;

export const randomNames: Probe = {
  name: "10,000 random paths and models",
  right: "series count unchanged",
  async observe(target, { first }) {
    const metrics = async (): Promise<string> => (target.own === undefined ? "" : await target.own.gateway.metrics());
    if (target.own === undefined) {
      const answer = await fetch(`${target.url}/metrics`);
      return { metrics: answer.status, absent: "metrics" };
    }
    const pool = new Pool(target.url, { connections: 32 });
    await sendRandom(pool, target, 0);
    await sendRandom(pool, target, 1);
    const before = seriesOf(await metrics());
    for (let start = 0; start < RANDOM; start += 100)
      await Promise.all(Array.from({ length: 100 }, (_, index) => sendRandom(pool, target, start + index)));
    const after = await metrics();
    await pool.close();
    return {
      before,
      after: seriesOf(after),
      names: after.includes("model-77") || after.includes("path-77"),
      upstreamSaw: first.requests.length,
    };
  },
  isRight: ({ before, after, names, upstreamSaw }) =>
    numberOf(before) > 20 && after === before && names === false && upstreamSaw === 0,
};
