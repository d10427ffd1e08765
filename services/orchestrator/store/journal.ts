import type { IncompleteReason, ResponseStatus } from "../responses/response.ts";
import type { OutputItem, Usage } from "../responses/items.ts";
import type { CreateRequest } from "../responses/request.ts";
import type { StreamEvent } from "../responses/stream.ts";

/** The shapes of the journal: what a run has written down so that a crash loses and repeats nothing (orchestrator.md, 10). */
export interface RunRecord {
  readonly id: string;
  /** Rises with every owner; a write that carries an older one is refused. */
  readonly epoch: number;
  readonly owner: string;
  /** The verified principal that the run acts for. */
  readonly principal: string;
  /** The verified subject that brought the request. */
  readonly caller: string;
  readonly idempotencyKey: string | null;
  readonly requestDigest: string;
  readonly request: CreateRequest;
  /** The agent's name. */
  readonly model: string;
  readonly createdAtMs: number;
  readonly completedAtMs: number | null;
  readonly status: ResponseStatus;
  readonly incompleteReason: IncompleteReason | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly usage: Usage;
}

export type NewRun = Pick<
  RunRecord,
  "id" | "owner" | "principal" | "caller" | "idempotencyKey" | "requestDigest" | "request" | "model" | "createdAtMs"
>;

/** How the model ended a turn. */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter";

/** How a turn came to its end. Adopted: no model gave it; its calls are those that an earlier response left waiting. */
type TurnFinish = FinishReason | "adopted";

/** One answer of the model. Recorded before a call of it is made; a recorded one is never asked again. */
export interface TurnRecord {
  readonly number: number;
  readonly text: string;
  readonly finish: TurnFinish;
  readonly usage: Usage;
}

/** `planned`, perhaps `waiting` for a person, `started`; then one of the last three. */
type CallState = "planned" | "waiting" | "started" | "done" | "failed" | "unknown";

export interface CallRecord {
  readonly turn: number;
  readonly position: number;
  /** Unique in the run, whatever the model said. */
  readonly callId: string;
  readonly itemId: string;
  /** Client: a function of the request, answered by the caller in the next one. */
  readonly kind: "Tool" | "Client";
  readonly name: string;
  /** Server and function as configured; empty when the model invented the name. */
  readonly server: string;
  readonly tool: string;
  readonly arguments: string;
  readonly state: CallState;
  /** What the model reads; nothing before the end. */
  readonly result: string | null;
  /** The Approval that the call waits for, or was made by. Once set, the call runs by an approval alone. */
  readonly approval: string | null;
}

/** How an approval ended, as a run has learnt it. */
export type ApprovalOutcome = "approved" | "denied" | "timed_out" | "stale";

/** A question to a person. Run and call are those that asked first; a later response of the conversation may make the call. */
export interface AskedApproval {
  readonly name: string;
  readonly uid: string;
  readonly digest: string;
  readonly runId: string;
  readonly callId: string;
  /** The rule that asked. */
  readonly rule: string;
  readonly askedAtMs: number;
  readonly expiresAtMs: number;
}

/** A call that has used an approval. */
interface ApprovalClaim extends RunRef, CallRef {}

export interface ApprovalRecord extends AskedApproval {
  readonly outcome: ApprovalOutcome | null;
  readonly claim: ApprovalClaim | null;
}

/** A turn with its calls, in the model's order. */
export interface Turn extends TurnRecord {
  readonly calls: readonly CallRecord[];
}

/** The number of a fact. */
export type FactSequence = number;

/** A countable fact: its sequence is stored beside the counter. */
export interface Fact {
  readonly sequence: FactSequence;
  readonly dimension: string;
  readonly amount: number;
}

/** Which run writes, and as whose owner: every write is refused when another owner has taken over. */
export interface RunRef {
  readonly id: string;
  readonly epoch: number;
}

export interface CallRef {
  readonly turn: number;
  readonly position: number;
}

/** A run was written to by an owner that no longer owns it. */
export class FencedError extends Error {
  constructor(run: RunRef) {
    super(`Cannot write to run ${run.id} as epoch ${run.epoch} no longer owns it`);
    this.name = "FencedError";
  }
}

/** An approval was used by another call meanwhile. */
export class ClaimedError extends Error {
  constructor(name: string) {
    super(`Cannot use approval ${name} as it has been used`);
    this.name = "ClaimedError";
  }
}

export interface RunEnd {
  readonly status: Exclude<ResponseStatus, "in_progress">;
  readonly incompleteReason: IncompleteReason | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly completedAtMs: number;
  /** When the record may be forgotten; nothing forgets it with the run's end. */
  readonly expiresAtMs: number | null;
  /** Where the run's completion is counted: the life of the counters. Nothing: it is not counted. */
  readonly countIn: string | null;
}

interface CallStart {
  readonly key: string;
  readonly startedAtMs: number;
  /** The life of the counters that the call is counted in. */
  readonly countIn: string;
  /** The approval that the call is made by, and uses up. */
  readonly approval: string | null;
}

export interface CallEnd {
  readonly state: "done" | "failed" | "unknown";
  readonly result: string;
  readonly event: StreamEvent;
  /** What the call has used, counted with its end: once, since a call ends once. */
  readonly usage?: {
    readonly countIn: string;
    readonly atMs: number;
    readonly amounts: readonly { readonly dimension: string; readonly amount: number }[];
  };
}

/**
 * The store behind a run. Every method is one transaction, durable when it returns, and synchronous: nothing else of this
 * process comes between a row and the counter that follows it.
 */
export interface Journal {
  openRun(run: NewRun, event: StreamEvent): RunRecord;
  run(id: string): RunRecord | undefined;
  runByKey(principal: string, key: string): RunRecord | undefined;
  /** Runs in progress, oldest first. */
  unfinished(): readonly RunRecord[];
  /** Takes a run over: a new epoch, this owner. */
  claim(id: string, owner: string): RunRecord;
  turns(id: string): readonly Turn[];
  output(id: string): readonly OutputItem[];
  /** The number after the last stored event. */
  nextSequence(id: string): number;
  appendTurn(run: RunRef, turn: Turn, events: readonly StreamEvent[]): void;
  appendEvents(run: RunRef, events: readonly StreamEvent[]): void;
  /** The call waits for a person; with the event that shows it, unless it was shown before. */
  parkCall(run: RunRef, call: CallRef, parked: { readonly asked: AskedApproval; readonly event?: StreamEvent }): void;
  approval(name: string): ApprovalRecord | undefined;
  /** Writes down how an approval ended. False when that was known. */
  settleApproval(name: string, outcome: ApprovalOutcome): boolean;
  /** Approvals that nobody has decided, as far as known, and whose time is not over. */
  approvalsWaiting(nowMs: number): number;
  /** One call as it is now; nothing when its run is forgotten. */
  call(ref: CallRef & Pick<RunRef, "id">): CallRecord | undefined;
  /**
   * Returns the fact that was written with it. A call with an approval claims it in the same transaction: throws
   * ClaimedError when another call has.
   */
  startCall(run: RunRef, call: CallRef, start: CallStart): FactSequence;
  /** Takes a start back, with its fact and its claim, of a call that never left. The fact must not have been counted. */
  undoStart(run: RunRef, call: CallRef, fact: FactSequence): void;
  endCall(run: RunRef, call: CallRef, end: CallEnd): void;
  /** Returns the fact that was written with it, if any. */
  endRun(run: RunRef, end: RunEnd, event: StreamEvent): FactSequence | undefined;
  /** Takes back a fact that has not been counted. */
  retract(fact: FactSequence): void;
  /** Removes an ended run with all it wrote; facts stay. */
  removeRun(id: string): void;
  /** Calls of the agent's own tools that the run has started. */
  callsStarted(id: string): number;
  callsInRun(id: string, tool: { readonly server: string; readonly tool: string }): number;
  callsSince(sinceMs: number, tool: { readonly server: string; readonly tool: string }): number;
  /** The digest pinned for a function, this one if none was under this generation. */
  pin(definition: { server: string; tool: string; digest: string; generation: number }): string;
  /** Facts of one life of the counters after a sequence, in order. */
  factsAfter(countIn: string, sequence: number): readonly Fact[];
  /** No later fact gets a sequence up to this one, should the journal be younger than the counters. */
  reserveSequence(sequence: number): void;
  /** Forgets expired responses and facts that nobody needs. Returns how many responses. */
  prune(nowMs: number, counted: { readonly countIn: string; readonly sequence: number }): number;
  close(): void;
}
