/** Weight of a sidecar: memory after 200 scrapes, CPU while its service is idle, content of its bundle. Prints JSON. */
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { rolldown } from "rolldown";
import { systemClock } from "#runtime/clock.ts";
import { NAMESPACES, POD_USAGES } from "#runtime/kube/resources.ts";
import { type ApiHarness, must, startApi } from "../../../test/api/harness.ts";
import { specOf, uidOf } from "./fleet.ts";

const SERIES = { few: 300, many: 5000 };
const REST_SECONDS = 60;
const TICKS_PER_SECOND = 100;
/** 75 % of the container's limit of 128Mi, as NODE_OPTIONS sets it there. */
const HEAP = "--max-old-space-size=96";
const FORBIDDEN = /node_modules\/(koa|@koa|@azure|@kubernetes|undici|prom-client|pino|openai|jose)\//;

const folder = mkdtempSync(join(tmpdir(), "supercargo-bench-"));
const api = await startApi();
try {
  const bundle = await readBundle("services/meter/sidecar/main.ts", "sidecar.mjs");
  const rssMiB = await afterScrapes();
  const rest = await atRest(api);
  process.stdout.write(`${JSON.stringify({ bundle, rssMiB, ...rest })}\n`);
} finally {
  await api.stop();
  rmSync(folder, { recursive: true });
}
process.exit(0);

async function readBundle(
  input: string,
  name: string,
): Promise<{ kB: number; forbidden: string[]; packages: string[] }> {
  const bundle = await rolldown({ input, platform: "node", checks: { eval: false } });
  const { output } = await bundle.write({ file: join(folder, name), format: "esm", codeSplitting: false });
  await bundle.close();
  const modules = output.flatMap((part) => (part.type === "chunk" ? part.moduleIds : []));
  const code = output.map((part) => (part.type === "chunk" ? part.code : "")).join("");
  const packages = modules.flatMap((id) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1] ?? []);
  return {
    kB: Math.round(code.length / 1000),
    forbidden: [...modules.filter((id) => FORBIDDEN.test(id)), ...(/\bfetch\(/.test(code) ? ["fetch()"] : [])],
    packages: [...new Set(packages)],
  };
}

async function afterScrapes(): Promise<number> {
  await readBundle("test/simulation/sidecar-load.ts", "load.mjs");
  const service = await serve(SERIES.many, true);
  const args = [HEAP, join(folder, "load.mjs"), service.url];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  service.close();
  return JSON.parse(stdout).rssMiB;
}

/** Two pods that do nothing, side by side: one with as many series as a gateway has, one with very many. */
async function atRest(world: ApiHarness): Promise<Record<string, number>> {
  await readBundle("scripts/bench/metering/sidecar-rest.ts", "rest.mjs");
  must(await world.client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "bench" } }));
  const pids: Record<string, number> = {};
  for (const [index, [name, series]] of Object.entries(SERIES).entries())
    pids[name] = await startResting(world, { index, name, series });
  await systemClock.sleep(15_000);
  const before = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuSeconds(pid)]));
  await systemClock.sleep(REST_SECONDS * 1000);
  const millicores = (name: string): number =>
    (1000 * (cpuSeconds(pids[name] ?? 0) - (before[name] ?? 0))) / REST_SECONDS;
  const result = {
    restMillicores: millicores("few"),
    restManyMillicores: millicores("many"),
    restRssMiB: rssMiBOf(pids["few"] ?? 0),
  };
  for (const pid of Object.values(pids)) process.kill(pid, "SIGKILL");
  return result;
}

async function startResting(
  world: ApiHarness,
  pod: { readonly index: number; readonly name: string; readonly series: number },
): Promise<number> {
  const uid = uidOf(pod.index);
  const spec = specOf({ pods: 1, dimensions: [] }, pod.index, Date.now());
  must(
    await world.client.create(POD_USAGES, {
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "PodUsage",
      metadata: { name: uid, namespace: "bench" },
      spec,
    }),
  );
  const service = await serve(pod.series, false);
  const own = join(folder, pod.name);
  mkdirSync(own);
  const options = {
    server: world.server,
    certificates: join(dirname(world.kubeconfig), "certificates"),
    folder: own,
    url: service.url,
    namespace: "bench",
    uid,
  };
  const child = spawn(process.execPath, [HEAP, join(folder, "rest.mjs"), JSON.stringify(options)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return child.pid ?? 0;
}

async function serve(series: number, counts: boolean): Promise<{ url: string; close(): void }> {
  const lines = Array.from(
    { length: series },
    (_, n) => `http_request_duration_seconds_bucket{route="/v1/responses/${n % 50}",le="${n}"} ${n * 1000}`,
  ).join("\n");
  let count = 0;
  const server = createServer((_request, response) => {
    if (counts) count += 1;
    response.end(
      `metering_epoch_info{epoch="e"} 1\nsupercargo_usage_total{dimension="tool_action"} ${count}\n${lines}\n`,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}/metrics`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function rssMiBOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
}
