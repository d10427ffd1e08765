import type { Context } from "koa";
import type { Clock } from "#runtime/clock.ts";
import { goneSignal } from "./endpoint.ts";
import { countTokens } from "./model-prompt.ts";

/** One server-sent event and the bytes of answer in it (0 for frames that only frame). */
export interface Frame {
  readonly event?: string;
  /** JSON text, or `[DONE]`. */
  readonly data: string;
  readonly deltaBytes: number;
}

/** How a stream ended, and how many tokens went out. */
export interface StreamEnd {
  readonly end: "Completed" | "ClientGone" | "Died";
  /** Tokens of the deltas that were written, by bytes. */
  readonly sentTokens: number;
}

export interface Pace {
  readonly clock: Clock;
  readonly delayMs: number;
  readonly dieAfterChunks?: number;
}

/** Writes frames as server-sent events at a pace, with back-pressure; stops at once when the client leaves. */
export async function writeFrames(context: Context, frames: Iterable<Frame>, pace: Pace): Promise<StreamEnd> {
  const gone = goneSignal(context);
  const { res } = context;
  context.respond = false;
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  res.flushHeaders();
  let sentBytes = 0;
  let chunks = 0;
  for (const frame of frames) {
    if (frame.deltaBytes > 0 && pace.dieAfterChunks !== undefined && chunks >= pace.dieAfterChunks) {
      context.req.socket.destroy();
      return { end: "Died", sentTokens: countTokens(sentBytes) };
    }
    if (!(await writeFrame(context, frame, { pace, gone })))
      return { end: "ClientGone", sentTokens: countTokens(sentBytes) };
    sentBytes += frame.deltaBytes;
    if (frame.deltaBytes > 0) chunks += 1;
  }
  res.end();
  return { end: "Completed", sentTokens: countTokens(sentBytes) };
}

/** Pieces of a text of about `chunkTokens` tokens each, never inside a character. */
export function* splitText(text: string, chunkTokens: number): Iterable<string> {
  let piece = "";
  let bytes = 0;
  for (const char of text) {
    piece += char;
    bytes += Buffer.byteLength(char);
    if (bytes < chunkTokens * 4) continue;
    yield piece;
    piece = "";
    bytes = 0;
  }
  if (piece !== "") yield piece;
}

/** A frame of answer text. */
export function deltaFrame(payload: unknown, delta: string, event?: string): Frame {
  const deltaBytes = Buffer.byteLength(delta);
  return { data: JSON.stringify(payload), deltaBytes, ...(event === undefined ? {} : { event }) };
}

async function writeFrame(
  context: Context,
  frame: Frame,
  how: { readonly pace: Pace; readonly gone: AbortSignal },
): Promise<boolean> {
  try {
    if (frame.deltaBytes > 0 && how.pace.delayMs > 0) await how.pace.clock.sleep(how.pace.delayMs, how.gone);
    how.gone.throwIfAborted();
    const line = frame.event === undefined ? "" : `event: ${frame.event}\n`;
    if (!context.res.write(`${line}data: ${frame.data}\n\n`)) await drained(context, how.gone);
    return true;
  } catch {
    return false;
  }
}

function drained(context: Context, gone: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(new Error("The client left"));
    gone.addEventListener("abort", leave, { once: true });
    context.res.once("drain", () => {
      gone.removeEventListener("abort", leave);
      resolve();
    });
  });
}
