import type { Intent } from "#core/api/usage-statement.ts";
import type { Clock } from "#runtime/clock.ts";
import type { ListAnswer, Marketplace } from "./desk.ts";
import { type HttpReply, readUsageRows } from "./marketplace-answers.ts";
import { postInBatches } from "./marketplace-batch.ts";

/** A bearer token for the metering API. Rejects when the identity gives none. */
export type TokenSource = () => Promise<string>;

export interface MarketplaceOptions {
  /** Up to and including /api, without a final slash. */
  readonly baseUrl: string;
  readonly token: TokenSource;
  readonly clock: Clock;
  readonly newId: () => string;
}

const API_VERSION = "2018-08-31";
const TIMEOUT_MS = 30_000;
const BODY_BYTES_MAX = 4 * 1024 * 1024;
const RETRY_AFTER_MAX_MS = 300_000;

/**
 * The metering API over HTTP (MicrosoftDocs marketplace-metering-service-apis). Always the batch call: it names the reason
 * of a refusal as a status, where the single call has one text for two reasons.
 */
export function createMarketplace(options: MarketplaceOptions): Marketplace {
  return {
    post: (intents) => postInBatches((batch) => sendBatch(options, batch), intents),
    list: (sinceDay) => listUsage(options, sinceDay),
  };
}

function sendBatch(options: MarketplaceOptions, intents: readonly Intent[]): Promise<HttpReply> {
  const request = intents.map((intent) => ({
    resourceUri: intent.offerResourceId,
    quantity: Number(intent.quantity),
    dimension: intent.dimension,
    effectiveStartTime: intent.effectiveStartTime.replace(/\.000Z$/, "Z"),
    planId: intent.planId,
  }));
  return call(options, { method: "POST", path: "/batchUsageEvent", body: JSON.stringify({ request }) });
}

async function listUsage(options: MarketplaceOptions, sinceDay: string): Promise<ListAnswer> {
  const date = `${sinceDay.slice(0, 4)}-${sinceDay.slice(4, 6)}-${sinceDay.slice(6, 8)}T00:00:00Z`;
  const reply = await call(options, { method: "GET", path: "/usageEvents", query: { usageStartDate: date } });
  const rows = reply.status === 200 ? readUsageRows(reply.text) : undefined;
  if (rows) return { ok: true, rows, dateMs: reply.dateMs };
  const refused = reply.status === 401 || reply.status === 403;
  const silence = { ok: false, refused, message: reply.failure ?? `HTTP status ${reply.status}` } as const;
  return reply.noCredential ? { ...silence, noCredential: true } : silence;
}

interface Call {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: string;
  readonly query?: Readonly<Record<string, string>>;
}

/** One call; what went wrong is a reply with status 0. Never repeats: the loop owns retries. */
async function call(options: MarketplaceOptions, what: Call): Promise<HttpReply> {
  const requestId = options.newId();
  const token = await readToken(options);
  if (!token.ok) return { status: 0, text: "", requestId, failure: token.failure, noCredential: true };
  const deadline = new AbortController();
  const cancel = options.clock.after(TIMEOUT_MS, () => deadline.abort(new Error(`No answer within ${TIMEOUT_MS} ms`)));
  try {
    const query = new URLSearchParams({ ...what.query, "api-version": API_VERSION });
    const response = await fetch(`${options.baseUrl}${what.path}?${query.toString()}`, {
      method: what.method,
      redirect: "error",
      signal: deadline.signal,
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${token.value}`,
        "x-ms-requestid": requestId,
        "x-ms-correlationid": requestId,
      },
      ...(what.body === undefined ? {} : { body: what.body }),
    });
    return {
      status: response.status,
      text: await readText(response),
      requestId: response.headers.get("x-ms-requestid") ?? requestId,
      retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
      dateMs: dateMs(response.headers.get("date")),
    };
  } catch (error) {
    return { status: 0, text: "", requestId, failure: describe(error) };
  } finally {
    cancel();
  }
}

async function readToken(
  options: MarketplaceOptions,
): Promise<{ ok: true; value: string } | { ok: false; failure: string }> {
  try {
    return { ok: true, value: await options.token() };
  } catch (error) {
    return { ok: false, failure: describe(error) };
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > BODY_BYTES_MAX) throw new Error(`The answer must be at most ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function retryAfterMs(header: string | null): number | undefined {
  if (header === null || !/^[0-9]{1,6}$/.test(header)) return undefined;
  return Math.min(Number(header) * 1000, RETRY_AFTER_MAX_MS);
}

function dateMs(header: string | null): number | undefined {
  const instant = Date.parse(header ?? "");
  return Number.isNaN(instant) ? undefined : instant;
}

/** The chain of causes in one line: fetch hides what happened in `cause`. Never holds headers or bodies. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
