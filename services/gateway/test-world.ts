import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { Control, GatewayConfig } from "#core/api/pod-config.ts";
import { audienceOf, serviceAccountSubject } from "#core/pod-paths.ts";

/** What the gateway's tests share: a real gateway process in a folder like that of its pod, with whoever it talks to. */

export const AGENT = { namespace: "shop", name: "orders" };
export const API_KEY = `sk-${randomBytes(32).toString("base64url")}`;
export const EXPIRED_KEY = `sk-${randomBytes(32).toString("base64url")}`;
export const MODEL_KEY = "model-secret-1";
export const SERVICE_TOKEN = "own.service.token";
const GATEWAY_AUDIENCE = audienceOf({ component: "gateway", ...AGENT });
export const ORCHESTRATOR_SUBJECT = serviceAccountSubject({ namespace: "shop", name: "orders-orchestrator" });
const ISSUER = "https://kubernetes.default.svc.cluster.local";

interface RecordedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A small real HTTP server that answers as the test says and remembers what it was asked. */
export interface Peer {
  readonly url: string;
  readonly requests: RecordedRequest[];
  /** Connections closed before their answer ended. */
  readonly aborted: { count: number };
  answer: (request: IncomingMessage, response: Parameters<RequestListener>[1], body: string) => void;
  stop(): Promise<void>;
}

export async function startPeer(answer: Peer["answer"]): Promise<Peer> {
  const requests: RecordedRequest[] = [];
  const aborted = { count: 0 };
  const server = createServer((request, response) => {
    response.on("close", () => {
      if (!response.writableFinished) aborted.count += 1;
    });
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString("utf8");
      requests.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, body });
      peer.answer(request, response, body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const peer: Peer = {
    url: `http://127.0.0.1:${portOf(server)}`,
    requests,
    aborted,
    answer,
    stop: () => close(server),
  };
  return peer;
}

export interface GatewayProcess {
  readonly url: string;
  readonly adminUrl: string;
  readonly pid: number;
  readonly child: ChildProcess;
  /** Every line of its log, parsed. */
  readonly lines: Record<string, unknown>[];
  audit(): Record<string, unknown>[];
  /** supercargo_usage_total by dimension. */
  usage(): Promise<Record<string, number>>;
  metrics(): Promise<string>;
  ready(): Promise<{ readonly status: number; readonly text: string }>;
  signal(signal: NodeJS.Signals): Promise<number | null>;
}

export interface Folder {
  readonly path: string;
  readonly files: {
    readonly config: string;
    readonly control: string;
    readonly counters: string;
    readonly token: string;
  };
  readonly modelKeyFile: string;
  writeConfig(config: unknown): void;
  writeControl(control: unknown): void;
  remove(): void;
}

export function createFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "gateway-"));
  const at = (name: string): string => join(path, name);
  const files = {
    config: at("config.json"),
    control: at("control.json"),
    counters: at("counters"),
    token: at("token"),
  };
  const replace = (file: string, content: unknown): void => {
    writeFileSync(`${file}.new`, typeof content === "string" ? content : JSON.stringify(content));
    renameSync(`${file}.new`, file);
  };
  writeFileSync(files.token, SERVICE_TOKEN);
  writeFileSync(at("model-key"), `${MODEL_KEY}\n`);
  return {
    path,
    files,
    modelKeyFile: at("model-key"),
    writeConfig: (config) => replace(files.config, config),
    writeControl: (control) => replace(files.control, control),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** Our cluster's issuer: signs tokens as the API server does for projected service accounts. */
export interface ServiceIssuer {
  readonly identity: GatewayConfig["serviceIdentity"];
  sign(claims?: { subject?: string; audience?: string; expiresInSeconds?: number; issuer?: string }): Promise<string>;
}

export async function createServiceIssuer(): Promise<ServiceIssuer> {
  const { publicKey, privateKey } = await generateKeyPair("RS256");
  const jwk = { ...(await exportJWK(publicKey)), kid: "one", alg: "RS256", use: "sig" };
  return {
    identity: { issuer: ISSUER, audience: GATEWAY_AUDIENCE, subjects: [ORCHESTRATOR_SUBJECT], jwks: { keys: [jwk] } },
    sign: (claims = {}) =>
      new SignJWT({})
        .setProtectedHeader({ alg: "RS256", kid: "one" })
        .setIssuer(claims.issuer ?? ISSUER)
        .setAudience(claims.audience ?? GATEWAY_AUDIENCE)
        .setSubject(claims.subject ?? ORCHESTRATOR_SUBJECT)
        .setIssuedAt()
        .setExpirationTime(`${claims.expiresInSeconds ?? 600}s`)
        .sign(privateKey),
  };
}

export interface ConfigOptions {
  readonly modelUrl: string;
  readonly orchestratorUrl: string;
  readonly identity: GatewayConfig["serviceIdentity"];
  readonly modelKeyFile?: string;
  readonly models?: GatewayConfig["models"];
  readonly oidc?: GatewayConfig["oidc"];
  readonly guardrails?: GatewayConfig["guardrails"];
  readonly rateLimits?: GatewayConfig["rateLimits"];
}

/** A config like the operator's: alias `gpt` on one deployment, a good and an expired key. */
export function gatewayConfig(options: ConfigOptions): GatewayConfig {
  return {
    agent: AGENT,
    models: options.models ?? [
      {
        name: "gpt",
        outputTokensMax: 4096,
        deployments: [deployment("primary", options)],
      },
    ],
    orchestrator: { url: options.orchestratorUrl, audience: audienceOf({ component: "orchestrator", ...AGENT }) },
    apiKeys: [
      { name: "team", sha256: sha256(API_KEY), principal: "orders team" },
      { name: "old", sha256: sha256(EXPIRED_KEY), principal: "old team", expiresAt: "2020-01-01T00:00:00Z" },
    ],
    ...(options.oidc === undefined ? {} : { oidc: options.oidc }),
    ...(options.guardrails === undefined ? {} : { guardrails: options.guardrails }),
    ...(options.rateLimits === undefined ? {} : { rateLimits: options.rateLimits }),
    serviceIdentity: options.identity,
  };
}

export function deployment(
  name: string,
  options: { readonly modelUrl: string; readonly modelKeyFile?: string },
): GatewayConfig["models"][number]["deployments"][number] {
  return {
    name,
    type: "AzureOpenAI",
    baseUrl: `${options.modelUrl}/openai/v1`,
    model: "gpt-5-mini",
    auth: options.modelKeyFile === undefined ? { type: "None" } : { type: "SecretFile", file: options.modelKeyFile },
    priority: 0,
    weight: 1,
  };
}

export function control(changed: Partial<Control> = {}): Control {
  return {
    mode: "Running",
    revokedKeys: [],
    entitlement: { state: "Active", planId: "pro", validUntil: "2099-01-01T00:00:00Z" },
    leases: [],
    term: 1,
    clockOffsetSeconds: 0,
    ...changed,
  };
}

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));

/** Starts `node services/gateway/main.ts` on free ports; resolves when it listens. */
export async function startGateway(folder: Folder, env: Record<string, string> = {}): Promise<GatewayProcess> {
  const child = spawn(process.execPath, [MAIN], {
    env: {
      SUPERCARGO_CONFIG_FILE: folder.files.config,
      SUPERCARGO_CONTROL_FILE: folder.files.control,
      SUPERCARGO_COUNTER_FILE: folder.files.counters,
      SUPERCARGO_SERVICE_TOKEN_FILE: folder.files.token,
      SUPERCARGO_PORT: "0",
      SUPERCARGO_ADMIN_PORT: "0",
      SUPERCARGO_DRAIN_SECONDS: "4",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: Record<string, unknown>[] = [];
  const started = Promise.withResolvers<Record<string, unknown>>();
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  child.once("exit", (code) => started.reject(new Error(`The gateway ended with ${code}: ${errors}`)));
  createInterface({ input: child.stdout }).on("line", (line) => {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== "object" || parsed === null) return;
    lines.push({ ...parsed });
    if ("msg" in parsed && parsed.msg === "Started gateway") started.resolve({ ...parsed });
  });
  const ports = await started.promise;
  const adminUrl = `http://127.0.0.1:${String(ports["adminPort"])}`;
  const metrics = async (): Promise<string> => await (await fetch(`${adminUrl}/metrics`)).text();
  return {
    url: `http://127.0.0.1:${String(ports["port"])}`,
    adminUrl,
    pid: child.pid ?? 0,
    child,
    lines,
    audit: () => lines.filter((line) => line["audit"] === true),
    metrics,
    usage: async () => usageOf(await metrics()),
    async ready() {
      const answer = await fetch(`${adminUrl}/readyz`);
      return { status: answer.status, text: await answer.text() };
    },
    signal: (signal) =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode);
        child.once("exit", (code) => resolve(code));
        child.kill(signal);
      }),
  };
}

function usageOf(exposition: string): Record<string, number> {
  const rows = exposition.matchAll(/^supercargo_usage_total\{dimension="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...rows].map((row) => [row[1] ?? "", Number(row[2])]));
}

/** Looks again and again, for at most 10 s, until `look` gives something. */
export async function eventually<T>(look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let tries = 0; tries < 200; tries += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setImmediate(() => setTimer(resolve)));
  }
  throw new Error("It did not happen within 10 s");
}

function setTimer(resolve: (value: undefined) => void): void {
  const timer = setInterval(() => {
    clearInterval(timer);
    resolve(undefined);
  }, 50);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address ? address.port : 0;
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** A gateway process with a model (the emulator, or a peer of the test's) and an orchestrator that answers one response. */
export interface GatewayWorld {
  readonly gateway: GatewayProcess;
  readonly folder: Folder;
  readonly issuer: ServiceIssuer;
  readonly orchestrator: Peer;
  /** POST with the API key, unless the headers say otherwise. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  /** What `run` adds to the counted usage. */
  counted(run: () => Promise<unknown>): Promise<Record<string, number>>;
  stop(): Promise<void>;
}

export interface GatewayWorldOptions {
  readonly modelUrl: string;
  /** As a function where it needs the folder, for the key of the emulator's model. */
  readonly models?: GatewayConfig["models"] | ((folder: Folder) => GatewayConfig["models"]);
  readonly oidc?: GatewayConfig["oidc"];
  /** As a function where it needs the folder, for a key of its own. */
  readonly guardrails?: (folder: Folder) => NonNullable<GatewayConfig["guardrails"]>;
  readonly rateLimits?: GatewayConfig["rateLimits"];
  readonly env?: Record<string, string>;
}

export async function startGatewayWorld(options: GatewayWorldOptions): Promise<GatewayWorld> {
  const orchestrator = await startPeer((_, response) => {
    response.writeHead(200, { "content-type": "application/json", "set-cookie": "a=b" });
    response.end(JSON.stringify({ id: "resp_1", object: "response", status: "completed", output: [] }));
  });
  const issuer = await createServiceIssuer();
  const folder = createFolder();
  const { models } = options;
  folder.writeConfig(
    gatewayConfig({
      modelUrl: options.modelUrl,
      orchestratorUrl: orchestrator.url,
      identity: issuer.identity,
      modelKeyFile: folder.modelKeyFile,
      ...(models === undefined ? {} : { models: typeof models === "function" ? models(folder) : models }),
      ...(options.oidc === undefined ? {} : { oidc: options.oidc }),
      ...(options.guardrails === undefined ? {} : { guardrails: options.guardrails(folder) }),
      ...(options.rateLimits === undefined ? {} : { rateLimits: options.rateLimits }),
    }),
  );
  folder.writeControl(control());
  const gateway = await startGateway(folder, options.env);
  return {
    gateway,
    folder,
    issuer,
    orchestrator,
    post: (path, body, headers) =>
      fetch(`${gateway.url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${API_KEY}`, ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    async counted(run) {
      const before = await gateway.usage();
      await run();
      return difference(await gateway.usage(), before);
    },
    async stop() {
      await gateway.signal("SIGKILL");
      await orchestrator.stop();
      folder.remove();
    },
  };
}

/** What grew, and by how much. */
export function difference(after: Record<string, number>, before: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after)
      .map(([dimension, total]) => [dimension, total - (before[dimension] ?? 0)] as const)
      .filter((entry) => entry[1] !== 0),
  );
}

/** A chat request whose one message is `content`: the emulator obeys its directives. */
export function chat(content: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { model: "gpt", messages: [{ role: "user", content }], ...more };
}
