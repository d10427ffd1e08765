import { writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OrchestratorConfig } from "#core/api/pod-config.ts";
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
import { freePort } from "../fakes/free-port.ts";
import { type AgentWorld, createWorld } from "./world.ts";

/** The whole way of a question: client → gateway → orchestrator → gateway → model, and a tool, all real processes. */
let emulator: Emulator;
let world: AgentWorld;
let gateway: GatewayProcess;
let config: OrchestratorConfig;
const folder = createFolder();

beforeAll(async () => {
  emulator = await startEmulator({ standIns: ["model"] });
  const issuer = await createServiceIssuer();
  const port = await freePort();
  const options = { modelUrl: emulator.url, orchestratorUrl: `http://127.0.0.1:${port}`, identity: issuer.identity };
  folder.writeConfig(gatewayConfig({ ...options, modelKeyFile: folder.modelKeyFile }));
  folder.writeControl(control());
  world = await createWorld({ environment: { SUPERCARGO_PORT: String(port) } });
  // What the kubelet would project: each side's token for the other.
  writeFileSync(folder.files.token, await world.token());
  writeFileSync(join(world.directory, "token"), await issuer.sign());
  gateway = await startGateway(folder);
  config = { ...world.config, agent: AGENT, model: "gpt", gateway: { ...world.config.gateway, url: gateway.url } };
  world.writeConfig(config);
  await world.start();
});
afterAll(async () => {
  await gateway.signal("SIGKILL");
  await Promise.all([world.stop(), emulator.stop()]);
  folder.remove();
});

function client(): OpenAI {
  return new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: API_KEY, maxRetries: 0 });
}

const input = 'Where is it? [[call get_order {"order_id":"A-1001"}]][[next]][[say It was delivered.]]';

describe("through the real gateway", () => {
  it("answers with a tool call, streams, goes on and reads again", async () => {
    const first = await client().responses.create({ model: AGENT.name, input });
    expect(first.output_text).toBe("It was delivered.");
    const stream = client().responses.stream({ model: AGENT.name, input, previous_response_id: first.id });
    const second = await stream.finalResponse();
    expect(second).toMatchObject({ status: "completed", previous_response_id: first.id });
    expect((await client().responses.retrieve(second.id)).output).toMatchObject([
      { type: "mcp_call" },
      { type: "message" },
    ]);
    // The principal of the API key reached tool and audit.
    expect(world.toolCalls.map((call) => decodeURIComponent(call.actingFor))).toEqual(["orders team", "orders team"]);
    expect(world.log.some((line) => line.includes('"actingFor":"orders team"'))).toBe(true);
  });

  it("counts runs and tool calls here, tokens and requests there", async () => {
    const before = await gateway.usage();
    const runs = await world.metric('supercargo_usage_total{dimension="workflow_completed"}');
    const response = await client().responses.create({ model: AGENT.name, input });
    const after = await gateway.usage();
    expect(await world.metric('supercargo_usage_total{dimension="workflow_completed"}')).toBe(runs + 1);
    const added = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
    expect(added("agent_requests")).toBe(1);
    expect(added("model_requests")).toBe(2);
    expect(added("input_tokens")).toBe(response.usage?.input_tokens);
    expect(added("output_tokens")).toBe(response.usage?.output_tokens);
  });

  it("fails with what the gateway says when the alias is unknown", async () => {
    world.writeConfig({ ...config, model: "gone" });
    await expect
      .poll(async () => (await client().responses.create({ model: AGENT.name, input: "Hello" })).error, {
        timeout: 5000,
      })
      .toMatchObject({ code: "model_not_found" });
    world.writeConfig(config);
  });
});
