import { hostname } from "node:os";
import { OPENAI_SCOPE, createEntraCredential } from "#runtime/credential.ts";
import { systemClock } from "#runtime/clock.ts";
import { ConfigError, parseConfig } from "#runtime/config.ts";
import { openCounters, readBootId } from "#runtime/counters.ts";
import { watchEventLoop } from "#runtime/event-loop.ts";
import { withHealth } from "#runtime/health.ts";
import { createLogger, openStdout } from "#runtime/log.ts";
import { createMetrics } from "#runtime/metrics.ts";
import { startServer } from "#runtime/server.ts";
import { stopOnSignal } from "#runtime/shutdown.ts";
import { openTracer } from "#runtime/telemetry.ts";
import { watchFile } from "#runtime/watched-file.ts";
import { createHandler } from "./app.ts";
import { auditUnread } from "./telemetry/audit.ts";
import { createAuditLog } from "./telemetry/audit-log.ts";
import { createBooks } from "./limits/books.ts";
import { answerClientErrors } from "./wire/client-error.ts";
import { type GatewayEnv, gatewayEnvSchema } from "./config.ts";
import { createMeter, GATEWAY_DIMENSIONS } from "./limits/count.ts";
import { createUpstreamCredentials, parseSecret } from "./upstream/credentials.ts";
import { createDeployments } from "./deployments/deployments.ts";
import { drain } from "./drain.ts";
import { type Gateway, TIMEOUTS } from "./gateway.ts";
import { createGuardrails } from "./guardrails/guardrails.ts";
import { createIssuers } from "./identity/issuers.ts";
import { createKeyMetrics } from "./identity/key-metrics.ts";
import { createJwksClient } from "./identity/jwks.ts";
import { createLive } from "./live.ts";
import { createGatewayMetrics } from "./telemetry/metrics.ts";
import { createRates } from "./rates/rates.ts";
import { createRetryBudget } from "./upstream/retry-budget.ts";
import { needsWorkloadIdentity, poolIds, secretFiles, type Snapshot } from "./snapshot.ts";
import type { Turn } from "./turn.ts";
import { createUpstreams } from "./upstream/upstream.ts";

const CONFIG_POLL_MS = 2_000;
const CONTROL_POLL_MS = 500;
const EVENT_LOOP_MS = 60_000;
const TRACER_STOP_MS = 2_000;
/** Longer than any wait of our own (gateway.ts): what is silent for so long is a client that takes nothing. */
const SILENT_MS = 2 * TIMEOUTS.agentFirstByteMs;

const env = readEnvironment();
const clock = systemClock;
const stdout = openStdout();
const log = createLogger({ component: "gateway", level: env.SUPERCARGO_LOG_LEVEL, destination: stdout });
const counters = openCounters({
  file: env.SUPERCARGO_COUNTER_FILE,
  dimensions: GATEWAY_DIMENSIONS,
  bootId: readBootId(),
});
const metrics = createMetrics({ metered: counters });
const entra = createEntraCredential({ scope: OPENAI_SCOPE, clock, random: Math.random, log });
const credentials = createUpstreamCredentials(entra);
const upstreams = createUpstreams();
const keyMetrics = createKeyMetrics(metrics.registry);
const issuers = createIssuers({
  client: createJwksClient(),
  clock,
  random: Math.random,
  log,
  note: keyMetrics.note,
});
keyMetrics.watch(issuers);
const deployments = createDeployments({ clock, log });
const serviceToken = watchFile(env.SUPERCARGO_SERVICE_TOKEN_FILE, parseSecret);

/** What hangs on the configuration beside the hot path. */
function applySnapshot(snapshot: Snapshot): void {
  credentials.retain(secretFiles(snapshot));
  upstreams.retain(poolIds(snapshot));
  deployments.retain(snapshot.models.values());
  issuers.retain(snapshot.config.oidc ?? []);
  if (needsWorkloadIdentity(snapshot)) entra.start();
}

const live = createLive({
  configFile: env.SUPERCARGO_CONFIG_FILE,
  controlFile: env.SUPERCARGO_CONTROL_FILE,
  counters,
  issuers,
  monotonicMs: () => clock.monotonic(),
  log,
  onSnapshot: applySnapshot,
});
const meter = createMeter(counters, log);
const audit = createAuditLog(stdout, clock);
const turns = new Set<Turn>();
const tracer = await openTracer({
  env,
  clock,
  registry: metrics.registry,
  resource: () => {
    const agent = live.snapshot()?.config.agent;
    return {
      "service.name": "supercargo-gateway",
      "service.instance.id": hostname(),
      "k8s.namespace.name": agent?.namespace,
      "gen_ai.agent.name": agent?.name,
    };
  },
});
const gateway: Gateway = {
  clock,
  random: Math.random,
  log,
  audit,
  books: createBooks({ meter, audit, clock, inFlight: () => turns.size }),
  live,
  meter,
  metrics: createGatewayMetrics(metrics.registry, deployments.grades),
  tracer,
  upstreams,
  credentials,
  deployments,
  serviceToken: () => serviceToken.current()?.value,
  guardrails: createGuardrails({ upstreams, credentials, clock, random: Math.random }),
  rates: createRates(),
  retryBudget: createRetryBudget(clock),
  bodyLimitBytes: env.SUPERCARGO_BODY_LIMIT_BYTES,
  timeouts: TIMEOUTS,
  turns,
  isClosed: false,
};

let isDraining = false;
const eventLoop = watchEventLoop((percentile, seconds) => gateway.metrics.eventLoopDelay.set({ percentile }, seconds));
const polls = [
  setInterval(eventLoop, EVENT_LOOP_MS),
  setInterval(() => {
    live.refreshConfig();
    credentials.refresh();
    serviceToken.refresh();
  }, CONFIG_POLL_MS),
  setInterval(() => live.refreshControl(), CONTROL_POLL_MS),
];

const admin = await startServer({
  handler: withHealth({
    ready: () =>
      isDraining
        ? "The pod is being replaced"
        : (live.notReady() ?? meter.problem() ?? entra.notReady() ?? issuers.notReady()),
    metrics: () => metrics.exposition(),
  }),
  port: env.SUPERCARGO_ADMIN_PORT,
  clock,
});
const handler = createHandler(gateway);
const server = await startServer({
  handler,
  requiresHost: false,
  port: env.SUPERCARGO_PORT,
  silentMs: SILENT_MS,
  clock,
});
answerClientErrors(server.server, { clock, note: (unread) => auditUnread(gateway, unread) });
server.server.on("checkExpectation", handler);
log.info({ port: server.port, adminPort: admin.port }, "Started gateway");

stopOnSignal(log, [
  {
    name: "public server",
    stop: () => {
      isDraining = true;
      return drain(gateway, { server, deadlineMs: env.SUPERCARGO_DRAIN_SECONDS * 1000, clock });
    },
  },
  { name: "polls", stop: () => polls.forEach((poll) => clearInterval(poll)) },
  { name: "credential", stop: () => entra.stop() },
  { name: "issuers", stop: () => issuers.stop() },
  { name: "upstreams", stop: () => upstreams.close() },
  { name: "spans", stop: () => tracer?.stop(TRACER_STOP_MS) },
  { name: "admin server", stop: () => admin.stop(1_000) },
  { name: "counters", stop: () => counters.close() },
]);

/** Every problem at once, as a list for people; then exit 1. */
function readEnvironment(): GatewayEnv {
  try {
    return parseConfig(gatewayEnvSchema, process.env, { subject: "the environment" });
  } catch (error) {
    console.error(error instanceof ConfigError ? error.message : error);
    process.exit(1);
  }
}
