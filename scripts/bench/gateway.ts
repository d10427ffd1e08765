/**
 * CPU per request of the gateway against a raw node:http + undici proxy, in interleaved rounds on this machine, so that noise meets
 * both: `node scripts/bench/gateway.ts [rounds] [seconds]`. Prints JSON. The ratio is of one round to the same round.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Control, GatewayConfig } from "#core/api/pod-config.ts";
import { type LoadResult, runLoad, startModel, startRawProxy } from "./parts.ts";

const ROUNDS = 5;
const SECONDS = 3;
const CONNECTIONS = 16;
/** Clock ticks of /proc/PID/stat per second: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const API_KEY = randomBytes(32).toString("base64url");
const SELF = fileURLToPath(import.meta.url);
const GATEWAY = fileURLToPath(new URL("../../services/gateway/main.ts", import.meta.url));

interface Target {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
}

interface Sample {
  readonly target: string;
  readonly stream: boolean;
  readonly cpuMicrosPerRequest: number;
  readonly load: LoadResult;
}

const [role = "run", ...args] = process.argv.slice(2);
if (role === "model") startModel();
else if (role === "raw") startRawProxy(args[0] ?? "");
else if (role === "load") console.log(JSON.stringify(await runLoad(JSON.parse(args[0] ?? "{}"))));
else await run({ rounds: Number(process.argv[2] ?? ROUNDS), seconds: Number(process.argv[3] ?? SECONDS) });

async function run(size: { readonly rounds: number; readonly seconds: number }): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "gateway-bench-"));
  const children: ChildProcess[] = [];
  try {
    const model = await startPart([SELF, "model"], {}, children);
    const raw = await startPart([SELF, "raw", urlOf(model.port)], {}, children);
    const gateway = await startPart([GATEWAY], writePod(folder, urlOf(model.port)), children);
    const targets: Target[] = [
      { name: "raw", url: urlOf(raw.port), pid: raw.pid },
      { name: "gateway", url: urlOf(gateway.port), pid: gateway.pid },
    ];
    for (const target of targets) await measure(target, { stream: false, seconds: 1 });
    const samples: Sample[] = [];
    const steps = [false, true].flatMap((stream) => targets.map((target) => ({ target, stream })));
    for (let round = 0; round < size.rounds; round += 1)
      for (const { target, stream } of steps) samples.push(await measure(target, { stream, seconds: size.seconds }));
    console.log(JSON.stringify(report(samples, gateway.pid), undefined, 2));
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(target: Target, how: { stream: boolean; seconds: number }): Promise<Sample> {
  const before = cpuMicros(target.pid);
  const options = {
    url: target.url,
    apiKey: API_KEY,
    connections: CONNECTIONS,
    durationMs: how.seconds * 1000,
    stream: how.stream,
  };
  const child = spawn(process.execPath, [SELF, "load", JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout) text += String(chunk);
  const load: LoadResult = JSON.parse(text);
  if (load.failures > 0) throw new Error(`Cannot measure ${target.name} as all requests must succeed: ${text}`);
  const cpuMicrosPerRequest = Math.round((cpuMicros(target.pid) - before) / Math.max(1, load.requests));
  return { target: target.name, stream: how.stream, cpuMicrosPerRequest, load };
}

/** User and system time of a process with all its threads, in microseconds. */
function cpuMicros(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1_000_000;
}

function report(samples: readonly Sample[], gatewayPid: number): Record<string, unknown> {
  const of = (target: string, stream: boolean): Sample[] =>
    samples.filter((sample) => sample.target === target && sample.stream === stream);
  const row = (stream: boolean): Record<string, unknown> => {
    const raw = of("raw", stream).map((sample) => sample.cpuMicrosPerRequest);
    const gateway = of("gateway", stream).map((sample) => sample.cpuMicrosPerRequest);
    const ratios = gateway.map((micros, round) => micros / (raw[round] ?? Number.NaN));
    return {
      rawCpuMicros: { min: Math.min(...raw), median: median(raw) },
      gatewayCpuMicros: { min: Math.min(...gateway), median: median(gateway) },
      ratio: { min: round2(Math.min(...ratios)), median: round2(median(ratios)) },
      gatewayRequestsPerSecondOfCpu: Math.round(1_000_000 / median(gateway)),
      p50Ms: {
        raw: median(of("raw", stream).map((each) => each.load.p50Ms)),
        gateway: median(of("gateway", stream).map((each) => each.load.p50Ms)),
      },
    };
  };
  return {
    rounds: of("raw", false).length,
    loadAverage: round2(loadavg()[0] ?? 0),
    gatewayRssMiB: Math.round(rssKiB(gatewayPid) / 1024),
    json: row(false),
    stream: row(true),
  };
}

function rssKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}

/** Starts a process that tells its port in a line of JSON; its later lines go nowhere, like the log of a pod. */
async function startPart(
  command: readonly string[],
  env: Record<string, string>,
  children: ChildProcess[],
): Promise<{ port: number; pid: number }> {
  const child = spawn(process.execPath, command, { env, stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === "object" && parsed !== null && "port" in parsed) {
      child.stdout.resume();
      return { port: Number(parsed.port), pid: child.pid ?? 0 };
    }
  }
  throw new Error(`Cannot start ${command.join(" ")}`);
}

/** The files and the environment of a gateway's pod. */
function writePod(folder: string, modelUrl: string): Record<string, string> {
  const control: Control = {
    mode: "Running",
    revokedKeys: [],
    entitlement: { state: "Active", planId: "pro", validUntil: "2099-01-01T00:00:00Z" },
    leases: [],
    term: 1,
    clockOffsetSeconds: 0,
  };
  const config: GatewayConfig = {
    agent: { namespace: "bench", name: "agent" },
    models: [
      {
        name: "bench",
        outputTokensMax: 1024,
        deployments: [
          {
            name: "one",
            type: "OpenAI",
            baseUrl: `${modelUrl}/v1`,
            model: "m",
            auth: { type: "None" },
            priority: 0,
            weight: 1,
          },
        ],
      },
    ],
    orchestrator: { url: modelUrl, audience: "a" },
    apiKeys: [{ name: "bench", sha256: createHash("sha256").update(API_KEY).digest("hex"), principal: "bench" }],
    serviceIdentity: { issuer: "i", audience: "a", subjects: [], jwks: { keys: [] } },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "control.json"), JSON.stringify(control));
  writeFileSync(join(folder, "token"), "token");
  return {
    SUPERCARGO_CONFIG_FILE: join(folder, "config.json"),
    SUPERCARGO_CONTROL_FILE: join(folder, "control.json"),
    SUPERCARGO_COUNTER_FILE: join(folder, "counters"),
    SUPERCARGO_SERVICE_TOKEN_FILE: join(folder, "token"),
    SUPERCARGO_PORT: "0",
    SUPERCARGO_ADMIN_PORT: "0",
  };
}
