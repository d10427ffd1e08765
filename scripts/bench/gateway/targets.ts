import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPeer, litellmConfig, nginxConfig, type PEERS } from "./peers.ts";
import { type Variant, writePod } from "./pod.ts";
import { freePort, type Processes } from "./processes.ts";
import type { Surroundings } from "./surroundings.ts";

/** Something that stands between a client and the model, or the model itself. */
export interface Target {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  /** Whether its workers are processes of their own. */
  readonly hasWorkers: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** What its clients send instead of the run's keys. */
  readonly token?: string;
  /** Where its own metrics are. */
  readonly adminUrl?: string;
}

export interface Targets {
  readonly direct: Target;
  readonly raw: Target;
  /** With everything on. */
  readonly gateway: Target;
  /** Ours in other ways: with less, with more, and called with a token. */
  readonly variants: readonly Target[];
  readonly peers: readonly Target[];
  /** Why a peer could not take part. */
  readonly absent: Readonly<Record<string, string>>;
}

export interface TargetOptions {
  readonly processes: Processes;
  /** For files that go with the run. */
  readonly folder: string;
  /** Where peers are installed, and stay. */
  readonly peersFolder: string;
  readonly peers: readonly (keyof typeof PEERS)[];
  readonly apiKeys: readonly string[];
  readonly surroundings: Surroundings;
}

const ENTRY = fileURLToPath(new URL("../gateway.ts", import.meta.url));
const GATEWAY = fileURLToPath(new URL("../../../services/gateway/main.ts", import.meta.url));

/** Starts all of them, ours and the others', against one model. */
export async function startTargets(options: TargetOptions): Promise<Targets> {
  const { processes, folder } = options;
  const node = process.execPath;
  const begin = async (name: string, program: readonly string[], env: Record<string, string> = {}): Promise<Target> => {
    const port = Number(env["PORT"] ?? (await freePort()));
    const pid = await processes.start(program, { port, env: { PORT: String(port), ...env } });
    return { name, url: urlOf(port), pid, hasWorkers: false, headers: {} };
  };
  const direct = await begin("direct", [node, ENTRY, "model"]);
  const raw = await begin("raw", [node, ENTRY, "raw", direct.url]);
  const startOurs = async (name: string, variant: Variant): Promise<Target> => {
    const [port, adminPort] = [await freePort(), await freePort()];
    const { apiKeys, surroundings } = options;
    const pod = writePod(join(folder, name), {
      modelUrl: direct.url,
      port,
      adminPort,
      apiKeys,
      surroundings,
      variant,
    });
    return { ...(await begin(name, [node, GATEWAY], { ...pod, PORT: String(port) })), adminUrl: urlOf(adminPort) };
  };
  const gateway = await startOurs("gateway", "everything");
  const variants = [
    await startOurs("gateway, plain", "plain"),
    { ...(await startOurs("gateway, called with a token", "everything")), token: options.surroundings.token },
    await startOurs("gateway, traced 10 %", "traced 10 %"),
    await startOurs("gateway, traced 100 %", "traced 100 %"),
  ];
  const peers: Target[] = [];
  const absent: Record<string, string> = {};
  for (const name of options.peers)
    try {
      peers.push(await startPeer(name, { ...options, modelUrl: direct.url }));
    } catch (error) {
      absent[name] = error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : String(error);
    }
  return { direct, raw, gateway, variants, peers, absent };
}

async function startPeer(
  name: keyof typeof PEERS,
  options: TargetOptions & { readonly modelUrl: string },
): Promise<Target> {
  const { program, cwd } = installPeer(name, options.peersFolder);
  const port = await freePort();
  const modelPort = Number(new URL(options.modelUrl).port);
  const folder = join(options.folder, name);
  mkdirSync(folder);
  const file = join(folder, "config");
  const start = async (args: readonly string[], env: Record<string, string> = {}): Promise<number> =>
    await options.processes.start([...program, ...args], { port, env, ...(cwd === undefined ? {} : { cwd }) });
  const target = { name, url: urlOf(port), headers: {} };
  switch (name) {
    case "portkey": {
      const pid = await start([`--port=${port}`], { TRUSTED_CUSTOM_HOSTS: "127.0.0.1" });
      const headers = { "x-portkey-provider": "openai", "x-portkey-custom-host": `${options.modelUrl}/v1` };
      return { ...target, pid, hasWorkers: false, headers };
    }
    case "litellm": {
      writeFileSync(file, litellmConfig(modelPort, options.apiKeys[0] ?? ""));
      const args = ["--config", file, "--host", "127.0.0.1", "--port", String(port), "--num_workers", "1"];
      const pid = await start(args, { LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_LOG: "ERROR" });
      return { ...target, pid, hasWorkers: true };
    }
    case "nginx": {
      writeFileSync(file, nginxConfig(folder, { model: modelPort, own: port }));
      return { ...target, pid: await start(["-c", file, "-p", folder]), hasWorkers: true };
    }
  }
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}
