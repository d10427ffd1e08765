import { randomBytes } from "node:crypto";
import type { Clock } from "./clock.ts";

export type SpanKind = "server" | "client" | "internal";
export type SpanAttributes = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** A new span's id: 16 hex digits. */
export function newSpanId(): string {
  return randomBytes(8).toString("hex");
}

/** A span that is over. */
export interface FinishedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly traceState: string | undefined;
  readonly name: string;
  readonly kind: SpanKind;
  /** Milliseconds since the Unix epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: SpanAttributes;
  /** Set when it failed: no text of people or models, a code of ours. */
  readonly error: string | undefined;
}

/** Sends spans away; rejects when it could not. */
export interface SpanSender {
  send(spans: readonly FinishedSpan[]): Promise<void>;
  close(): Promise<void>;
}

/** Takes spans off the path of requests: what it costs them is a push into a list. */
export interface Tracer {
  /** Share of traces without a parent that are recorded, 0 to 1. */
  readonly ratio: number;
  /** Never fails and never waits: what is too much is dropped and counted. */
  end(span: FinishedSpan): void;
  /** Sends what is left, for at most `deadlineMs`. */
  stop(deadlineMs: number): Promise<void>;
}

export interface TracerOptions {
  readonly ratio: number;
  readonly sender: SpanSender;
  readonly clock: Clock;
  /** Spans by what became of them: `sent`, `failed` or `dropped`. */
  readonly note: (result: "sent" | "failed" | "dropped", spans: number) => void;
}

/** Spans that wait: about 2 MB. */
export const WAITING_MAX = 2048;
const BATCH_MAX = 256;
const WAIT_MS = 2_000;

export function createTracer({ ratio, sender, clock, note }: TracerOptions): Tracer {
  let waiting: FinishedSpan[] = [];
  let isSending = false;
  let cancel: (() => void) | undefined;

  const sendBatch = async (): Promise<void> => {
    const batch = waiting.slice(0, BATCH_MAX);
    waiting = waiting.slice(batch.length);
    try {
      await sender.send(batch);
      note("sent", batch.length);
    } catch {
      note("failed", batch.length);
    }
  };
  const sendAll = async (): Promise<void> => {
    cancel?.();
    cancel = undefined;
    if (isSending) return;
    isSending = true;
    while (waiting.length > 0) await sendBatch();
    isSending = false;
  };
  return {
    ratio,
    end(span) {
      if (waiting.length >= WAITING_MAX) {
        note("dropped", 1);
        return;
      }
      waiting.push(span);
      if (waiting.length === BATCH_MAX) {
        cancel?.();
        cancel = undefined;
      }
      cancel ??= clock.after(waiting.length >= BATCH_MAX ? 0 : WAIT_MS, () => void sendAll());
    },
    async stop(deadlineMs) {
      const over = new AbortController();
      const drained = async (): Promise<void> => {
        while (waiting.length > 0 || isSending) {
          await sendAll();
          if (isSending) await clock.sleep(20, over.signal);
        }
      };
      await Promise.race([
        drained().catch(() => undefined),
        clock.sleep(deadlineMs, over.signal).catch(() => undefined),
      ]);
      over.abort(new Error("Stopped"));
      if (waiting.length > 0) note("dropped", waiting.length);
      waiting = [];
      await sender.close();
    },
  };
}
