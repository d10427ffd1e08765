import type { Server } from "node:http";
import { systemClock } from "#runtime/clock.ts";
import { type Counters, openCounters } from "#runtime/counters.ts";
import { createEntraCredential, OPENAI_SCOPE } from "#runtime/credential.ts";
import { createLogger } from "#runtime/log.ts";
import { createMetrics } from "#runtime/metrics.ts";
import { type RunningServer, startServer } from "#runtime/server.ts";
import { createHandler } from "./app.ts";
import { createDeployments } from "./deployments/deployments.ts";
import type { Gateway, Timeouts } from "./gateway.ts";
import { createGuardrails } from "./guardrails/guardrails.ts";
import { createIssuers } from "./identity/issuers.ts";
import { createJwksClient } from "./identity/jwks.ts";
import { createBooks } from "./limits/books.ts";
import { createMeter, GATEWAY_DIMENSIONS } from "./limits/count.ts";
import { createLive } from "./live.ts";
import { createRates, type Rates } from "./rates/rates.ts";
import { auditUnread } from "./telemetry/audit.ts";
import { createAuditLog } from "./telemetry/audit-log.ts";
import { createGatewayMetrics } from "./telemetry/metrics.ts";
import type { Folder } from "./test-world.ts";
import type { Turn } from "./turn.ts";
import { createUpstreamCredentials } from "./upstream/credentials.ts";
import { createRetryBudget } from "./upstream/retry-budget.ts";
import { createUpstreams } from "./upstream/upstream.ts";
import { answerClientErrors } from "./wire/client-error.ts";

/** The gateway of main.ts in this process, with short times, and with faults that no client could bring about. */
export interface LocalGateway {
  readonly gateway: Gateway;
  readonly server: RunningServer;
  /** All that was logged, audit lines too. */
  readonly lines: Record<string, unknown>[];
  readonly metrics: () => Promise<string>;
  /** Set one, and it happens until it is taken back. */
  readonly faults: { diskIsFull: boolean; isDefect: boolean };
  stop(): Promise<void>;
}

const TIMEOUTS: Timeouts = {
  streamFirstByteMs: 300,
  jsonFirstByteMs: 300,
  agentFirstByteMs: 300,
  idleMs: 500,
  retryWaitMaxMs: 50,
};
const STOP_MS = 100;

export async function startLocalGateway(folder: Folder): Promise<LocalGateway> {
  const faults = { diskIsFull: false, isDefect: false };
  const lines: Record<string, unknown>[] = [];
  const sink = { write: (text: string) => void lines.push(...text.trim().split("\n").map(parseLine)) };
  const clock = systemClock;
  const log = createLogger({ component: "gateway", destination: sink });
  const counters = openCounters({ file: folder.files.counters, dimensions: GATEWAY_DIMENSIONS, bootId: "boot" });
  const meter = createMeter(onDisk(counters, faults), log);
  const metrics = createMetrics({ metered: counters, nodeMetrics: false });
  const common = { clock, random: Math.random, log };
  const entra = createEntraCredential({ scope: OPENAI_SCOPE, ...common });
  const credentials = createUpstreamCredentials(entra);
  const upstreams = createUpstreams();
  const issuers = createIssuers({ client: createJwksClient(), ...common });
  const deployments = createDeployments({ clock, log });
  const live = createLive({
    configFile: folder.files.config,
    controlFile: folder.files.control,
    counters,
    issuers,
    monotonicMs: () => clock.monotonic(),
    log,
    onSnapshot: ({ config, models }) => {
      issuers.retain(config.oidc ?? []);
      deployments.retain(models.values());
    },
  });
  const audit = createAuditLog(sink, clock);
  const turns = new Set<Turn>();
  const gateway: Gateway = {
    ...common,
    audit,
    books: createBooks({ meter, audit, clock, inFlight: () => turns.size }),
    live,
    meter,
    metrics: createGatewayMetrics(metrics.registry, deployments.grades),
    upstreams,
    credentials,
    deployments,
    serviceToken: () => "own.service.token",
    guardrails: createGuardrails({ upstreams, credentials, clock, random: Math.random }),
    rates: withDefect(createRates(), faults),
    retryBudget: createRetryBudget(clock),
    bodyLimitBytes: 100_000,
    timeouts: TIMEOUTS,
    turns,
    isClosed: false,
  };
  const handler = createHandler(gateway);
  const server = await startServer({ handler, port: 0, host: "127.0.0.1", requiresHost: false, clock });
  listenAsMain(server.server, gateway, handler);
  return {
    gateway,
    server,
    lines,
    metrics: async () => (await metrics.exposition()).text,
    faults,
    async stop() {
      await server.stop(STOP_MS);
      await issuers.stop();
      await upstreams.close();
      counters.close();
    },
  };
}

function withDefect(rates: Rates, faults: { readonly isDefect: boolean }): Rates {
  return {
    within(...call) {
      if (faults.isDefect) throw new TypeError("A defect of ours");
      return rates.within(...call);
    },
  };
}

/** A disk that may be full. */
function onDisk(counters: Counters, faults: { readonly diskIsFull: boolean }): Counters {
  const guarded = (write: () => void): void => {
    if (faults.diskIsFull) throw new Error("ENOSPC");
    write();
  };
  return {
    ...counters,
    count: (usage) => guarded(() => counters.count(usage)),
    commit: () => guarded(counters.commit),
  };
}

function listenAsMain(server: Server, gateway: Gateway, handler: ReturnType<typeof createHandler>): void {
  answerClientErrors(server, { clock: gateway.clock, note: (unread) => auditUnread(gateway, unread) });
  server.on("checkExpectation", handler);
}

function parseLine(line: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(line);
  return typeof parsed === "object" && parsed !== null ? { ...parsed } : {};
}
