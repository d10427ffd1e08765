import { runMain, say } from "../../../scripts/console.ts";
import { clusterStatus, startCluster, stopCluster } from "./single-node.ts";
import { importImage } from "./containerd.ts";
import { startLightCluster } from "./light.ts";

const USAGE = `Usage: npm run cluster -- COMMAND
  up [--alias NAME=TARGET ...]   start the local Kubernetes, or find it running; pods resolve NAME as TARGET
  up --light                     etcd and API server only, until Ctrl-C
  down                           stop it and remove its state
  status                         what runs
  load IMAGE.tar                 import a docker-archive`;

await runMain(async () => {
  const [command, ...rest] = process.argv.slice(2);
  switch (command) {
    case "up":
      return rest.includes("--light") ? runLight() : up(rest);
    case "down":
      return stopCluster();
    case "status":
      return showStatus();
    case "load":
      return load(rest[0]);
    default:
      throw new Error(USAGE);
  }
});

async function up(args: readonly string[]): Promise<void> {
  const pairs = args.filter((arg) => arg !== "--alias").map((arg) => arg.split("="));
  if (pairs.some((pair) => pair.length !== 2)) throw new Error(USAGE);
  const kubeconfig = await startCluster({ aliases: Object.fromEntries(pairs) });
  say(`export KUBECONFIG=${kubeconfig}`);
}

async function runLight(): Promise<void> {
  const cluster = await startLightCluster();
  say(`export KUBECONFIG=${cluster.kubeconfig}`);
  await new Promise((resolve) => {
    const keepAlive = setInterval(() => undefined, 60_000);
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => {
        clearInterval(keepAlive);
        resolve(undefined);
      });
  });
  await cluster.stop();
}

async function showStatus(): Promise<void> {
  const status = await clusterStatus();
  say(`${status.ready ? "ready" : "not ready"}; owner: ${status.owner ?? "none"}`);
  say(`running: ${status.running.join(", ") || "none"}`);
  say(`stopped: ${status.stopped.join(", ") || "none"}`);
  if (!status.ready) process.exitCode = 3;
}

function load(archive: string | undefined): Promise<void> {
  if (archive === undefined) throw new Error(USAGE);
  return importImage(archive);
}
