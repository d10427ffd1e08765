import type { ServerResponse } from "node:http";
import type { Clock } from "#runtime/clock.ts";
import type { StreamEvent } from "./stream.ts";

/** Comments keep proxies from closing a stream that waits for a slow tool. */
const KEEP_ALIVE_MS = 15_000;
/** A client that reads slower than this much behind is let go; the run's end can be read by GET. */
const BUFFERED_MAX_BYTES = 8 * 1024 * 1024;

/** The frame of one event: `event:` equals `type`, no `id:` (orchestrator.md, 3). */
export function encodeEvent(event: StreamEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

export interface EventWriter {
  write(event: StreamEvent): void;
  /** Writes the last line and ends the answer. */
  end(): void;
}

/** Begins an event stream on an answer. Writes after the client left are dropped. */
export function startEventStream(response: ServerResponse, clock: Clock): EventWriter {
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
  });
  response.flushHeaders();
  const send = (text: string): void => {
    if (response.destroyed || response.writableEnded) return;
    response.write(text);
    if (response.writableLength > BUFFERED_MAX_BYTES) response.destroy();
  };
  let cancel = (): void => {};
  const keepAlive = (): void => {
    send(": keep-alive\n\n");
    if (!response.destroyed && !response.writableEnded) cancel = clock.after(KEEP_ALIVE_MS, keepAlive);
  };
  cancel = clock.after(KEEP_ALIVE_MS, keepAlive);
  response.once("close", () => cancel());
  return {
    write: (event) => send(encodeEvent(event)),
    end() {
      cancel();
      send("data: [DONE]\n\n");
      response.end();
    },
  };
}
