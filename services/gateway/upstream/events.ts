import type { ServerResponse } from "node:http";
import { type ErrorCode, Refusal } from "#core/errors.ts";
import type { Clock } from "#runtime/clock.ts";
import { type AnswerOptions, type AnswerReport, refuse, resumesOnDrain, unfiltered } from "./answer.ts";
import type { Sink } from "./attempt.ts";
import type { WindowGate } from "../guardrails/output/window-gate.ts";
import { modelIn } from "../wire/answer-facts.ts";
import { interruptedEvents } from "../wire/refuse.ts";
import { createEventSplitter, eventData, isWholeEvent } from "../wire/sse.ts";
import type { StreamWatch } from "./stream-watch.ts";
import type { CutSide, Turn } from "../turn.ts";

export interface EventSinkOptions extends AnswerOptions {
  readonly watch: StreamWatch;
  /** Goes over the events before they go out; nothing where no guardrail looks at answers. */
  readonly guard?: StreamGuard | undefined;
  /** How this API tells an error inside a stream. */
  readonly shape: "chat" | "responses";
}

/** What guardrails make of a stream. */
export interface StreamGuard {
  /** Takes whole events; gives those that may go out now. */
  push(block: Buffer): Buffer;
  /** Why nothing more may go out, once that is so. */
  refusal(): Refusal | undefined;
  /** Events of its own so far: the numbers of all that follow are higher by that. */
  added(): number;
  /** Writes down what was found; before the stream is counted. */
  close(): void;
  /** Holds events until somebody has judged them; nothing where nobody is asked. */
  readonly gate?: WindowGate | undefined;
}

/** A stream of events: whole events pass as they come, the last ones after they are counted. */
export function createEventSink(options: EventSinkOptions): Sink {
  return new EventSink(options);
}

class EventSink implements Sink {
  readonly #options: EventSinkOptions;
  readonly #splitter = createEventSplitter();
  #isSettled = false;
  /** What waits until the stream is counted. */
  #waiting: Buffer[] | undefined;
  /** The upstream has ended, or we have cut it. */
  #isOver = false;
  #hasEnded = false;
  /** The upstream has ended before all was judged. */
  #answering: PromiseWithResolvers<void> | undefined;

  constructor(options: EventSinkOptions) {
    this.#options = options;
    options.guard?.gate?.open({
      pass: (events) => void this.#advance(events),
      refuse: (refusal) => this.#reject(refusal),
      resume: () => options.flow.resume(),
    });
  }

  data(chunk: Buffer): boolean {
    if (this.#hasEnded) return true;
    const block = this.#splitter.push(chunk);
    return block.length === 0 || this.#take(block);
  }

  end(): boolean {
    if (this.#hasEnded) return true;
    // The last event may lack its empty line; half an event is none.
    const rest = this.#splitter.rest();
    if (rest.length > 0 && isWholeEvent(rest)) this.#take(rest);
    if (this.#hasEnded) return true;
    // A clean end of the connection without the stream's own end is none: a dying upstream looks like that, too.
    if (!this.#options.watch.isComplete()) return this.cut("upstream");
    this.#close();
    return true;
  }

  cut(side: CutSide): boolean {
    if (this.#hasEnded) return true;
    const { response } = this.#options.turn;
    if (this.#isSettled) {
      this.#close();
      return true;
    }
    this.#options.guard?.gate?.stop();
    // Nothing has come yet: the client waits, and another deployment may answer.
    if (!response.headersSent && side !== "client") return false;
    this.#isSettled = true;
    this.#hasEnded = true;
    this.#options.guard?.close();
    this.#options.settle(this.#report(side), () => {
      if (side !== "client") this.#interrupt("stream_interrupted");
    });
    this.#answering?.resolve();
    return true;
  }

  #take(block: Buffer): boolean {
    const { trace } = this.#options.turn;
    notePace(this.#options.turn, this.#options.clock);
    if (trace !== undefined) trace.responseModel ??= modelIn(block);
    const { watch, guard } = this.#options;
    const observed = watch.observe(block);
    const passed = guard === undefined ? observed : throughGuard(guard, observed);
    const refusal = this.#isSettled ? undefined : this.#refusal();
    if (refusal !== undefined) {
      this.#reject(refusal);
      return true;
    }
    return guard?.gate === undefined ? this.#advance(passed) : this.#hold(guard.gate, passed);
  }

  /** Events wait for their verdict; what comes behind the stream's end is nobody's. */
  #hold(gate: WindowGate, events: readonly Buffer[]): boolean {
    if (this.#isSettled) return true;
    const { watch, turn } = this.#options;
    return gate.take(events, watch.isComplete()) && !turn.response.writableNeedDrain;
  }

  #advance(passed: readonly Buffer[]): boolean {
    if (!this.#isSettled && this.#options.watch.isComplete() && this.#isJudged()) this.#settle();
    if (this.#hasEnded) return true;
    if (this.#waiting === undefined) return this.#write(passed);
    this.#waiting.push(...passed);
    return true;
  }

  #isJudged(): boolean {
    return this.#options.guard?.gate?.isIdle() !== false;
  }

  #refusal(): Refusal | undefined {
    const { rejectsUnfiltered, watch, guard } = this.#options;
    return rejectsUnfiltered && watch.isFilterDown() ? unfiltered() : guard?.refusal();
  }

  #write(parts: readonly Buffer[]): boolean {
    const { response } = this.#options.turn;
    if (parts.length === 0 || response.destroyed) return true;
    if (!response.headersSent && !this.#begin()) return true;
    let isTaken = true;
    for (const part of parts) isTaken = response.write(part);
    return isTaken || resumesOnDrain(response, this.#options.flow);
  }

  /** False when what is due at the first byte cannot be counted: the client then gets a 503. */
  #begin(): boolean {
    const { beforeFirstByte, turn, head, headers } = this.#options;
    try {
      beforeFirstByte?.();
    } catch (error) {
      this.#hasEnded = true;
      refuse(this.#options, error);
      return false;
    }
    turn.response.writeHead(head.status, headers());
    return true;
  }

  /** The stream is complete: its last events go out when it is counted; when it could not be, it ends with an error. */
  #settle(): void {
    this.#isSettled = true;
    this.#waiting = [];
    this.#options.guard?.close();
    this.#options.settle(this.#report(), (refusal) => {
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      if (refusal) {
        this.#hasEnded = true;
        if (this.#options.turn.response.headersSent) this.#interrupt(refusal.code);
        else refuse(this.#options, refusal);
        return;
      }
      this.#write(waiting);
      if (this.#isOver) this.#close();
    });
    this.#answering?.resolve();
  }

  /** What is left of the answer, and what has come of it but not gone out, never reaches the client. It is counted. */
  #reject(refusal: Refusal): void {
    this.#isSettled = true;
    this.#hasEnded = true;
    this.#options.flow.stop();
    this.#options.guard?.gate?.stop();
    this.#options.guard?.close();
    this.#options.settle({ ...this.#report(), refusal }, (failure = refusal) => {
      if (this.#options.turn.response.headersSent) this.#interrupt(failure.code);
      else refuse(this.#options, failure);
    });
    this.#answering?.resolve();
  }

  #report(cutBy?: CutSide): AnswerReport {
    const { watch } = this.#options;
    return {
      usage: watch.usage(),
      outputBytes: watch.deltaBytes(),
      finishReasons: watch.finishReasons(),
      filterDown: watch.isFilterDown(),
      ...(cutBy === undefined ? {} : { cutBy, isInterrupted: cutBy !== "client" }),
    };
  }

  #interrupt(code: ErrorCode): void {
    const { watch, guard, shape, turn, clock } = this.#options;
    const { sequenceNumber, response } = responseFacts(watch);
    const facts = { sequenceNumber: sequenceNumber + (guard?.added() ?? 0), response };
    endAbruptly(turn.response, interruptedEvents(shape, code, facts), clock);
  }

  /** The request goes on until all is judged. */
  #keepTurn(): void {
    const { turn } = this.#options;
    this.#answering = Promise.withResolvers();
    turn.answering = {
      ended: this.#answering.promise,
      cut: (side) => {
        if (this.#hasEnded) return;
        if (side === "client" || turn.response.headersSent) this.cut(side);
        else this.#reject(new Refusal("draining", "Cannot finish the request as the pod is being replaced"));
      },
    };
  }

  #close(): void {
    this.#isOver = true;
    if (this.#waiting !== undefined || this.#hasEnded) return;
    if (!this.#isJudged()) {
      this.#keepTurn();
      return;
    }
    this.#hasEnded = true;
    this.#options.turn.response.end();
  }
}

function throughGuard(guard: StreamGuard, parts: readonly Buffer[]): Buffer[] {
  return parts.map((part) => guard.push(part)).filter((part) => part.length > 0);
}

/** How fast a model's stream comes; nothing for the agent's own. */
function notePace(turn: Turn, clock: Clock): void {
  const { metrics } = turn;
  if (metrics === undefined) return;
  const nowMs = clock.monotonic();
  if (turn.firstEventMs === undefined) {
    turn.firstEventMs = nowMs;
    metrics.firstChunkSeconds.observe((nowMs - turn.sentMs) / 1000);
    metrics.firstTokenSeconds.observe((nowMs - turn.startMs) / 1000);
  } else metrics.chunkSeconds.observe((nowMs - turn.newestEventMs) / 1000);
  turn.newestEventMs = nowMs;
}

const ABRUPT_END_MS_MAX = 1_000;

/** Writes the last event, then closes the connection without a proper end, so that no client takes it for one. */
function endAbruptly(response: ServerResponse, events: Buffer, clock: Clock): void {
  const cancel = clock.after(ABRUPT_END_MS_MAX, () => response.destroy());
  response.write(events, () => {
    cancel();
    response.destroy();
  });
}

/** The number and the response object that the newest and the first event carried. */
function responseFacts(watch: StreamWatch): { sequenceNumber: number; response: Record<string, unknown> } {
  const { first, last } = watch.ends();
  let sequenceNumber = 0;
  // One by one: a hostile event may hold more of them than a call takes arguments.
  for (const match of last.toString("latin1").matchAll(/"sequence_number": ?([0-9]{1,15})/g))
    sequenceNumber = Math.max(sequenceNumber, Number(match[1]));
  return { sequenceNumber, response: firstResponse(first) };
}

function firstResponse(block: Buffer): Record<string, unknown> {
  try {
    const event: unknown = JSON.parse(eventData(block.subarray(0, block.indexOf("\n\n") + 1 || block.length)));
    const response = typeof event === "object" && event !== null && "response" in event ? event.response : undefined;
    return typeof response === "object" && response !== null ? { ...response } : {};
  } catch {
    return {};
  }
}
