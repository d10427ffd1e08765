/** No connection came about, so that not a byte of the request left. */
const NOT_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);
const DEPTH_MAX = 6;

/** Whether an error says for sure that the request did not leave; fetch wraps what the socket said. */
export function wasNotSent(error: unknown): boolean {
  let at = error;
  for (let depth = 0; depth < DEPTH_MAX && at instanceof Error; depth += 1) {
    if ("code" in at && typeof at.code === "string" && NOT_SENT.has(at.code)) return true;
    at = at.cause;
  }
  return false;
}
