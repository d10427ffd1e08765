import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { z } from "zod";
import type { OrchestratorConfig } from "#core/api/pod-config.ts";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import { createOrdersListener } from "../../docs/sample/orders/listener.ts";
import { createOrderBook, type OrderBook } from "../../docs/sample/orders/orders.ts";
import { type Emulator, startEmulator } from "../../services/emulator/app.ts";

/** What a test may say about the world before it begins. */
export interface WorldOptions {
  readonly legacyTools?: "stateless" | "reject";
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
  readonly modelCalls: { readonly headers: Record<string, unknown>; readonly body: Record<string, unknown> }[];
  /** Tool calls that reached the server, by function. */
  readonly toolCalls: { readonly name: string; readonly key: string; readonly actingFor: string }[];
  /** Asked before a model call is passed on, and before a tool's answer goes back. */
  readonly hooks: {
    beforeModel: (call: number) => Promise<void> | void;
    beforeToolAnswer: (name: string) => Promise<void> | void;
    modelRefusal: { status: number; body: unknown } | undefined;
  };
  readonly directory: string;
  readonly log: string[];
  url(): string;
  start(environment?: Readonly<Record<string, string>>): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<number | null>;
  request(path: string, options?: RequestOptions): Promise<Response>;
  token(claims?: { audience?: string; subject?: string; expiresIn?: string }): Promise<string>;
  metric(name: string): Promise<number>;
  writeConfig(config: OrchestratorConfig): void;
  writeControl(change?: object): void;
  stop(): Promise<void>;
}

export interface RequestOptions {
  readonly method?: string;
  readonly body?: unknown;
  readonly principal?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

const AUDIENCE = "orchestrator.order-desk.shop.supercargo.dev";
const GATEWAY_ACCOUNT = "system:serviceaccount:shop:order-desk-gateway";
const ISSUER = "https://kubernetes.default.svc";

export async function createWorld(options: WorldOptions = {}): Promise<AgentWorld> {
  const directory = mkdtempSync(join(tmpdir(), "orchestrator-"));
  const book = createOrderBook();
  const emulator = await startEmulator({ standIns: ["model"] });
  const modelCalls: AgentWorld["modelCalls"] = [];
  const toolCalls: AgentWorld["toolCalls"] = [];
  const hooks: AgentWorld["hooks"] = {
    beforeModel: () => {},
    beforeToolAnswer: () => {},
    modelRefusal: undefined,
  };
  writeFileSync(join(directory, "token"), "service-token\n");
  const gateway = await listen(gatewayStandIn({ emulator, modelCalls, hooks }));
  const tools = await listen(
    toolsServer(createOrdersListener({ book, legacy: options.legacyTools ?? "stateless" }), { toolCalls, hooks }),
  );
  const { publicKey, privateKey } = await generateKeyPair("RS256");
  const jwk = { ...(await exportJWK(publicKey)), kid: "k1", alg: "RS256", use: "sig" };
  const initial = toConfig({ gatewayUrl: gateway.url, toolsUrl: `${tools.url}/mcp`, keys: [jwk] });
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
    token: ({ audience = AUDIENCE, subject = GATEWAY_ACCOUNT, expiresIn = "10m" } = {}) =>
      new SignJWT({})
        .setProtectedHeader({ alg: "RS256", kid: "k1" })
        .setIssuer(ISSUER)
        .setAudience(audience)
        .setSubject(subject)
        .setIssuedAt()
        .setExpirationTime(expiresIn)
        .sign(privateKey),
    async metric(name) {
      const text = await (await fetch(`http://127.0.0.1:${ports.adminPort}/metrics`)).text();
      const line = text.split("\n").find((known) => known.startsWith(`${name} `));
      return Number(line?.slice(name.length + 1) ?? Number.NaN);
    },
    writeConfig: (next) => writeFileSync(join(directory, "config.json"), JSON.stringify(next)),
    writeControl: (change = {}) =>
      writeFileSync(
        join(directory, "control.json"),
        JSON.stringify({
          mode: "Running",
          entitlement: { state: "Active", planId: "starter", validUntil: "2099-01-01T00:00:00Z" },
          ...change,
        }),
      ),
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

function toConfig(places: {
  gatewayUrl: string;
  toolsUrl: string;
  keys: Record<string, unknown>[];
}): OrchestratorConfig {
  const unlimited = { overLimit: "Never", retry: "Safe", lane: "Automatic" } as const;
  return {
    agent: { namespace: "shop", name: "order-desk" },
    generation: 1,
    instructions: "You are the order desk.",
    model: "default",
    gateway: { url: places.gatewayUrl, audience: "gateway.order-desk.shop.supercargo.dev" },
    tools: [
      {
        name: "orders",
        url: places.toolsUrl,
        auth: { type: "None" },
        functions: [
          { name: "get_order", ...unlimited },
          { name: "list_orders", ...unlimited },
          { name: "refund_order", lane: "Automatic", callsPerRun: 1, overLimit: "Never", retry: "Unsafe" },
          { name: "delete_customer", lane: "Never", overLimit: "Never", retry: "Unsafe" },
        ],
      },
    ],
    budgets: { turns: 6 },
    serviceIdentity: { issuer: ISSUER, audience: AUDIENCE, subjects: [GATEWAY_ACCOUNT], jwks: { keys: places.keys } },
  };
}

function spawnOrchestrator(
  directory: string,
  environment: Readonly<Record<string, string>>,
  log: string[],
): ChildProcess {
  const child = spawn(process.execPath, ["services/orchestrator/main.ts"], {
    env: {
      PATH: process.env["PATH"],
      SUPERCARGO_CONFIG_FILE: join(directory, "config.json"),
      SUPERCARGO_CONTROL_FILE: join(directory, "control.json"),
      SUPERCARGO_COUNTER_FILE: join(directory, "counters"),
      SUPERCARGO_JOURNAL_FILE: join(directory, "journal", "journal.db"),
      SUPERCARGO_SERVICE_TOKEN_FILE: join(directory, "token"),
      SUPERCARGO_PORT: "0",
      SUPERCARGO_ADMIN_PORT: "0",
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stderr?.on("data", (chunk: Buffer) => log.push(chunk.toString()));
  return child;
}

const startedSchema = z.object({ msg: z.literal("Started"), port: z.number(), adminPort: z.number() });

function readPorts(child: ChildProcess, log: string[]): Promise<{ port: number; adminPort: number }> {
  return new Promise((resolve, reject) => {
    child.once("exit", (code) =>
      reject(new Error(`The orchestrator ended with ${code}: ${log.slice(-20).join("\n")}`)),
    );
    if (!child.stdout) return;
    createInterface({ input: child.stdout }).on("line", (line) => {
      log.push(line);
      const started = startedSchema.safeParse(parseLine(line));
      if (started.success) resolve(started.data);
    });
  });
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

interface Listening {
  readonly url: string;
  close(): Promise<void>;
}

async function listen(handler: RequestListener): Promise<Listening> {
  const server: Server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Checks what the orchestrator must present, then lets the emulator's model answer. */
function gatewayStandIn(parts: {
  readonly emulator: Emulator;
  readonly modelCalls: AgentWorld["modelCalls"];
  readonly hooks: AgentWorld["hooks"];
}): RequestListener {
  const { emulator, modelCalls, hooks } = parts;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = z.record(z.string(), z.unknown()).parse(JSON.parse(await readText(request)));
    const refusal = refusalOf(request, hooks);
    if (refusal) {
      response.writeHead(refusal.status, { "content-type": "application/json" });
      response.end(JSON.stringify(refusal.body));
      return;
    }
    modelCalls.push({ headers: { ...request.headers }, body });
    await hooks.beforeModel(modelCalls.length);
    const upstream = await fetch(`${emulator.url}${request.url}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer model-key" },
      body: JSON.stringify(body),
    });
    response.writeHead(upstream.status, { "content-type": upstream.headers.get("content-type") ?? "" });
    for await (const chunk of upstream.body ?? []) response.write(chunk);
    response.end();
  };
  return (request, response) => void answer(request, response).catch(() => response.destroy());
}

function refusalOf(request: IncomingMessage, hooks: AgentWorld["hooks"]): AgentWorld["hooks"]["modelRefusal"] {
  if (hooks.modelRefusal) return hooks.modelRefusal;
  const authorized = request.headers.authorization === "Bearer service-token" && request.headers[ACTING_FOR_HEADER];
  return authorized ? undefined : { status: 401, body: { error: { code: "invalid_token", message: "no token" } } };
}

const toolCallSchema = z.object({ method: z.literal("tools/call"), params: z.object({ name: z.string() }) });

/** The sample's server, watched: an answer to a tool call is held until the hook lets it go. */
function toolsServer(
  next: RequestListener,
  { toolCalls, hooks }: { readonly toolCalls: AgentWorld["toolCalls"]; readonly hooks: AgentWorld["hooks"] },
): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    const push = request.emit.bind(request);
    let name = "";
    request.emit = (event: string, ...values: unknown[]): boolean => {
      const [chunk] = values;
      if (event === "data" && Buffer.isBuffer(chunk)) chunks.push(chunk);
      const call = event === "end" ? toolCallSchema.safeParse(parseLine(Buffer.concat(chunks).toString())) : undefined;
      if (call?.success) {
        ({ name } = call.data.params);
        const header = (key: string): string => String(request.headers[key] ?? "");
        toolCalls.push({ name, key: header("idempotency-key"), actingFor: header(ACTING_FOR_HEADER) });
      }
      return push(event, ...values);
    };
    const end = response.end.bind(response);
    response.end = (...values: unknown[]): ServerResponse => {
      const [chunk] = values;
      const finish = (): void => void (typeof chunk === "string" || chunk instanceof Uint8Array ? end(chunk) : end());
      if (name === "") finish();
      else void Promise.resolve(hooks.beforeToolAnswer(name)).then(finish);
      return response;
    };
    next(request, response);
  };
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}

/** The journal's counters as the file holds them. */
export function readCounterFile(world: AgentWorld): Buffer {
  return readFileSync(join(world.directory, "counters"));
}
