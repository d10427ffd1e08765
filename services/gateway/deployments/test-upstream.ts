import type { IncomingHttpHeaders } from "node:http";
import { Dispatcher } from "undici";
import type { Clock } from "#runtime/clock.ts";

/** What an upstream of the laws does with one request, after `ms`. */
export interface Play {
  readonly kind: "whole" | "told" | "status" | "page" | "connect" | "reset" | "cut" | "hang";
  readonly ms: number;
  readonly status: number;
  /** For `told`: the wait that it asks for. */
  readonly waitMs: number;
}

/** What those who watch an upstream learn, in its order. */
export interface Watcher {
  asked(request: Asked): void;
  /** An answer has begun. */
  begun(request: Asked): void;
  ended(request: Asked, play: Play | "gone"): void;
}

export interface Asked {
  readonly deployment: string;
  readonly requestId: string;
}

const EVENT = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n');
const END = Buffer.from('data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}\n\ndata: [DONE]\n\n');
const STREAM = { "content-type": "text/event-stream" };

/** A deployment at the other end of undici's interface, in the time of a fake clock. It answers by its script, then always whole. */
export class ScriptedUpstream extends Dispatcher {
  readonly open = new Set<string>();
  readonly #name: string;
  readonly #plays: Play[];
  readonly #clock: Clock;
  readonly #watcher: Watcher;

  constructor(name: string, plays: readonly Play[], world: { readonly clock: Clock; readonly watcher: Watcher }) {
    super();
    this.#name = name;
    this.#plays = [...plays];
    this.#clock = world.clock;
    this.#watcher = world.watcher;
  }

  /** From now on every answer is whole. */
  heal(): void {
    this.#plays.length = 0;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const headers = new Headers(Object.entries(options.headers ?? {}).map(([name, value]) => [name, String(value)]));
    const request = { deployment: this.#name, requestId: headers.get("x-request-id") ?? "" };
    const play = this.#plays.shift() ?? { kind: "whole", ms: 0, status: 200, waitMs: 0 };
    this.open.add(request.requestId);
    this.#watcher.asked(request);
    const controller = new Controller((reason) =>
      this.#end(request, () => handler.onResponseError?.(controller, reason)),
    );
    const end = (tell: () => void): void => {
      // Who watches must know before what follows from it.
      if (this.open.has(request.requestId)) this.#watcher.ended(request, play);
      this.#end(request, tell, false);
    };
    if (play.kind === "connect") {
      // Refused at once: nobody can leave meanwhile.
      end(() => handler.onResponseError?.(controller, new Error("Refused")));
      return true;
    }
    handler.onRequestStart?.(controller, {});
    if (play.kind === "hang") {
      const error = Object.assign(new Error("No head in time"), { code: "UND_ERR_HEADERS_TIMEOUT" });
      this.#clock.after(options.headersTimeout ?? 0, () => end(() => handler.onResponseError?.(controller, error)));
    } else this.#clock.after(play.ms, () => this.#answer({ request, play, handler, controller, end }));
    return true;
  }

  #answer(run: Run): void {
    const { request, play, handler, controller, end } = run;
    if (!this.open.has(request.requestId)) return;
    const whole = (status: number, headers: IncomingHttpHeaders, body: string): void =>
      end(() => {
        handler.onResponseStart?.(controller, status, headers);
        handler.onResponseData?.(controller, Buffer.from(body));
        handler.onResponseEnd?.(controller, {});
      });
    if (play.kind === "told") whole(play.status, { "retry-after-ms": String(play.waitMs) }, "{}");
    else if (play.kind === "status") whole(play.status, { "content-type": "application/json" }, "{}");
    else if (play.kind === "page") whole(200, { "content-type": "text/html" }, "<html>");
    else if (play.kind === "reset") end(() => handler.onResponseError?.(controller, new Error("Reset")));
    else this.#stream(run);
  }

  #stream({ request, play, handler, controller, end }: Run): void {
    this.#watcher.begun(request);
    handler.onResponseStart?.(controller, 200, STREAM);
    handler.onResponseData?.(controller, EVENT);
    this.#clock.after(play.ms + 1, () => {
      if (!this.open.has(request.requestId)) return;
      end(() => {
        if (play.kind === "cut") handler.onResponseError?.(controller, new Error("Broke off"));
        else {
          handler.onResponseData?.(controller, END);
          handler.onResponseEnd?.(controller, {});
        }
      });
    });
  }

  #end(request: Asked, tell: () => void, isGone = true): void {
    if (!this.open.delete(request.requestId)) return;
    if (isGone) this.#watcher.ended(request, "gone");
    tell();
  }
}

interface Run {
  readonly request: Asked;
  readonly play: Play;
  readonly handler: Dispatcher.DispatchHandler;
  readonly controller: Dispatcher.DispatchController;
  readonly end: (tell: () => void) => void;
}

class Controller implements Dispatcher.DispatchController {
  aborted = false;
  paused = false;
  reason: Error | null = null;
  readonly #onAbort: (reason: Error) => void;
  constructor(onAbort: (reason: Error) => void) {
    this.#onAbort = onAbort;
  }
  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#onAbort(reason);
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
}
