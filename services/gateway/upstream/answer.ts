import type { ServerResponse } from "node:http";
import { Refusal } from "#core/errors.ts";
import type { Clock } from "#runtime/clock.ts";
import type { AnswerHead, Flow, Sink } from "./attempt.ts";
import { hasFilterError, isFilterDown } from "./content-filter.ts";
import { readAnswer } from "../wire/answer-facts.ts";
import { toRefusal, writeRefusal } from "../wire/refuse.ts";
import type { CutSide, Turn } from "../turn.ts";
import type { TokenUsage } from "../wire/usage.ts";

/** What is known when an answer ends. */
export interface AnswerReport {
  readonly usage?: TokenUsage | undefined;
  /** Bytes of what the model wrote, for the case that it reported no usage. */
  readonly outputBytes: number;
  /** How each choice ended. */
  readonly finishReasons?: readonly string[] | undefined;
  /** Azure's content filter was down, and said so. */
  readonly filterDown?: boolean;
  /** It is counted, but what it holds may not reach the client. */
  readonly refusal?: Refusal | undefined;
  readonly cutBy?: CutSide;
  /** The client gets events that say so. */
  readonly isInterrupted?: boolean;
}

/**
 * Counts and audits, once. `answer` is called when both are stored, or with the reason why the count could not be: only then
 * may the last bytes go out. At once or a moment later.
 */
export type Settle = (report: AnswerReport, answer: (refusal: Refusal | undefined) => void) => void;

export interface AnswerOptions {
  readonly turn: Turn;
  readonly head: AnswerHead;
  readonly flow: Flow;
  readonly clock: Clock;
  readonly settle: Settle;
  /** An answer that Azure's content filter did not judge is refused. */
  readonly rejectsUnfiltered: boolean;
  /** Counts what is due as soon as anything reaches the client; runs once or more. Throws Refusal when that cannot be stored. */
  readonly beforeFirstByte?: () => void;
  /** Headers for the client. */
  readonly headers: () => Record<string, string>;
}

/** Above this size an answer is passed on while it comes; only its end is held back until it is counted. */
const WHOLE_BYTES_MAX = 1024 * 1024;
const TAIL_BYTES = 64 * 1024;
const ONE_WRITE_BYTES_MAX = 16 * 1024;

/** A JSON answer: held until it is whole and counted, so that one that cannot be counted can still become a 503. */
export function createJsonSink(options: AnswerOptions): Sink {
  const { response } = options.turn;
  let chunks: Buffer[] = [];
  let size = 0;
  let tail = Buffer.alloc(0);
  let isPassing = false;
  let filterDown = false;
  const isRejected = (): boolean => filterDown && options.rejectsUnfiltered;

  /** False when what is due at the first byte cannot be counted: the client then gets a 503. */
  const begin = (): boolean => {
    try {
      options.beforeFirstByte?.();
    } catch (error) {
      options.flow.stop();
      refuse(options, error);
      return false;
    }
    response.writeHead(options.head.status, options.headers());
    return true;
  };
  const pass = (): boolean => {
    const seen = Buffer.concat([tail, ...chunks]);
    filterDown ||= hasFilterError(seen);
    tail = seen.subarray(-TAIL_BYTES);
    if (isRejected()) {
      chunks = [];
      return true;
    }
    if (!isPassing && !begin()) return true;
    isPassing = true;
    // The last chunk stays here until it is counted.
    const last = chunks.at(-1);
    const before = chunks.slice(0, -1);
    chunks = last ? [last] : [];
    return before.length === 0 || response.write(Buffer.concat(before)) || resumesOnDrain(response, options.flow);
  };
  const finish = (rest: Buffer): void => {
    if (!isPassing)
      response.writeHead(options.head.status, { ...options.headers(), "content-length": String(rest.length) });
    // Node sends head and text in one write, head and bytes in two. Latin-1 keeps every byte as it is.
    if (rest.length <= ONE_WRITE_BYTES_MAX) response.end(rest.toString("latin1"), "latin1");
    else response.end(rest);
  };

  return {
    data(chunk) {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= WHOLE_BYTES_MAX) return true;
      return pass();
    },
    end() {
      const rest = joined(chunks);
      // What was seen in pieces has been searched already.
      const isLarge = size > WHOLE_BYTES_MAX;
      if (!isLarge && !endsObject(rest)) return false;
      filterDown ||= !isLarge && isFilterDown(rest);
      const refusal = isRejected() ? unfiltered() : undefined;
      options.settle(
        { ...readAnswer(isLarge ? tail : rest, options.turn.trace), outputBytes: size, filterDown, refusal },
        (failure = refusal) => {
          if (failure) refuse(options, failure);
          else finish(rest);
        },
      );
      return true;
    },
    cut(side) {
      if (!isPassing && side !== "client") return false;
      options.settle({ outputBytes: size, filterDown, cutBy: side }, () => response.destroy());
      return true;
    },
  };
}

function joined(chunks: readonly Buffer[]): Buffer {
  const [only] = chunks;
  return only !== undefined && chunks.length === 1 ? only : Buffer.concat(chunks);
}

/** Whether an answer may be whole: the length that was announced may be a lie. */
function endsObject(bytes: Buffer): boolean {
  let at = bytes.length - 1;
  while (at >= 0 && WHITESPACE.has(bytes[at] ?? 0)) at -= 1;
  return bytes[at] === CLOSING_BRACE;
}

const CLOSING_BRACE = 0x7d;
const WHITESPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** Azure's filter judged nothing of the answer, and the agent's owner wants none that was not judged. */
export function unfiltered(): Refusal {
  return new Refusal("guardrail_unavailable", "Cannot pass the answer on as Azure's content filter was down");
}

/** A write was more than the client takes now: when it has taken it, the upstream may go on. False, as the upstream must wait. */
export function resumesOnDrain(response: ServerResponse, flow: Flow): false {
  response.once("drain", () => flow.resume());
  return false;
}

/** The answer cannot be counted: a 503, or where it has begun, a connection that breaks off. */
export function refuse(options: AnswerOptions, error: unknown): void {
  const { response, requestId } = options.turn;
  if (response.headersSent) response.destroy();
  else writeRefusal(response, toRefusal(error), { "x-request-id": requestId });
}
