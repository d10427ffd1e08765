import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { decodeCounterFile } from "#core/counter-record.ts";
import { type Emulator, startEmulator } from "../emulator/app.ts";
import {
  API_KEY,
  chat,
  control,
  createFolder,
  difference,
  eventually,
  gatewayConfig,
  type GatewayWorld,
  MODEL_KEY,
  startGateway,
  startGatewayWorld,
} from "./test-world.ts";

/** util-linux: sets the largest file that a running process may write. */
const PRLIMIT = "/usr/bin/prlimit";

let emulator: Emulator;
let world: GatewayWorld;

beforeAll(async () => {
  emulator = await startEmulator({ model: { auth: "Key", apiKeys: [MODEL_KEY], deployments: [] } });
  return () => emulator.stop();
});
beforeEach(async () => {
  world = await startGatewayWorld({ modelUrl: emulator.url, env: { SUPERCARGO_DRAIN_SECONDS: "3" } });
});
afterEach(async () => {
  await world?.stop();
});

const models = (): Promise<Response> => fetch(`${world.gateway.url}/v1/models`, { headers: { "api-key": API_KEY } });

describe("SIGTERM", () => {
  it("lets a JSON answer and a stream in flight end whole, refuses new connections, exits 0", async () => {
    const json = world.post("/v1/chat/completions", chat("[[tokens 5]]"));
    const slow = world.post("/v1/chat/completions", chat("[[tokens 60]] [[delay 25]]", { stream: true }));
    const stream = await slow;
    const left = world.gateway.signal("SIGTERM");
    await eventually(async () => {
      const ready = await world.gateway.ready();
      return ready.status === 503 && ready.text === "The pod is being replaced\n" ? true : undefined;
    });
    // Endpoints take a while to propagate: until then it still serves.
    expect((await models()).status).toBe(200);
    await eventually(() =>
      models().then(
        (answer) => (answer.status === 503 ? true : undefined),
        () => true,
      ),
    );
    expect((await (await json).text()).includes('"finish_reason":"stop"')).toBe(true);
    expect((await stream.text()).endsWith("data: [DONE]\n\n")).toBe(true);
    expect(await left).toBe(0);
    expect(world.gateway.lines.at(-1)).toMatchObject({ msg: "Stopped" });
  });

  it("cuts at the deadline what has not ended, and counts it", async () => {
    const before = await world.gateway.usage();
    const stream = await world.post("/v1/chat/completions", chat("[[tokens 2000]] [[delay 20]]", { stream: true }));
    const reader = stream.text().then(
      () => "whole",
      () => "broken",
    );
    const startMs = performance.now();
    expect(await world.gateway.signal("SIGTERM")).toBe(0);
    expect(performance.now() - startMs).toBeLessThan(6_000);
    expect(await reader).toBe("broken");
    const again = await startGateway(world.folder);
    const added = difference(await again.usage(), before);
    await again.signal("SIGKILL");
    expect(added["model_requests"]).toBe(1);
    expect(added["output_tokens"]).toBeGreaterThan(50);
    expect(world.gateway.audit().at(-1)).toMatchObject({ cutBy: "drain", estimated: true });
  });
});

describe("kill -9", () => {
  it("loses nothing that was answered", async () => {
    let answered = 0;
    const storm = Array.from({ length: 8 }, async () => {
      for (;;) {
        const answer = await world.post("/v1/chat/completions", chat("[[tokens 7]]"));
        if (answer.status !== 200) return;
        await answer.text();
        answered += 1;
      }
    });
    const ended = Promise.allSettled(storm);
    await eventually(() => (answered >= 100 ? true : undefined));
    await world.gateway.signal("SIGKILL");
    await ended;
    const again = await startGateway(world.folder);
    const usage = await again.usage();
    await again.signal("SIGKILL");
    expect(usage["model_requests"]).toBeGreaterThanOrEqual(answered);
    // At most what was in flight had been counted and not answered.
    expect(usage["model_requests"]).toBeLessThanOrEqual(answered + 8);
    expect(usage["output_tokens"]).toBe((usage["model_requests"] ?? 0) * 7);
  });
});

describe("a counter file that cannot be written", () => {
  it("turns answers into 503 and the pod unready, until it can be written again", async () => {
    const limit = (bytes: string): void =>
      void execFileSync(PRLIMIT, ["--pid", String(world.gateway.pid), `--fsize=${bytes}`]);
    limit("0:unlimited");
    const before = await world.gateway.usage();
    const answer = await world.post("/v1/chat/completions", chat("[[say secret words]]"));
    const text = await answer.text();
    expect([answer.status, JSON.parse(text).error]).toEqual([
      503,
      {
        message: "Cannot answer as usage could not be written down",
        type: "server_error",
        param: null,
        code: "metering_unavailable",
      },
    ]);
    expect(await world.gateway.ready()).toEqual({ status: 503, text: "Cannot write the counter file\n" });
    const stream = await world.post("/v1/chat/completions", chat("x", { stream: true }));
    const run = await world.post("/v1/responses", { input: "x" });
    expect([stream.status, run.status]).toEqual([503, 503]);
    expect(await world.gateway.usage()).toEqual(before);
    expect(world.orchestrator.requests).toEqual([]);
    limit("unlimited:unlimited");
    expect((await world.post("/v1/chat/completions", chat("x"))).status).toBe(200);
    expect((await world.gateway.ready()).status).toBe(200);
    expect((await world.gateway.usage())["model_requests"]).toBe(1);
  });
});

describe("configuration", () => {
  it("that is bad makes the pod unready with every problem; the old one stays in force", async () => {
    const good = gatewayConfig({
      modelUrl: emulator.url,
      orchestratorUrl: world.orchestrator.url,
      identity: world.issuer.identity,
      modelKeyFile: world.folder.modelKeyFile,
    });
    world.folder.writeConfig({
      ...good,
      models: [{ ...good.models[0], deployments: [] }],
      orchestrator: { url: 7, audience: "a" },
    });
    const ready = await eventually(async () => {
      const now = await world.gateway.ready();
      return now.status === 503 ? now : undefined;
    });
    expect(ready.text.replace(world.folder.files.config, "FILE")).toBe(
      "Cannot read FILE: Cannot use the gateway's config:\n" +
        "  - models.0.deployments: Too small: expected array to have >=1 items: current value is []\n" +
        "  - orchestrator.url: Invalid input: expected string, received number: current value is 7\n",
    );
    expect((await models()).status).toBe(200);
    world.folder.writeConfig(good);
    await eventually(async () => ((await world.gateway.ready()).status === 200 ? true : undefined));
  });

  it("that is absent at the start: 503 and unready; served as soon as it and a grant are there", async () => {
    const folder = createFolder();
    const gateway = await startGateway(folder);
    const ask = (): Promise<Response> => fetch(`${gateway.url}/v1/models`, { headers: { "api-key": API_KEY } });
    const answer = await ask();
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(await answer.json()).toMatchObject({ error: { code: "not_ready" } });
    expect((await gateway.ready()).text).toMatch(/ENOENT/);
    folder.writeConfig(
      gatewayConfig({
        modelUrl: emulator.url,
        orchestratorUrl: world.orchestrator.url,
        identity: world.issuer.identity,
      }),
    );
    const second = await eventually(async () => {
      const now = await ask();
      const body: unknown = await now.json();
      return JSON.stringify(body).includes("before a grant has arrived") ? now : undefined;
    });
    expect(second.status).toBe(503);
    folder.writeControl(control());
    await eventually(async () => ((await ask()).status === 200 ? true : undefined));
    expect((await gateway.ready()).status).toBe(200);
    await gateway.signal("SIGKILL");
    folder.remove();
  });

  it("that changes, changes aliases and rotates secrets without a restart; the echo follows", async () => {
    const config = gatewayConfig({
      modelUrl: emulator.url,
      orchestratorUrl: world.orchestrator.url,
      identity: world.issuer.identity,
      modelKeyFile: world.folder.modelKeyFile,
    });
    writeFileSync(world.folder.modelKeyFile, "wrong-key");
    const statusOf = async (model: string): Promise<number> =>
      (await world.post("/v1/chat/completions", { ...chat("x"), model })).status;
    await eventually(async () => ((await statusOf("gpt")) === 502 ? true : undefined));
    writeFileSync(world.folder.modelKeyFile, MODEL_KEY);
    world.folder.writeConfig({ ...config, models: config.models.map((model) => ({ ...model, name: "renamed" })) });
    await eventually(async () => ((await statusOf("renamed")) === 200 ? true : undefined));
    expect(await statusOf("gpt")).toBe(404);
    const digestOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");
    expect(decodeCounterFile(readFileSync(world.folder.files.counters))).toMatchObject({
      configDigest: digestOf(world.folder.files.config),
      controlDigest: digestOf(world.folder.files.control),
      mode: "Running",
    });
  });

  it("of the environment is refused with every problem, and exit 1", async () => {
    await expect(
      startGateway(createFolder(), { SUPERCARGO_PORT: "http", SUPERCARGO_LOG_LEVEL: "loud" }),
    ).rejects.toThrow(
      /ended with 1: Cannot use the environment:\n {2}- SUPERCARGO_PORT: .*current value is "http"\n {2}- SUPERCARGO_LOG_LEVEL: .*current value is "loud"/,
    );
  });
});
