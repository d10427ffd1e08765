import { Refusal } from "#core/errors.ts";
import { type AnswerOptions, type AnswerReport, createJsonSink, refuse } from "../../upstream/answer.ts";
import type { Sink } from "../../upstream/attempt.ts";
import { hasFilterError, isFilterDown } from "../../upstream/content-filter.ts";
import type { CutSide } from "../../turn.ts";
import { readAnswer } from "../../wire/answer-facts.ts";
import { toRefusal } from "../../wire/refuse.ts";
import { judgeUnchecked, type OutputCheck } from "./verdict.ts";
import { type CheckedAnswer, checkAnswer, checkAnswerLater } from "./whole-answer.ts";

/** Above this size an answer is not checked: `failureMode` says what becomes of it. A model's longest answers have some 0.5 MiB. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** A longer one is checked in turns with other work: this many bytes take some 3 ms. */
const AT_ONCE_BYTES_MAX = 256 * 1024;
const TAIL_BYTES = 64 * 1024;

/** A JSON answer that is held whole until its guardrails have spoken; what may pass goes the way of all answers. */
export function createGuardedJsonSink(options: AnswerOptions, check: OutputCheck): Sink {
  return new GuardedJsonSink(options, check);
}

class GuardedJsonSink implements Sink {
  readonly #options: AnswerOptions;
  readonly #check: OutputCheck;
  /** What came; of an answer that is too long and refused, its end. */
  #chunks: Buffer[] = [];
  #size = 0;
  #filterDown = false;
  #refusal: Refusal | undefined;
  /** Takes what may pass. */
  #passing: Sink | undefined;
  #isSettled = false;

  constructor(options: AnswerOptions, check: OutputCheck) {
    this.#options = options;
    this.#check = check;
  }

  data(chunk: Buffer): boolean {
    if (this.#passing !== undefined) return this.#passing.data(chunk);
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#refusal !== undefined) this.#keepTail();
    else if (this.#size > ANSWER_BYTES_MAX) return this.#giveUp();
    return true;
  }

  end(): boolean {
    if (this.#passing !== undefined) return this.#passing.end();
    const bytes = Buffer.concat(this.#chunks);
    this.#chunks = [bytes];
    if (this.#refusal !== undefined) this.#refuse(this.#refusal);
    else if (this.#check.guardrails.hasRemote || bytes.length > AT_ONCE_BYTES_MAX) this.#wait(bytes);
    else this.#finish(checkAnswer(this.#check, bytes));
    return true;
  }

  cut(side: CutSide): boolean {
    if (this.#passing !== undefined) return this.#passing.cut(side);
    if (side !== "client") return false;
    this.#settle({ cutBy: side }, () => this.#options.turn.response.destroy());
    return true;
  }

  /** Too long to be checked: all of it passes as it comes, or nothing does and it is only counted. */
  #giveUp(): boolean {
    this.#refusal = judgeUnchecked(this.#check, "too_long");
    if (this.#refusal === undefined) return this.#pass(Buffer.concat(this.#chunks));
    this.#keepTail();
    return true;
  }

  #keepTail(): void {
    const seen = Buffer.concat(this.#chunks);
    this.#filterDown ||= hasFilterError(seen);
    this.#chunks = [seen.subarray(-TAIL_BYTES)];
  }

  #finish(checked: CheckedAnswer): void {
    if (this.#isSettled) return;
    if (checked.refusal !== undefined) {
      this.#refuse(checked.refusal);
      return;
    }
    this.#pass(checked.bytes);
    this.#passing?.end();
  }

  /** Counted by what the model wrote, not by what labels have made of it. */
  #pass(bytes: Buffer): boolean {
    const { settle } = this.#options;
    const dropped = this.#size - bytes.length;
    this.#passing = createJsonSink({
      ...this.#options,
      settle: (report, answer) => settle({ ...report, outputBytes: report.outputBytes + dropped }, answer),
    });
    this.#chunks = [];
    return this.#passing.data(bytes);
  }

  #refuse(refusal: Refusal, cutBy?: CutSide): void {
    this.#settle({ refusal, ...(cutBy === undefined ? {} : { cutBy }) }, (failure = refusal) =>
      refuse(this.#options, failure),
    );
  }

  #settle(end: Pick<AnswerReport, "refusal" | "cutBy">, answer: (failure: Refusal | undefined) => void): void {
    this.#isSettled = true;
    const bytes = Buffer.concat(this.#chunks);
    this.#chunks = [];
    const filterDown = this.#filterDown || isFilterDown(bytes);
    const facts = readAnswer(bytes, this.#options.turn.trace);
    this.#options.settle({ ...facts, outputBytes: this.#size, filterDown, ...end }, answer);
  }

  /** The upstream has ended; the request goes on until the answer is checked. */
  #wait(bytes: Buffer): void {
    const cut = new AbortController();
    const { turn } = this.#options;
    const checking = checkAnswerLater(this.#check, bytes, cut.signal);
    turn.answering = {
      ended: checking.then(
        (checked) => this.#finish(checked),
        (error: unknown) => {
          if (!this.#isSettled) this.#refuse(toRefusal(error));
        },
      ),
      cut: (side) => {
        if (this.#isSettled) return;
        if (side === "client") this.#settle({ cutBy: side }, () => turn.response.destroy());
        else this.#refuse(new Refusal("draining", "Cannot finish the request as the pod is being replaced"), side);
        cut.abort();
      },
    };
  }
}
