import { writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Emulator, startEmulator } from "../../services/emulator/app.ts";
import {
  AGENT,
  API_KEY,
  control,
  createFolder,
  createServiceIssuer,
  deployment,
  gatewayConfig,
  type GatewayProcess,
  type Peer,
  startGateway,
  startPeer,
} from "../../services/gateway/test-world.ts";
import { type Collector, type SentSpan, startCollector } from "../fakes/collector.ts";
import { freePort } from "../fakes/free-port.ts";
import { type AgentWorld, createWorld } from "./world.ts";

const CANARY = "canary-7f3a-question";
const GUARDED = "canary-guarded-word";
const UPSTREAM = "canary-of-an-upstream";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
const KINDS = ["", "internal", "server", "client"];

let collector: Collector;
let emulator: Emulator;
let world: AgentWorld;
let gateway: GatewayProcess;
/** A model that refuses us, and says more than it should. */
let odd: Peer;
const folder = createFolder();

beforeAll(async () => {
  collector = await startCollector();
  emulator = await startEmulator({ standIns: ["model"] });
  const issuer = await createServiceIssuer();
  const port = await freePort();
  const options = { modelUrl: emulator.url, orchestratorUrl: `http://127.0.0.1:${port}`, identity: issuer.identity };
  odd = await startPeer((_, response) => void response.writeHead(401).end(JSON.stringify({ error: UPSTREAM })));
  const gpt = deployment("primary", { modelUrl: emulator.url, modelKeyFile: folder.modelKeyFile });
  folder.writeConfig(
    gatewayConfig({
      ...options,
      models: [
        { name: "gpt", outputTokensMax: 4096, deployments: [gpt] },
        { name: "odd", outputTokensMax: 4096, deployments: [deployment("odd", { modelUrl: odd.url })] },
      ],
      guardrails: [
        {
          type: "LocalRules",
          name: "words",
          phase: "Input",
          action: "Reject",
          failureMode: "Closed",
          detect: [],
          denyWords: [GUARDED],
          allowWords: [],
        },
      ],
    }),
  );
  folder.writeControl(control());
  const environment = { SUPERCARGO_OTLP_ENDPOINT: collector.url };
  world = await createWorld({ environment: { ...environment, SUPERCARGO_PORT: String(port) } });
  writeFileSync(folder.files.token, await world.token());
  writeFileSync(join(world.directory, "token"), await issuer.sign());
  gateway = await startGateway(folder, environment);
  world.writeConfig({
    ...world.config,
    agent: AGENT,
    model: "gpt",
    gateway: { ...world.config.gateway, url: gateway.url },
  });
  await world.start();
});
afterAll(async () => {
  await gateway.signal("SIGKILL");
  await Promise.all([world.stop(), emulator.stop(), odd.stop()]);
  collector.stop();
  folder.remove();
});

function ask(input: string, headers: Record<string, string>): Promise<OpenAI.Responses.Response> {
  const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
  return client.responses.create({ model: AGENT.name, input }, { headers });
}

/** A line for each span, under its parent's. */
function tree(spans: readonly SentSpan[], parent: string, indent = ""): string[] {
  return spans
    .filter((span) => span.parentSpanId === parent)
    .flatMap((span) => [`${indent}${span.name} (${KINDS[span.kind]})`, ...tree(spans, span.spanId, `${indent}  `)]);
}

const SLOW = { timeout: 15_000 };

/** Strings in everything that is not ours, on all ways; and with what each was answered. */
async function plantEverywhere(): Promise<{ said: string[]; answers: number[] }> {
  const said: string[] = [GUARDED, UPSTREAM];
  const plant = (where: string): string => {
    const word = `canary-${where}-${said.length}`;
    said.push(word);
    return word;
  };
  const send = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<number> => {
    const init = { "content-type": "application/json", "api-key": API_KEY, traceparent: sampled, ...headers };
    const answer = await fetch(`${gateway.url}${path}`, { method: "POST", headers: init, body: JSON.stringify(body) });
    const text = await answer.text();
    // Not to the caller either: what the model's own failure says is not the caller's.
    if (answer.status >= 500) expect(text).not.toContain("canary");
    return answer.status;
  };
  const sampled = `00-${"4".repeat(32)}-${CALLER}-01`;
  const jwt = (claims: object): string =>
    ["e30", Buffer.from(JSON.stringify(claims)).toString("base64url"), plant("signature")].join(".");
  const order = plant("arguments");
  const question = `${plant("prompt")} [[call get_order {"order_id":"${order}"}]][[next]][[say ${plant("answer")}]]`;
  const chat = (content: string, model = "gpt"): object => ({ model, messages: [{ role: "user", content }] });
  const bearer = (token: string): Record<string, string> => ({ "api-key": "", authorization: `Bearer ${token}` });
  const answers = [
    await send(
      "/v1/responses",
      { input: question },
      { [plant("header")]: plant("value"), "user-agent": plant("agent") },
    ),
    await send("/v1/chat/completions", { ...chat("a"), n: plant("field") }),
    await send("/v1/chat/completions", chat("a", plant("model"))),
    await send("/v1/chat/completions", chat("a"), { "content-type": plant("type") }),
    await send("/v1/chat/completions", chat("a"), bearer(plant("key"))),
    await send(
      "/v1/chat/completions",
      chat("a"),
      bearer(jwt({ iss: plant("iss"), aud: plant("aud"), note: plant("claim") })),
    ),
    await send("/v1/chat/completions", chat("a"), { "api-key": plant("own") }),
    await send(`/v1/${plant("path")}?a=${plant("query")}`, {}),
    await send("/v1/chat/completions", chat(`${GUARDED} ${plant("guarded")}`)),
    await send("/v1/chat/completions", chat("a", "odd")),
  ];
  return { said, answers };
}

describe("one question to an agent", () => {
  it("is one trace from the client over gateway, agent, model and tool", async () => {
    const input = `${CANARY} [[call get_order {"order_id":"A-1001"}]][[next]][[say It was delivered.]]`;
    const answer = await ask(input, { traceparent: `00-${TRACE}-${CALLER}-01`, tracestate: "vendor=one" });
    expect(answer.output_text).toBe("It was delivered.");
    await expect.poll(() => collector.spans().length, { timeout: 15_000 }).toBe(10);
    const spans = collector.spans();
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([TRACE]));
    const chat = ["      chat gpt (client)", "        POST chat (server)", "          chat gpt (client)"];
    expect(tree(spans, CALLER).toSorted()).toEqual(
      [
        "POST responses (server)",
        `  invoke_agent ${AGENT.name} (client)`,
        `    invoke_agent ${AGENT.name} (internal)`,
        ...chat,
        "      execute_tool orders/get_order (client)",
        ...chat,
      ].toSorted(),
    );
    const [call] = world.toolCalls;
    expect(call?.traceparent).toBe(`00-${TRACE}-${spans.find(({ name }) => /tool/.test(name))?.spanId}-01`);
    expect(call?.meta).toEqual({ traceparent: call?.traceparent, tracestate: "vendor=one" });
  });

  it("leaves nothing of what was said in a span, and nothing of a trace that nobody wants", async () => {
    const before = collector.spans().length;
    await ask(CANARY, { traceparent: `00-${TRACE}-${CALLER}-00` });
    await ask(CANARY, { traceparent: `00-${"2".repeat(32)}-${CALLER}-01` });
    await expect.poll(() => collector.spans().length, { timeout: 15_000 }).toBe(before + 6);
    expect(collector.spans().filter(({ traceId }) => traceId === TRACE)).toHaveLength(before);
    const sent = Buffer.concat(collector.bodies);
    for (const secret of [CANARY, "A-1001", "It was delivered", API_KEY, "model-secret", await world.token()])
      expect([secret, sent.includes(secret)]).toEqual([secret, false]);
  });

  it("leaves nothing that people, models, tools or callers have said in any log, record, metric or span", async () => {
    const { said, answers } = await plantEverywhere();
    expect(answers).toEqual([200, 400, 404, 415, 401, 401, 401, 404, 400, 502]);
    await expect.poll(() => gateway.audit().length, { timeout: 15_000 }).toBeGreaterThan(answers.length);
    // The next question ends what came before it.
    await ask("Hello", { traceparent: `00-${"5".repeat(32)}-${CALLER}-01` });
    await expect.poll(() => collector.spans().some(({ traceId }) => traceId === "5".repeat(32)), SLOW).toBe(true);
    const places = {
      "the gateway's log": JSON.stringify(gateway.lines),
      "the gateway's metrics": await gateway.metrics(),
      "the orchestrator's log": world.log.join("\n"),
      "the orchestrator's metrics": await world.metrics(),
      spans: Buffer.concat(collector.bodies).toString("latin1"),
    };
    for (const [place, text] of Object.entries(places)) {
      expect(text.length).toBeGreaterThan(100);
      expect([place, said.filter((word) => text.includes(word))]).toEqual([place, []]);
    }
  });

  it("sends what waits when the agent's pod is stopped", async () => {
    const last = "3".repeat(32);
    await ask("Hello", { traceparent: `00-${last}-${CALLER}-01` });
    expect(await world.kill("SIGTERM")).toBe(0);
    const names = collector.spans().flatMap(({ traceId, name }) => (traceId === last ? [name] : []));
    expect(names).toContain(`invoke_agent ${AGENT.name}`);
  });
});
