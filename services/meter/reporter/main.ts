import "./young-heap.ts";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { systemClock } from "#runtime/clock.ts";
import { withHealth } from "#runtime/health.ts";
import { inClusterOptions } from "#runtime/kube/in-cluster.ts";
import { createElection } from "#runtime/kube/lease.ts";
import { createKubeClient } from "#runtime/kube/transport.ts";
import { createLogger, type Logger } from "#runtime/log.ts";
import { createMetrics } from "#runtime/metrics.ts";
import { startServer } from "#runtime/server.ts";
import { stopOnSignal } from "#runtime/shutdown.ts";
import { openDoor } from "./commands/door.ts";
import { runCommand } from "./commands/run.ts";
import { composeReporter } from "./compose.ts";
import { readEnvironment, readTerms } from "./config.ts";
import type { Terms } from "./desk.ts";
import { createReporterMetrics } from "./metrics.ts";

/** The chart's Role names it. */
const LEASE_NAME = "supercargo-reporter";

/** `reporter.js` alone reports; with a word behind it, it runs that command beside the leader and ends. */
async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.length === 0) await report();
  else process.exitCode = await command(args);
}

async function report(): Promise<void> {
  const environment = readEnvironment(process.env);
  const terms = readTerms(environment, readFileSync(environment.SUPERCARGO_CATALOGUE_FILE, "utf8"));
  const log = createLogger({ component: "reporter", level: environment.SUPERCARGO_LOG_LEVEL });
  const metrics = createMetrics();
  const own = createReporterMetrics(metrics.registry, terms);
  const client = createKubeClient({
    ...inClusterOptions(process.env, systemClock, environment.SUPERCARGO_KUBERNETES_DIR),
    userAgent: "supercargo-reporter",
    clock: systemClock,
    random: Math.random,
    log,
  });
  const reporter = composeReporter({
    environment,
    terms,
    client,
    random: Math.random,
    metrics: own,
    log,
    isLeader: () => election.isLeader(),
  });
  let leading = Promise.resolve();
  const election = createElection({
    client,
    clock: systemClock,
    random: Math.random,
    lease: { namespace: environment.SUPERCARGO_POD_NAMESPACE, name: LEASE_NAME },
    identity: `${environment.SUPERCARGO_POD_NAME}_${randomUUID().slice(0, 8)}`,
    onLead: (signal) => {
      leading = reporter.lead(signal);
    },
    // What this process would still do, another may do already; the swaps would refuse it anyway.
    onLost: () => process.exit(1),
    onStatus: (leads) => own.leading(leads),
    log,
  });
  const server = await startServer({
    handler: withHealth({
      live: () => reporter.notLive(),
      ready: () => undefined,
      metrics: () => metrics.exposition(),
    }),
    port: environment.SUPERCARGO_ADMIN_PORT,
    clock: systemClock,
  });
  stopOnSignal(log, [
    { name: "election", stop: () => election.stop() },
    { name: "cycle", stop: () => Promise.race([leading, systemClock.sleep(5_000)]) },
    { name: "server", stop: () => server.stop(200) },
    { name: "client", stop: () => client.close() },
  ]);
  warnWhenSilent(terms, log);
  election.start();
  log.info({ port: server.port, mode: terms.mode, planId: terms.planId }, "Started reporter");
}

async function command(args: readonly string[]): Promise<number> {
  let client: { close(): void } | undefined;
  try {
    return await runCommand(
      args,
      (text) => void process.stderr.write(`${text}\n`),
      async () => {
        const environment = readEnvironment(process.env);
        const kube = createKubeClient({
          ...inClusterOptions(process.env, systemClock, environment.SUPERCARGO_KUBERNETES_DIR),
          userAgent: "supercargo-reporter",
          clock: systemClock,
        });
        client = kube;
        return openDoor(kube, environment, process.stdout);
      },
    );
  } finally {
    client?.close();
  }
}

function warnWhenSilent(terms: Terms, log: Logger): void {
  if (terms.mode === "Plain") log.warn("Counting only: no Marketplace offer is set, nothing is posted");
  if (terms.mode === "Silent")
    log.warn({ planId: terms.planId, known: terms.plan !== undefined }, "Counting only: the plan is not metered");
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
