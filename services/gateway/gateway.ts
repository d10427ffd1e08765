import type { Clock } from "#runtime/clock.ts";
import type { Logger } from "#runtime/log.ts";
import type { Tracer } from "#runtime/tracer.ts";
import type { AuditLog } from "./telemetry/audit-log.ts";
import type { Books } from "./limits/books.ts";
import type { Meter } from "./limits/count.ts";
import type { UpstreamCredentials } from "./upstream/credentials.ts";
import type { Deployments } from "./deployments/deployments.ts";
import type { Guardrails } from "./guardrails/guardrails.ts";
import type { Live } from "./live.ts";
import type { GatewayMetrics } from "./telemetry/metrics.ts";
import type { Rates } from "./rates/rates.ts";
import type { RetryBudget } from "./upstream/retry-budget.ts";
import type { Turn } from "./turn.ts";
import type { Upstreams } from "./upstream/upstream.ts";

/** Everything the steps work with, built in main. */
export interface Gateway {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly audit: AuditLog;
  readonly books: Books;
  readonly live: Live;
  readonly meter: Meter;
  readonly metrics: GatewayMetrics;
  /** Where spans go; nothing where no collector is configured. */
  readonly tracer?: Tracer | undefined;
  readonly upstreams: Upstreams;
  readonly credentials: UpstreamCredentials;
  readonly deployments: Deployments;
  /** Our token for calls to the orchestrator. */
  readonly serviceToken: () => string | undefined;
  readonly guardrails: Guardrails;
  readonly rates: Rates;
  readonly retryBudget: RetryBudget;
  readonly bodyLimitBytes: number;
  readonly timeouts: Timeouts;
  /** Requests that have begun and not ended. */
  readonly turns: Set<Turn>;
  /** Whether requests are refused because the process is about to end. */
  isClosed: boolean;
}

/** All in milliseconds. */
export interface Timeouts {
  /** Until a stream's head. */
  readonly streamFirstByteMs: number;
  /** Until the head of an answer that comes as a whole: a long thought ends before it. */
  readonly jsonFirstByteMs: number;
  /** Until the head of an agent's answer: a whole run may end before it. */
  readonly agentFirstByteMs: number;
  /** Between two bytes. */
  readonly idleMs: number;
  /** The longest wait before another attempt; a longer one is left to the client. */
  readonly retryWaitMaxMs: number;
}

export const TIMEOUTS: Timeouts = {
  streamFirstByteMs: 120_000,
  jsonFirstByteMs: 300_000,
  agentFirstByteMs: 600_000,
  idleMs: 60_000,
  retryWaitMaxMs: 10_000,
};
