import type { Refusal } from "#core/errors.ts";
import { type JsonNode, memberOf, parseJsonTree, type Splice, spliceBytes } from "../../wire/json-tree.ts";
import { eventsOf } from "../../wire/sse.ts";
import { changeChatEvent, raw } from "./chat-events.ts";
import { type EventWithData, withData } from "./event-data.ts";
import { changeResponsesEvent } from "./responses-events.ts";
import type { OutputGuardrail } from "./output-guardrail.ts";
import { createStreamTexts, type StreamTexts, type Tail } from "./stream-texts.ts";
import { judge, judgeUnchecked, type OutputCheck, resultOf } from "./verdict.ts";

/** Goes over the events of one stream with the guardrails that ask nobody. */
export interface EventRewriter {
  /** Takes whole events; gives those that may go out now. Nothing after a refusal. */
  push(block: Buffer): Buffer;
  /** Why nothing more may go out. */
  refusal(): Refusal | undefined;
  /** Events of its own so far. */
  added(): number;
  /** Writes down what was found. Once, when the stream ends, however it does. */
  close(): void;
  /** An event could not be read, and what follows passes: all guardrails have said so. */
  isGivenUp(): boolean;
}

export interface EventRewriterOptions {
  readonly check: OutputCheck;
  /** Hears each piece of text as it goes out. */
  readonly heard?: ((key: string, text: string) => void) | undefined;
}

const NOTHING: Buffer = Buffer.alloc(0);
const DONE = "[DONE]";

export function createEventRewriter(options: EventRewriterOptions): EventRewriter {
  return new Rewriter(options);
}

class Rewriter implements EventRewriter {
  readonly #check: OutputCheck;
  readonly #locals: readonly OutputGuardrail[];
  readonly #texts: StreamTexts;
  #refusal: Refusal | undefined;
  /** Events of ours so far: numbers that follow are higher by that. */
  #added = 0;
  /** An event could not be read, and what follows passes. */
  #isGivenUp = false;
  #isClosed = false;

  constructor({ check, heard }: EventRewriterOptions) {
    this.#check = check;
    this.#locals = check.guardrails.list.filter(({ kind }) => kind === "local");
    this.#texts = createStreamTexts({ guardrails: this.#locals, heard });
  }

  push(block: Buffer): Buffer {
    const out: Buffer[] = [];
    for (const event of eventsOf(block)) {
      if (this.#isGivenUp) out.push(event);
      else this.#change(event, out);
      if (this.#hasRejected()) this.close();
      if (this.#refusal !== undefined) return NOTHING;
    }
    return out.length === 1 && out[0] !== undefined ? out[0] : Buffer.concat(out);
  }

  refusal(): Refusal | undefined {
    return this.#refusal;
  }

  added(): number {
    return this.#added;
  }

  isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#isGivenUp) return;
    for (const [index, guardrail] of this.#locals.entries()) {
      const tally = this.#texts.tallies[index];
      if (tally) this.#refusal ??= judge(this.#check, guardrail, resultOf(tally));
    }
  }

  #change(event: Buffer, out: Buffer[]): void {
    const found = withData(event);
    const data = found?.event.subarray(found.start, found.end);
    if (data && isDone(data)) this.#addTails(this.#texts.end(""), out);
    if (found === undefined || data === undefined || isDone(data)) out.push(event);
    else this.#changeJson(found, data, out);
  }

  #changeJson(found: EventWithData, data: Buffer, out: Buffer[]): void {
    const { event } = found;
    const root = parseJsonTree(data);
    const changeEvent = this.#check.shape === "chat" ? changeChatEvent : changeResponsesEvent;
    const changed = root && changeEvent(data, root, this.#texts);
    if (root === undefined || changed === undefined) {
      this.#giveUp(event, out);
      return;
    }
    const number = sequenceOf(data, root);
    this.#addTails(changed.before, out, number?.value);
    const splices = [...changed.splices, ...(number && this.#added > 0 ? [number.plus(this.#added)] : [])];
    out.push(splices.length === 0 ? event : spliceEvent(found, splices));
  }

  /** What has waited of texts that have ended goes out in events of ours. */
  #addTails(tails: readonly Tail[], out: Buffer[], sequence = 0): void {
    for (const { text, toEvent } of tails) {
      out.push(Buffer.from(toEvent(text, sequence + this.#added)));
      this.#added += 1;
    }
  }

  #giveUp(event: Buffer, out: Buffer[]): void {
    this.#addTails(this.#texts.end(""), out);
    if (this.#hasRejected()) return;
    this.#isGivenUp = true;
    this.#refusal = judgeUnchecked(this.#check, "unreadable_answer");
    out.push(event);
  }

  #hasRejected(): boolean {
    const { tallies } = this.#texts;
    return this.#locals.some(({ action }, index) => action === "Reject" && (tallies[index]?.counts.size ?? 0) > 0);
  }
}

function isDone(data: Buffer): boolean {
  return data.toString("latin1", 0, DONE.length + 2).trim() === DONE;
}

function spliceEvent({ event, start }: EventWithData, splices: readonly Splice[]): Buffer {
  const inOrder = splices.length === 1 ? splices : splices.toSorted((a, b) => a.start - b.start);
  return spliceBytes(
    event,
    inOrder.map((splice) => ({ start: splice.start + start, end: splice.end + start, text: splice.text })),
  );
}

interface SequenceNumber {
  readonly value: number;
  readonly plus: (added: number) => Splice;
}

/** The number of an event of Responses. */
function sequenceOf(data: Buffer, root: JsonNode): SequenceNumber | undefined {
  const node = memberOf(root, "sequence_number");
  const value = Number(node?.kind === "other" ? raw(data, node) : Number.NaN);
  if (node === undefined || !Number.isSafeInteger(value)) return undefined;
  return { value, plus: (added) => ({ start: node.start, end: node.end, text: String(value + added) }) };
}
