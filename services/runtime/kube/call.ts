import { randomInt } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";
import { backoffDelayMs } from "../retry.ts";
import { type Connection, type ConnectionOptions, readJson, type RequestSpec } from "./connection.ts";
import { isTransient, parseRetryAfterMs, toKubeError, toUnreachable } from "./errors.ts";
import type { CallOptions, KubeError, KubeResult } from "./types.ts";

const CALL_TIMEOUT_MS = 15_000;
const ATTEMPTS_MAX = 5;
const RETRY_TOTAL_MS = 30_000;
const BACKOFF = { delayMinMs: 100, delayMaxMs: 10_000 };

export interface KubeClientOptions extends ConnectionOptions {
  readonly clock: Clock;
  readonly log?:
    | { warn(fields: object, message: string): void; debug(fields: object, message: string): void }
    | undefined;
  /** Counts one finished request; `code` is the HTTP status or `<error>`. */
  readonly metrics?: ((labels: { code: string; method: string; host: string }) => void) | undefined;
  /** Strict refuses unknown fields: for tests. @default "Warn" */
  readonly fieldValidation?: "Strict" | "Warn";
  /** In [0, 1), for jitter. */
  readonly random?: () => number;
}

/** One call as the runner sees it. */
export interface Call extends RequestSpec {
  /** Whether the same bytes may be sent again when it is unknown if they arrived. */
  readonly repeatable: boolean;
  readonly options: CallOptions;
  readonly timeoutMs?: number;
}

export type Runner = (call: Call) => Promise<KubeResult<unknown>>;

/** Sends a call with its timeout, and again while that is safe and useful. */
export function createRunner(options: KubeClientOptions, connection: Connection): Runner {
  const random = options.random ?? (() => randomInt(0, 2 ** 32) / 2 ** 32);
  return async (call) => {
    const startedMs = options.clock.monotonic();
    const attemptsMax = call.options.attemptsMax ?? ATTEMPTS_MAX;
    for (let attempt = 1; ; attempt += 1) {
      const result = await attemptCall(options, connection, call);
      if (result.ok || attempt >= attemptsMax || !mayRepeat(call, result.error)) return result;
      const delayMs = result.error.retryAfterMs ?? backoffDelayMs(attempt, BACKOFF, random);
      if (options.clock.monotonic() - startedMs + delayMs > RETRY_TOTAL_MS) return result;
      try {
        await options.clock.sleep(delayMs, call.options.signal);
      } catch {
        return result;
      }
    }
  };
}

/** 429 and an answered 503 did nothing yet; after a cut it is unknown whether the call arrived. */
function mayRepeat(call: Call, error: KubeError): boolean {
  return isTransient(error) && !call.options.signal?.aborted && (call.repeatable || error.status !== 0);
}

async function attemptCall(
  options: KubeClientOptions,
  connection: Connection,
  call: Call,
): Promise<KubeResult<unknown>> {
  const timeoutMs = call.options.timeoutMs ?? call.timeoutMs ?? CALL_TIMEOUT_MS;
  const deadline = new AbortController();
  const cancel = options.clock.after(timeoutMs, () => deadline.abort(new Error(`No answer within ${timeoutMs} ms`)));
  const signal = call.options.signal ? AbortSignal.any([deadline.signal, call.options.signal]) : deadline.signal;
  try {
    const response = await connection.send(call, signal);
    const body = await readJson(response);
    const status = response.statusCode ?? 0;
    reportRequest(options, call, response);
    if (status >= 200 && status < 300) return { ok: true, value: body, dateMs: parseDate(response) };
    return { ok: false, error: toKubeError(status, body, parseRetryAfterMs(response.headers["retry-after"])) };
  } catch (error) {
    options.metrics?.({ code: "<error>", method: call.method, host: hostOf(options.server) });
    return { ok: false, error: toUnreachable(signal.aborted ? signal.reason : error) };
  } finally {
    cancel();
  }
}

export function reportRequest(options: KubeClientOptions, call: RequestSpec, response: IncomingMessage): void {
  options.metrics?.({
    code: String(response.statusCode ?? 0),
    method: call.method,
    host: hostOf(options.server),
  });
  // The server drops unknown fields with no more than this header.
  const warning = response.headers["warning"];
  if (warning !== undefined) options.log?.warn({ path: call.path, warning }, "Received warning of the API server");
}

function parseDate(response: IncomingMessage): number | undefined {
  const ms = Date.parse(response.headers.date ?? "");
  return Number.isNaN(ms) ? undefined : ms;
}

function hostOf(server: string): string {
  return new URL(server).host;
}
