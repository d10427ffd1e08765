import { readFileSync } from "node:fs";
import { systemClock } from "#runtime/clock.ts";
import { parseConfig } from "#runtime/config.ts";
import { withHealth } from "#runtime/health.ts";
import { inClusterOptions } from "#runtime/kube/in-cluster.ts";
import { kubeconfigOptions } from "#runtime/kube/kubeconfig.ts";
import { createKubeClient } from "#runtime/kube/transport.ts";
import { createLogger } from "#runtime/log.ts";
import { createMetrics } from "#runtime/metrics.ts";
import { startServer } from "#runtime/server.ts";
import { stopOnSignal } from "#runtime/shutdown.ts";
import { environmentSchema, settingsOf } from "./config.ts";
import { createOperatorMetrics } from "./metrics.ts";
import { createOperator } from "./operator.ts";

async function main(): Promise<void> {
  const environment = parseConfig(environmentSchema, process.env, { subject: "the environment" });
  const settings = settingsOf(environment, readFileSync(environment.SUPERCARGO_CATALOGUE_FILE, "utf8"));
  const log = createLogger({ component: "operator", level: environment.SUPERCARGO_LOG_LEVEL });
  const metrics = createMetrics();
  const own = createOperatorMetrics(metrics.registry);
  const client = createKubeClient({
    ...(environment.KUBECONFIG
      ? await kubeconfigOptions(environment.KUBECONFIG)
      : inClusterOptions(process.env, systemClock)),
    userAgent: "supercargo-operator",
    clock: systemClock,
    random: Math.random,
    log,
    metrics: own.kubeRequests,
  });
  const operator = createOperator({
    client,
    settings,
    pod: { namespace: environment.SUPERCARGO_POD_NAMESPACE, name: environment.SUPERCARGO_POD_NAME },
    namespaces: environment.SUPERCARGO_WATCH_NAMESPACES,
    clock: systemClock,
    random: Math.random,
    log,
    metrics: own,
    // What this process would still do, another may do already.
    onLost: () => process.exit(1),
  });
  const server = await startServer({
    handler: withHealth({
      live: () => operator.notLive(),
      ready: () => operator.notReady(),
      metrics: () => metrics.exposition(),
    }),
    port: environment.SUPERCARGO_ADMIN_PORT,
    clock: systemClock,
  });
  stopOnSignal(log, [
    { name: "operator", stop: () => operator.stop() },
    { name: "server", stop: () => server.stop(1_000) },
    { name: "client", stop: () => client.close() },
  ]);
  operator.start();
  log.info({ port: server.port, namespaces: environment.SUPERCARGO_WATCH_NAMESPACES }, "Started operator");
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
