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
  gatewayConfig,
  type GatewayProcess,
  startGateway,
} from "../../services/gateway/test-world.ts";
import { type Collector, type SentSpan, startCollector } from "../fakes/collector.ts";
import { freePort } from "../fakes/free-port.ts";
import { type AgentWorld, createWorld } from "./world.ts";

const CANARY = "canary-7f3a-question";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
const KINDS = ["", "internal", "server", "client"];

let collector: Collector;
let emulator: Emulator;
let world: AgentWorld;
let gateway: GatewayProcess;
const folder = createFolder();

beforeAll(async () => {
  collector = await startCollector();
  emulator = await startEmulator({ standIns: ["model"] });
  const issuer = await createServiceIssuer();
  const port = await freePort();
  const options = { modelUrl: emulator.url, orchestratorUrl: `http://127.0.0.1:${port}`, identity: issuer.identity };
  folder.writeConfig(gatewayConfig({ ...options, modelKeyFile: folder.modelKeyFile }));
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
  await Promise.all([world.stop(), emulator.stop()]);
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

  it("sends what waits when the agent's pod is stopped", async () => {
    const last = "3".repeat(32);
    await ask("Hello", { traceparent: `00-${last}-${CALLER}-01` });
    expect(await world.kill("SIGTERM")).toBe(0);
    const names = collector.spans().flatMap(({ traceId, name }) => (traceId === last ? [name] : []));
    expect(names).toContain(`invoke_agent ${AGENT.name}`);
  });
});
