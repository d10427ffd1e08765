import "./small-heap.ts";
import { systemClock } from "#runtime/clock.ts";
import { parseConfig } from "#runtime/config.ts";
import { withHealth } from "#runtime/health.ts";
import { inClusterOptions } from "#runtime/kube/in-cluster.ts";
import { createKubeClient } from "#runtime/kube/transport.ts";
import { startServer } from "#runtime/server.ts";
import { createServerTime } from "#runtime/server-time.ts";
import { stopOnSignal } from "#runtime/shutdown.ts";
import { environmentSchema } from "./config.ts";
import { openControlFile } from "./control-file.ts";
import { createSidecarLog } from "./log.ts";
import { createSidecarMetrics } from "./metrics.ts";
import { followPodUsage } from "./pod-usage.ts";
import { createScraper } from "./prometheus.ts";
import { createSidecar } from "./sidecar.ts";
import { openStateLog } from "./state-log.ts";

/** The service leaves at least this much of the pod's grace period for the final checkpoint. */
const FINAL_DEADLINE_MS = 10_000;

async function main(): Promise<void> {
  const environment = parseConfig(environmentSchema, process.env, { subject: "the environment" });
  const log = createSidecarLog(environment.SUPERCARGO_LOG_LEVEL, (line) => process.stdout.write(line));
  const metrics = createSidecarMetrics();
  const client = createKubeClient({
    ...inClusterOptions(process.env, systemClock, environment.SUPERCARGO_KUBERNETES_DIR),
    userAgent: "supercargo-sidecar",
    clock: systemClock,
    random: Math.random,
    log,
  });
  const { SUPERCARGO_POD_UID: uid, SUPERCARGO_POD_NAMESPACE: namespace } = environment;
  const sidecar = createSidecar({
    uid,
    scrapeSeconds: environment.SUPERCARGO_SCRAPE_SECONDS,
    counterFile: environment.SUPERCARGO_COUNTER_FILE,
    scraper: createScraper(environment.SUPERCARGO_SCRAPE_URL, systemClock),
    stateLog: openStateLog(environment.SUPERCARGO_LOG_DIR, log),
    controlFile: openControlFile(environment.SUPERCARGO_CONTROL_FILE),
    time: createServerTime(systemClock),
    clock: systemClock,
    metrics,
    log,
    follow: (hooks) => followPodUsage({ client, clock: systemClock, namespace, uid, log, ...hooks }),
  });
  const server = await startServer({
    handler: withHealth({
      live: () => sidecar.notLive(),
      ready: () => sidecar.notReady(),
      metrics: () => Promise.resolve(metrics.exposition()),
    }),
    port: environment.SUPERCARGO_ADMIN_PORT,
    clock: systemClock,
  });
  stopOnSignal(log, [
    { name: "sidecar", stop: () => sidecar.stop(FINAL_DEADLINE_MS) },
    { name: "server", stop: () => server.stop(200) },
    { name: "client", stop: () => client.close() },
  ]);
  sidecar.start();
  log.info({ port: server.port, namespace, name: uid }, "Started sidecar");
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
