import type { Refusal } from "#core/errors.ts";
import type { CheckResult } from "../check.ts";
import { decideGuardrail } from "../guardrail.ts";
import { toRefusal } from "../../wire/refuse.ts";
import type { OutputGuardrail } from "./output-guardrail.ts";
import { judge, type OutputCheck, refusalOf } from "./verdict.ts";

/** Who takes what the gate lets through. */
export interface GateOutlet {
  /** These events may go out. Called with none as well when the last verdict is there. */
  readonly pass: (events: readonly Buffer[]) => void;
  /** Nothing more may go out. */
  readonly refuse: (refusal: Refusal) => void;
  /** There is room again. */
  readonly resume: () => void;
}

/** Holds the events of a stream until somebody has judged the text in them, a window at a time. */
export interface WindowGate {
  /** Before the first event. */
  open(outlet: GateOutlet): void;
  /** A piece of a text of the events that come next. */
  hear(key: string, text: string): void;
  /** Takes events; `isComplete`: the stream's own end is among them. False when the upstream should wait. */
  take(events: readonly Buffer[], isComplete: boolean): boolean;
  /** Whether nothing is held and nobody is asked. */
  isIdle(): boolean;
  /** Drops what is held and asks nobody any more. */
  stop(): void;
  /** Writes down what each has said. Once. */
  close(): void;
}

/** New text of a window, in UTF-16 units; with what it shares with the one before it is one text record of Azure's. */
const WINDOW_UNITS = 800;
const OVERLAP_UNITS = 200;
const HELD_BYTES_MAX = 256 * 1024;

type Remote = Extract<OutputGuardrail, { kind: "remote" }>;

export function createWindowGate(check: OutputCheck): WindowGate {
  return new Gate(check);
}

class Gate implements WindowGate {
  readonly #check: OutputCheck;
  readonly #remotes: readonly Remote[];
  /** Who only watches and lets pass what it cannot check keeps nobody waiting, but for the end. */
  readonly #holds: boolean;
  readonly #cut = new AbortController();
  readonly #results = new Map<Remote, CheckResult>();
  readonly #before = new Map<string, string>();
  #texts = new Map<string, string>();
  #units = 0;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #isComplete = false;
  #isAsking = false;
  #isFull = false;
  #isClosed = false;
  #outlet: GateOutlet | undefined;

  constructor(check: OutputCheck) {
    this.#check = check;
    this.#remotes = check.guardrails.list.filter((guardrail) => guardrail.kind === "remote");
    this.#holds = this.#remotes.some(({ action, failureMode }) => action !== "Alert" || failureMode === "Closed");
  }

  open(outlet: GateOutlet): void {
    this.#outlet = outlet;
  }

  hear(key: string, text: string): void {
    if (text === "") return;
    this.#texts.set(key, (this.#texts.get(key) ?? "") + text);
    this.#units += text.length;
  }

  take(events: readonly Buffer[], isComplete: boolean): boolean {
    if (this.#cut.signal.aborted) return true;
    for (const event of events) {
      this.#held.push(event);
      this.#heldBytes += event.length;
    }
    this.#isComplete ||= isComplete;
    this.#goOn();
    this.#isFull = this.#heldBytes >= HELD_BYTES_MAX;
    return !this.#isFull;
  }

  isIdle(): boolean {
    return !this.#isAsking && this.#held.length === 0;
  }

  stop(): void {
    this.#cut.abort();
    this.#held = [];
    this.#heldBytes = 0;
    this.#isAsking = false;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const remote of this.#remotes) {
      const result = this.#results.get(remote);
      if (result !== undefined) judge(this.#check, remote, result);
    }
  }

  #goOn(): void {
    if (this.#isAsking || this.#cut.signal.aborted) return;
    if (this.#units === 0) {
      if (this.#held.length > 0) this.#outlet?.pass(this.#letGo());
      return;
    }
    if (!this.#isDue()) return;
    const texts = this.#nextWindow();
    this.#isAsking = true;
    const events = this.#letGo();
    const isLate = !this.#holds && !this.#isComplete;
    if (isLate) this.#outlet?.pass(events);
    this.#ask(texts).then(
      (refusal) => this.#judged(isLate ? [] : events, refusal),
      (error: unknown) => this.#judged([], toRefusal(error)),
    );
  }

  #isDue(): boolean {
    return this.#isComplete || this.#units >= WINDOW_UNITS || this.#heldBytes >= HELD_BYTES_MAX;
  }

  #letGo(): readonly Buffer[] {
    const events = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    return events;
  }

  /** Each text that has gone on, behind the end of what was asked about before: harm may stand over the seam. */
  #nextWindow(): string[] {
    const texts = [...this.#texts].map(([key, text]) => {
      const whole = (this.#before.get(key) ?? "") + text;
      this.#before.set(key, whole.slice(-OVERLAP_UNITS));
      return whole;
    });
    this.#texts = new Map();
    this.#units = 0;
    return texts;
  }

  async #ask(texts: readonly string[]): Promise<Refusal | undefined> {
    for (const remote of this.#remotes) {
      const result = await remote.check(texts, this.#cut.signal);
      if (this.#cut.signal.aborted) return undefined;
      this.#results.set(remote, worseOf(this.#results.get(remote), result));
      const refusal = refusalOf(remote.name, decideGuardrail(remote, result));
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #judged(events: readonly Buffer[], refusal: Refusal | undefined): void {
    if (this.#cut.signal.aborted) return;
    this.#isAsking = false;
    if (refusal !== undefined) {
      this.stop();
      this.#outlet?.refuse(refusal);
      return;
    }
    this.#outlet?.pass(events);
    this.#goOn();
    if (!this.#isFull || this.#heldBytes >= HELD_BYTES_MAX) return;
    this.#isFull = false;
    this.#outlet?.resume();
  }
}

/** What a record tells of many windows: a hit before a failure, and that before nothing. */
function worseOf(before: CheckResult | undefined, now: CheckResult): CheckResult {
  if (before === undefined || before.kind === "clean") return now;
  return before.kind === "failed" && now.kind === "hit" ? now : before;
}
