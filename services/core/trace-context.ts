/** Where a request stands in a trace of W3C Trace Context (w3.org/TR/trace-context). */
export interface TraceContext {
  /** 32 hex digits, not all zero. */
  readonly traceId: string;
  /** The caller's span, 16 hex digits. */
  readonly spanId: string;
  /** Whoever began the trace wants it recorded. */
  readonly isSampled: boolean;
  /** What other tracing systems pass along; nothing when absent or not fit to be passed on. */
  readonly state: string | undefined;
}

/** A later version may add parts behind the four that are known; version ff is forbidden. */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]{0,256})?$/;
/** The standard asks to pass on at least 512 characters. Longer ones are dropped whole, as it allows. */
const TRACESTATE = /^[\x20-\x7e]{1,512}$/;
const SAMPLED = 1;

/** Reads the two headers; nothing when there is no valid traceparent, and then tracestate means nothing either. */
export function readTraceContext(traceparent: unknown, tracestate: unknown): TraceContext | undefined {
  const match = typeof traceparent === "string" ? TRACEPARENT.exec(traceparent) : null;
  if (match === null) return undefined;
  const [, version, traceId = "", spanId = "", flags = "", more] = match;
  if (version === "00" && more !== undefined) return undefined;
  const state = typeof tracestate === "string" && TRACESTATE.test(tracestate) ? tracestate : undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED, state };
}

/** The header for whoever is called next. */
export function writeTraceparent({ traceId, spanId, isSampled }: Omit<TraceContext, "state">): string {
  return `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}`;
}

const DIGITS = 13;
const DIGITS_MAX = 16 ** DIGITS;

/** Whether a new trace is recorded: the same answer in every process that asks with the same ratio (0 to 1). */
export function isSampledBy(ratio: number, traceId: string): boolean {
  return Number.parseInt(traceId.slice(-DIGITS), 16) < ratio * DIGITS_MAX;
}
