import type { RunRecord, Journal } from "./store/journal.ts";
import type { Clock } from "#runtime/clock.ts";
import type { HoldResult } from "#runtime/holds.ts";
import type { Logger } from "#runtime/log.ts";
import type { Approvals } from "./approvals/port.ts";
import type { FactCounter } from "./counting.ts";
import type { Live } from "./live.ts";
import type { ToolServers } from "./mcp.ts";
import type { RunMetrics } from "./metrics.ts";
import type { AskModel } from "./model.ts";
import type { OutputItem } from "./responses/items.ts";
import type { RunStream } from "./responses/stream.ts";
import type { OpenSpan, Tracing } from "./trace.ts";

/** Everything outside that a run needs. */
export interface RunWorld {
  readonly journal: Journal;
  readonly counter: FactCounter;
  readonly live: Live;
  readonly servers: ToolServers;
  /** Nothing: this pod has no way to ask people, and what needs one is refused. */
  readonly approvals: Approvals | undefined;
  readonly ask: AskModel;
  readonly metrics: RunMetrics;
  readonly clock: Clock;
  readonly tracer: Tracing["tracer"];
  readonly log: Logger;
  /** A new id: `resp`, `msg`, `fc`, `mcp`, `call`. */
  readonly newId: (prefix: string) => string;
  /** Longest wait for one tool call. */
  readonly toolTimeoutMs: number;
}

/** A run that this process carries on. */
export interface ActiveRun {
  readonly record: RunRecord;
  readonly stream: RunStream;
  /** Finished items, in order; what the journal holds. */
  readonly output: OutputItem[];
  /** What the run holds of the plan's hard limits until its end. Refused: its completion is not counted. */
  readonly hold: HoldResult;
  /** Its span; its calls of model and tools are spans under it. */
  readonly span: OpenSpan;
  /** Aborted with a RunStop: the run ends at its next safe point. */
  readonly signal: AbortSignal;
}

/** Why a run must end before its answer: its client left, or this pod goes. */
export class RunStop extends Error {
  readonly why: "cancelled" | "draining";
  constructor(why: "cancelled" | "draining") {
    super(why === "cancelled" ? "The client left" : "The pod is being replaced");
    this.name = "RunStop";
    this.why = why;
  }
}
