import { randomBytes, randomUUID } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { systemClock as clock } from "#runtime/clock.ts";
import { ConfigError, parseConfig } from "#runtime/config.ts";
import { openCounters, readBootId } from "#runtime/counters.ts";
import { withHealth } from "#runtime/health.ts";
import { inClusterOptions } from "#runtime/kube/in-cluster.ts";
import { createKubeClient } from "#runtime/kube/transport.ts";
import type { KubeClient } from "#runtime/kube/types.ts";
import { createLogger, type Logger } from "#runtime/log.ts";
import { createMetrics } from "#runtime/metrics.ts";
import { startServer } from "#runtime/server.ts";
import { stopOnSignal } from "#runtime/shutdown.ts";
import { openTracer } from "#runtime/telemetry.ts";
import type { SpanAttributes } from "#runtime/tracer.ts";
import { createApp } from "./app.ts";
import type { RunWorld } from "./active-run.ts";
import { createKubeApprovals } from "./approvals/kube.ts";
import { type Environment, environmentSchema } from "./config.ts";
import { COUNTED_DIMENSIONS, createFactCounter } from "./counting.ts";
import { createLive, type Live } from "./live.ts";
import { createToolServers } from "./mcp.ts";
import { createRunMetrics } from "./metrics.ts";
import { createModelClient } from "./model.ts";
import { createRuns, type Runs } from "./runs.ts";
import { openSqliteJournal } from "./store/sqlite.ts";
import { startUpkeep } from "./upkeep.ts";

const TRACER_STOP_MS = 2_000;

/** The agent of one pod: the Responses API on the public port, health and metrics on the admin port. */
async function main(): Promise<void> {
  const env = parseConfig(environmentSchema, process.env, { subject: "the environment" });
  const log = createLogger({ component: "orchestrator", level: env.SUPERCARGO_LOG_LEVEL });
  const agent = await openAgent(env, log);
  const { world, runs, metrics, counters, journal } = agent;
  const stopPolling = world.live.start();
  let isStopping = false;
  const admin = await startServer({
    port: env.SUPERCARGO_ADMIN_PORT,
    clock,
    handler: withHealth({
      ready: () => (isStopping ? "draining" : (world.live.missing() ?? world.counter.problem())),
      metrics: () => metrics.exposition(),
    }),
  });
  const server = await startServer({ port: env.SUPERCARGO_PORT, clock, handler: createApp({ world, runs }) });
  const stopUpkeep = startUpkeep({ world, runs });
  log.info({ port: server.port, adminPort: admin.port }, "Started");

  const stopRuns = (): Promise<void> => {
    isStopping = true;
    stopUpkeep();
    return runs.drain(env.SUPERCARGO_DRAIN_SECONDS * 1000);
  };
  stopOnSignal(log, [
    { name: "runs", stop: stopRuns },
    { name: "server", stop: () => server.stop(2000) },
    { name: "tools", stop: () => world.servers.close() },
    { name: "model", stop: () => agent.closeModel() },
    { name: "API server", stop: () => agent.apiServer?.close() },
    { name: "spans", stop: () => agent.tracer?.stop(TRACER_STOP_MS) },
    { name: "polling", stop: stopPolling },
    { name: "journal", stop: () => journal.close() },
    { name: "counters", stop: () => counters.close() },
    { name: "admin", stop: () => admin.stop(0) },
  ]);
}

/** Opens what the agent writes and reads, repairs the counters, and joins the adapters. */
async function openAgent(env: Environment, log: Logger) {
  mkdirSync(dirname(env.SUPERCARGO_JOURNAL_FILE), { recursive: true });
  const journal = openSqliteJournal(env.SUPERCARGO_JOURNAL_FILE);
  const file = env.SUPERCARGO_COUNTER_FILE;
  const counters = openCounters({ file, dimensions: COUNTED_DIMENSIONS, bootId: readBootId() });
  const counter = createFactCounter(counters, journal, log);
  const repaired = counter.count();
  if (repaired > 0) log.warn({ facts: repaired }, "Repaired counters from the journal");

  const live = createLive({
    configFile: env.SUPERCARGO_CONFIG_FILE,
    controlFile: env.SUPERCARGO_CONTROL_FILE,
    tokenFile: env.SUPERCARGO_SERVICE_TOKEN_FILE,
    counters,
    clock,
    log,
  });
  live.refresh();
  const gatewayUrl = (): string => live.config()?.gateway.url ?? "";
  const model = createModelClient({ gatewayUrl, token: () => live.token(), clock, random: () => Math.random() });
  const metrics = createMetrics({ metered: counters });
  const tracer = await openTracer({ env, clock, registry: metrics.registry, resource: () => resourceOf(live) });
  const apiServer = openApiServer(env, log);
  const namespace = (): string | undefined => live.config()?.agent.namespace;
  let runs: Runs | undefined;
  const world: RunWorld = {
    journal,
    counter,
    live,
    servers: createToolServers({ clock, log }),
    approvals: apiServer && createKubeApprovals({ client: apiServer, namespace }),
    ask: model.ask,
    metrics: createRunMetrics(metrics.registry, {
      activeRuns: () => runs?.active ?? 0,
      approvalsWaiting: () => journal.approvalsWaiting(clock.now()),
    }),
    clock,
    tracer,
    log,
    newId: (prefix) => `${prefix}_${randomBytes(24).toString("hex")}`,
    toolTimeoutMs: env.SUPERCARGO_TOOL_TIMEOUT_SECONDS * 1000,
  };
  runs = createRuns({
    world,
    runsMax: env.SUPERCARGO_RUNS_MAX,
    retentionDays: env.SUPERCARGO_RETENTION_DAYS,
    owner: randomUUID(),
  });
  return { world, runs, metrics, counters, journal, tracer, apiServer, closeModel: () => model.close() };
}

/** The API server, in the pod of an agent that may have to ask people; the operator mounts its token there. */
function openApiServer(env: Environment, log: Logger): KubeClient | undefined {
  const folder = env.SUPERCARGO_KUBERNETES_DIR;
  if (!existsSync(join(folder, "token"))) return undefined;
  const random = (): number => Math.random();
  return createKubeClient({
    ...inClusterOptions(process.env, clock, folder),
    userAgent: "supercargo-orchestrator",
    clock,
    random,
    log,
  });
}

/** Who sends the spans. */
function resourceOf(live: Live): SpanAttributes {
  const agent = live.config()?.agent;
  return {
    "service.name": "supercargo-orchestrator",
    "service.instance.id": hostname(),
    "k8s.namespace.name": agent?.namespace,
    "gen_ai.agent.name": agent?.name,
  };
}

main().catch((error: unknown) => {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
});
