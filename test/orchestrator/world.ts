import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { OrchestratorConfig } from "#core/api/pod-config.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import { createOrdersListener } from "../../docs/sample/orders/listener.ts";
import { createOrderBook, type OrderBook } from "../../docs/sample/orders/orders.ts";
import { startEmulator } from "../../services/emulator/app.ts";
import { createIssuer, toConfig, type TokenClaims, writeControl } from "./pod-files.ts";
import { readPorts, spawnOrchestrator } from "./process.ts";
import { gatewayStandIn, type Hooks, listen, type ModelCall, type ToolCall, toolsServer } from "./stand-ins.ts";

/** What a test may say about the world before it begins. */
export interface WorldOptions {
  readonly legacyTools?: "stateless" | "reject";
  /** Answers instead of the sample's tool server. */
  readonly tools?: RequestListener;
  readonly config?: (config: OrchestratorConfig) => OrchestratorConfig;
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * One agent's pod and what stands around it: a real orchestrator process on temporary files, the sample's MCP server, and
 * a gateway that checks our token and passes model calls to the emulator's model.
 */
export interface AgentWorld {
  readonly book: OrderBook;
  readonly config: OrchestratorConfig;
  /** Bodies of the model calls so far. */
  readonly modelCalls: ModelCall[];
  /** Tool calls that reached the server, by function. */
  readonly toolCalls: ToolCall[];
  readonly hooks: Hooks;
  readonly directory: string;
  readonly log: string[];
  url(): string;
  start(environment?: Readonly<Record<string, string>>): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<number | null>;
  request(path: string, options?: RequestOptions): Promise<Response>;
  token(claims?: TokenClaims): Promise<string>;
  metric(name: string): Promise<number>;
  metrics(): Promise<string>;
  writeConfig(config: OrchestratorConfig): void;
  writeControl(change?: object): void;
  stop(): Promise<void>;
}

interface RequestOptions {
  readonly method?: string;
  readonly body?: unknown;
  readonly principal?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export async function createWorld(options: WorldOptions = {}): Promise<AgentWorld> {
  const directory = mkdtempSync(join(tmpdir(), "orchestrator-"));
  const book = createOrderBook();
  const emulator = await startEmulator({ standIns: ["model"] });
  const modelCalls: ModelCall[] = [];
  const toolCalls: ToolCall[] = [];
  const hooks: Hooks = { beforeModel: () => {}, beforeToolAnswer: () => {}, modelRefusal: undefined };
  writeFileSync(join(directory, "token"), "service-token\n");
  const gateway = await listen(gatewayStandIn({ modelUrl: emulator.url, modelCalls, hooks }));
  const orders = createOrdersListener({ book, legacy: options.legacyTools ?? "stateless" });
  const tools = await listen(toolsServer(options.tools ?? orders, { toolCalls, hooks }));
  const issuer = await createIssuer();
  const initial = toConfig({ gatewayUrl: gateway.url, toolsUrl: `${tools.url}/mcp`, keys: issuer.keys });
  const config = options.config?.(initial) ?? initial;
  let child: ChildProcess | undefined;
  let ports = { port: 0, adminPort: 0 };
  const log: string[] = [];

  const world: AgentWorld = {
    book,
    config,
    modelCalls,
    toolCalls,
    hooks,
    directory,
    log,
    url: () => `http://127.0.0.1:${ports.port}`,
    async start(environment = {}) {
      child = spawnOrchestrator(directory, { ...options.environment, ...environment }, log);
      ports = await readPorts(child, log);
    },
    async kill(signal) {
      if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
      const exited = once(child, "exit");
      child.kill(signal);
      const [code] = await exited;
      return z.number().nullable().parse(code);
    },
    async request(path, request = {}) {
      const { method = request.body === undefined ? "GET" : "POST", body, principal = "alice@example.com" } = request;
      return fetch(`${world.url()}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${await world.token()}`,
          "content-type": "application/json",
          [ACTING_FOR_HEADER]: principal,
          ...request.headers,
        },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        ...(request.signal ? { signal: request.signal } : {}),
      });
    },
    token: issuer.token,
    metrics: async () => await (await fetch(`http://127.0.0.1:${ports.adminPort}/metrics`)).text(),
    async metric(name) {
      const line = (await world.metrics()).split("\n").find((known) => known.startsWith(`${name} `));
      return Number(line?.slice(name.length + 1) ?? Number.NaN);
    },
    writeConfig: (next) => writeFileSync(join(directory, "config.json"), JSON.stringify(next)),
    writeControl: (change = {}) => writeControl(directory, change),
    async stop() {
      await world.kill("SIGKILL");
      await Promise.all([gateway.close(), tools.close(), emulator.stop()]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  world.writeConfig(config);
  world.writeControl();
  return world;
}
