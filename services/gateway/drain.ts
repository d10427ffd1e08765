import type { Clock } from "#runtime/clock.ts";
import type { RunningServer } from "#runtime/server.ts";
import type { Gateway } from "./gateway.ts";

export interface DrainOptions {
  readonly server: RunningServer;
  /** From the signal to the end of what is still in flight. */
  readonly deadlineMs: number;
  readonly clock: Clock;
}

/** While Services and load balancers learn that the pod goes, it still serves. */
const ACCEPTING_MS_MAX = 3_000;
/** At the deadline streams get a last event; so long for it to be sent. */
const CUT_MS = 1_500;
const POLL_MS = 50;

/**
 * The end of a pod (the caller has already made it not ready): serve a little longer, stop listening, let what is in flight end,
 * cut and count what has not ended by the deadline. Resolves when every connection is closed.
 */
export async function drain(gateway: Gateway, options: DrainOptions): Promise<void> {
  const { clock, server } = options;
  const startMs = clock.monotonic();
  const leftMs = (): number => Math.max(0, options.deadlineMs - (clock.monotonic() - startMs));
  await clock.sleep(Math.min(ACCEPTING_MS_MAX, options.deadlineMs / 4));
  gateway.isClosed = true;
  const closed = server.stop(leftMs() + CUT_MS);
  while (gateway.turns.size > 0 && leftMs() > 0) {
    closeWhenDone(gateway);
    await clock.sleep(Math.min(POLL_MS, leftMs() + 1));
    server.server.closeIdleConnections();
  }
  for (const turn of gateway.turns) turn.cutter.cut("drain");
  await clock.sleep(POLL_MS);
  server.server.closeIdleConnections();
  await closed;
}

/** Answers that have not begun tell their client to use another connection next time. */
function closeWhenDone(gateway: Gateway): void {
  for (const turn of gateway.turns) if (!turn.response.headersSent) turn.response.shouldKeepAlive = false;
}
