import { isRecord, type KubeError } from "./types.ts";

const KINDS: Readonly<Record<number, KubeError["kind"]>> = {
  400: "Invalid",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  410: "Gone",
  413: "Invalid",
  415: "Invalid",
  422: "Invalid",
  429: "Throttled",
  502: "Unreachable",
  503: "Unreachable",
  504: "Unreachable",
};

/** The error of an answer other than 2xx: by the Status object in the body, else by the HTTP status. */
export function toKubeError(status: number, body: unknown, retryAfterMs?: number): KubeError {
  const reason = isRecord(body) && typeof body["reason"] === "string" ? body["reason"] : "";
  const message = isRecord(body) && typeof body["message"] === "string" ? body["message"] : bareMessage(status, body);
  const kind = reason === "AlreadyExists" ? "AlreadyExists" : (KINDS[status] ?? "Unknown");
  return { kind, status, message, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** A path that nobody serves is answered in plain text. */
function bareMessage(status: number, body: unknown): string {
  return typeof body === "string" && body.trim() !== "" ? body.trim().slice(0, 200) : `HTTP status ${status}`;
}

/** The error of a call that got no answer. */
export function toUnreachable(cause: unknown): KubeError {
  return { kind: "Unreachable", status: 0, message: cause instanceof Error ? cause.message : String(cause) };
}

/** Whether the same call may succeed a little later. */
export function isTransient(error: KubeError): boolean {
  return error.kind === "Throttled" || error.kind === "Unreachable";
}

/** `Retry-After` in milliseconds; dates are not used by the API server. */
export function parseRetryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined || !/^[0-9]{1,6}$/.test(header)) return undefined;
  return Number(header) * 1000;
}

/** For the rare place where a failed call must end what is done: an error with the kind in its message. */
export class KubeCallError extends Error {
  readonly error: KubeError;
  constructor(what: string, error: KubeError) {
    super(`Cannot ${what}: ${error.kind}: ${error.message}`);
    this.name = "KubeCallError";
    this.error = error;
  }
}
