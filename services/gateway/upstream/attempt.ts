import type { IncomingHttpHeaders } from "node:http";
import type { Dispatcher } from "undici";
import type { Clock } from "#runtime/clock.ts";
import type { CutSide } from "../turn.ts";

/** Who takes the bytes of an answer that goes to the client. */
export interface Sink {
  /** Takes all that one read of the connection brought. False asks for a pause until `flow.resume`. */
  data(chunk: Buffer): boolean;
  /** False when the upstream ended before there was an answer; nothing was counted then. */
  end(): boolean;
  /** The answer ends early. False when nothing had reached the client and nothing was counted: another attempt may follow. */
  cut(side: CutSide): boolean;
}

/** How a sink slows its upstream down. */
export interface Flow {
  resume(): void;
  /** Ends it: the sink wants no more, and has ended the answer itself. */
  stop(): void;
}

export interface AttemptCall {
  readonly dispatcher: Dispatcher;
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
  readonly firstByteTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  /** A sink for an answer that is to go to the client; nothing to have it collected. */
  readonly accept: (head: AnswerHead, flow: Flow) => Sink | undefined;
  /** The client has not taken a byte for the idle time. */
  readonly onStalled: () => void;
}

export interface AnswerHead {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

export type AttemptOutcome =
  /** The sink has ended the answer, whole or cut. */
  | { readonly kind: "answered" }
  /** Not accepted: the head, and up to 1 MiB of the body. */
  | { readonly kind: "declined"; readonly head: AnswerHead; readonly body: Buffer }
  /** Nothing reached the client. `isSent` is false when not even a connection was had. */
  | { readonly kind: "failed"; readonly reason: FailureReason; readonly isSent: boolean; readonly error: Error }
  | { readonly kind: "cut" };

/** A closed set: also values of a label. */
type FailureReason = "connect" | "timeout" | "reset";

export interface Attempt {
  readonly outcome: Promise<AttemptOutcome>;
  /** Ends it now, upstream first. */
  cut(side: CutSide): void;
}

const DECLINED_BYTES_MAX = 1024 * 1024;

/**
 * One call of an upstream, byte by byte: never `fetch`, which costs four times as much, and never a body stream handed to
 * Koa, which an impatient client turns into a crash of the process. Whatever happens ends in exactly one outcome.
 */
export function startAttempt(call: AttemptCall): Attempt {
  const exchange = new Exchange(call);
  exchange.start();
  return exchange;
}

class Exchange implements Attempt, Dispatcher.DispatchHandler {
  readonly outcome: Promise<AttemptOutcome>;
  readonly #call: AttemptCall;
  readonly #resolve: (outcome: AttemptOutcome) => void;
  readonly #collected: Buffer[] = [];
  #collectedBytes = 0;
  #controller: Dispatcher.DispatchController | undefined;
  #head: AnswerHead | undefined;
  #sink: Sink | undefined;
  #arrived: Buffer[] = [];
  #hasEnded = false;
  #abortReason: Error | undefined;
  #sentMs = 0;
  #newestByteMs = 0;
  #hasBegun = false;
  #cancelIdle: () => void = () => {};

  constructor(call: AttemptCall) {
    const { promise, resolve } = Promise.withResolvers<AttemptOutcome>();
    this.outcome = promise;
    this.#call = call;
    this.#resolve = resolve;
  }

  start(): void {
    const { method, path, headers, body, firstByteTimeoutMs } = this.#call;
    try {
      this.#call.dispatcher.dispatch({ method, path, headers, body, headersTimeout: firstByteTimeoutMs }, this);
    } catch (error) {
      this.#fail(toError(error));
    }
  }

  cut(side: CutSide): void {
    this.#deliver();
    if (this.#hasEnded) return;
    const isHandled = this.#sink?.cut(side) ?? false;
    this.#end(isHandled ? { kind: "answered" } : { kind: "cut" }, new Error(`Cut by ${side}`));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#sentMs = this.#call.clock.monotonic();
    if (this.#abortReason) controller.abort(this.#abortReason);
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200 || this.#hasEnded) return;
    this.#head = { status, headers };
    this.#sink = this.#call.accept(this.#head, {
      resume: () => this.#controller?.resume(),
      stop: () => this.#end({ kind: "answered" }, new Error("The answer is not wanted any more")),
    });
    this.#newestByteMs = this.#call.clock.monotonic();
    // Most answers of JSON are whole in the same read, and need no timer.
    process.nextTick(Exchange.watch, this);
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#hasEnded) return;
    if (!this.#sink) {
      this.#collect(chunk);
      return;
    }
    // undici calls once for each piece of chunked encoding, and a model sends each event as one: what came in one read goes on as one.
    if (this.#arrived.push(chunk) === 1) process.nextTick(Exchange.deliver, this);
  }

  onResponseEnd(): void {
    this.#deliver();
    if (this.#hasEnded) return;
    if (this.#head && !this.#sink)
      this.#end({ kind: "declined", head: this.#head, body: Buffer.concat(this.#collected) });
    else if (this.#sink?.end()) this.#end({ kind: "answered" });
    else this.#fail(new Error("The upstream ended before its answer began"));
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#deliver();
    this.#fail(error);
  }

  static watch(exchange: Exchange): void {
    if (!exchange.#hasEnded) exchange.#watchIdle();
  }

  static deliver(exchange: Exchange): void {
    exchange.#deliver();
  }

  #deliver(): void {
    const pieces = this.#arrived;
    const first = pieces[0];
    if (first === undefined || this.#sink === undefined || this.#hasEnded) return;
    this.#arrived = [];
    this.#hasBegun = true;
    this.#newestByteMs = this.#call.clock.monotonic();
    const block = pieces.length === 1 ? first : Buffer.concat(pieces);
    try {
      if (!this.#sink.data(block)) this.#controller?.pause();
    } catch (error) {
      this.#fail(toError(error));
    }
  }

  #collect(chunk: Buffer): void {
    if (this.#collectedBytes + chunk.length > DECLINED_BYTES_MAX) return;
    this.#collected.push(chunk);
    this.#collectedBytes += chunk.length;
  }

  /** One timer that looks when it fires, not one per chunk. */
  #watchIdle(): void {
    const { clock, onStalled } = this.#call;
    this.#cancelIdle = clock.after(this.#patienceMs(), () => {
      if (this.#patienceMs() > 0) this.#watchIdle();
      else if (this.#controller?.paused) onStalled();
      else if (this.#firstByteLeftMs() <= 0) this.#fail(new Error("The answer did not begin in time"), "timeout");
      else this.#fail(new Error("The upstream was silent for too long"));
    });
  }

  /** How much longer it may be silent. */
  #patienceMs(): number {
    const idleLeftMs = this.#newestByteMs + this.#call.idleTimeoutMs - this.#call.clock.monotonic();
    return Math.min(idleLeftMs, this.#firstByteLeftMs());
  }

  /** A head without a byte is no beginning: some servers send it before they think. */
  #firstByteLeftMs(): number {
    if (this.#hasBegun) return Number.POSITIVE_INFINITY;
    return this.#sentMs + this.#call.firstByteTimeoutMs - this.#call.clock.monotonic();
  }

  #fail(error: Error, reason?: FailureReason): void {
    if (this.#hasEnded) return;
    const isHandled = this.#sink?.cut("upstream") ?? false;
    this.#end(isHandled ? { kind: "answered" } : toFailure(error, this.#controller !== undefined, reason), error);
  }

  #end(outcome: AttemptOutcome, reason?: Error): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#abortReason = reason;
    this.#cancelIdle();
    if (reason) this.#controller?.abort(reason);
    this.#resolve(outcome);
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function toFailure(error: Error, hadConnection: boolean, known?: FailureReason): AttemptOutcome {
  const code = "code" in error ? String(error.code) : "";
  const told = code === "UND_ERR_HEADERS_TIMEOUT" ? "timeout" : hadConnection ? "reset" : "connect";
  return { kind: "failed", reason: known ?? told, isSent: hadConnection, error };
}
