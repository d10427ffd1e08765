/**
 * Every error that a client of Supercargo can get, in OpenAI's shape: a closed table, told to people in docs/errors.md.
 * `next` is what the caller should do: `retry` the same request soon, `wait` as long as `retry-after` says, or `stop`,
 * because no repetition helps (the answer then carries `x-should-retry: false`).
 */
export const ERRORS = {
  invalid_api_key: { status: 401, type: "authentication_error", next: "stop" },
  invalid_token: { status: 401, type: "authentication_error", next: "stop" },
  subscription_suspended: { status: 403, type: "permission_error", next: "stop" },
  insufficient_scope: { status: 403, type: "permission_error", next: "stop" },
  subscription_revoked: { status: 403, type: "permission_error", next: "stop" },
  grant_expired: { status: 403, type: "permission_error", next: "stop" },
  not_entitled: { status: 403, type: "permission_error", next: "stop" },
  agent_paused: { status: 403, type: "permission_error", next: "stop" },
  approval_forbidden: { status: 403, type: "permission_error", next: "stop" },
  hard_limit_reached: { status: 403, type: "insufficient_quota", next: "stop" },
  rate_limit_exceeded: { status: 429, type: "rate_limit_error", next: "wait" },
  invalid_json: { status: 400, type: "invalid_request_error", next: "stop" },
  invalid_value: { status: 400, type: "invalid_request_error", next: "stop" },
  unsupported_parameter: { status: 400, type: "invalid_request_error", next: "stop" },
  content_filter: { status: 400, type: "invalid_request_error", next: "stop" },
  model_not_found: { status: 404, type: "invalid_request_error", next: "stop" },
  response_not_found: { status: 404, type: "invalid_request_error", next: "stop" },
  not_found: { status: 404, type: "invalid_request_error", next: "stop" },
  method_not_allowed: { status: 405, type: "invalid_request_error", next: "stop" },
  conflict: { status: 409, type: "invalid_request_error", next: "stop" },
  request_too_large: { status: 413, type: "invalid_request_error", next: "stop" },
  unsupported_media_type: { status: 415, type: "invalid_request_error", next: "stop" },
  request_timeout: { status: 408, type: "invalid_request_error", next: "retry" },
  internal_error: { status: 500, type: "server_error", next: "stop" },
  upstream_error: { status: 502, type: "upstream_error", next: "retry" },
  upstream_refused_credential: { status: 502, type: "upstream_error", next: "stop" },
  upstream_timeout: { status: 504, type: "upstream_error", next: "retry" },
  upstream_unavailable: { status: 503, type: "upstream_error", next: "wait" },
  /** Only inside a stream that had begun: the status was 200 by then. */
  stream_interrupted: { status: 502, type: "upstream_error", next: "retry" },
  not_ready: { status: 503, type: "server_error", next: "wait" },
  /** The publisher's mistake, not the caller's; no repetition within minutes mends it. */
  unknown_plan: { status: 503, type: "server_error", next: "stop" },
  issuer_unavailable: { status: 503, type: "server_error", next: "wait" },
  draining: { status: 503, type: "server_error", next: "retry" },
  overloaded: { status: 503, type: "server_error", next: "wait" },
  metering_unavailable: { status: 503, type: "server_error", next: "wait" },
  guardrail_unavailable: { status: 503, type: "server_error", next: "wait" },
} as const satisfies Record<string, ErrorEntry>;

export interface ErrorEntry {
  readonly status: number;
  readonly type: string;
  readonly next: "retry" | "wait" | "stop";
}

export type ErrorCode = keyof typeof ERRORS;

/** Whether a text is one of our codes. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

/** The body of an error answer. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

/** The row of a code. */
export function errorEntry(code: ErrorCode): ErrorEntry {
  return ERRORS[code];
}

/** The body that a client gets: the message says what failed, what is allowed and the current value, never a secret. */
export function toErrorBody(code: ErrorCode, message: string, param: string | null = null): ErrorBody {
  return { error: { message, type: ERRORS[code].type, param, code } };
}

export interface RefusalOptions {
  /** The field of the request at fault. */
  readonly param?: string | null;
  /** For `wait`: what `retry-after` says. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
  /** The rule that refused, for the audit record; the code if absent. */
  readonly rule?: string;
  /** What was asked may have begun already: whatever the table says, a client must not send it again by itself. */
  readonly mayHaveBegun?: boolean;
}

/** A request that ends with one row of the table; thrown by steps, turned into an answer in one place. */
export class Refusal extends Error {
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly retryAfterMs: number | undefined;
  readonly mayHaveBegun: boolean;
  readonly rule: string;
  constructor(code: ErrorCode, message: string, options: RefusalOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Refusal";
    this.code = code;
    this.param = options.param ?? null;
    this.rule = options.rule ?? code;
    this.retryAfterMs = options.retryAfterMs;
    this.mayHaveBegun = options.mayHaveBegun ?? false;
  }
}

/** The same refusal of something that may have begun; what is no refusal stays as it is. */
export function markBegun(error: unknown): unknown {
  if (!(error instanceof Refusal)) return error;
  return new Refusal(error.code, error.message, {
    param: error.param,
    cause: error.cause,
    rule: error.rule,
    mayHaveBegun: true,
  });
}

/**
 * The headers that tell a client whether and when to come back. The `openai` SDK reads them in this spelling, and repeats
 * every 5xx unless it is told not to: a second run, where the first may have refunded an order.
 */
export function errorHeaders(
  code: ErrorCode,
  options: Pick<RefusalOptions, "mayHaveBegun"> & { readonly retryAfterMs?: number | undefined } = {},
): Record<string, string> {
  const { next: usual } = errorEntry(code);
  const next = options.mayHaveBegun ? "stop" : usual;
  const { retryAfterMs } = options;
  const waitMs = retryAfterMs ?? (next === "wait" ? RETRY_AFTER_DEFAULT_MS : undefined);
  return {
    ...challenge(code),
    ...(next === "stop" || (waitMs ?? 0) > OBEYED_WAIT_MAX_MS ? { "x-should-retry": "false" } : {}),
    ...(waitMs === undefined
      ? {}
      : { "retry-after": String(Math.ceil(waitMs / 1000)), "retry-after-ms": String(Math.ceil(waitMs)) }),
  };
}

/** RFC 6750, 3: which credential would do better. */
function challenge(code: ErrorCode): Record<string, string> {
  const isForbidden = code === "insufficient_scope";
  if (errorEntry(code).status !== 401 && !isForbidden) return {};
  return { "www-authenticate": `Bearer realm="supercargo", error="${isForbidden ? code : "invalid_token"}"` };
}

const RETRY_AFTER_DEFAULT_MS = 2000;
/** Instead of a longer wait the `openai` SDK takes its own, of seconds. */
const OBEYED_WAIT_MAX_MS = 60_000;
