import { isFilterDownAt } from "./content-filter.ts";
import { createEventScan, type DeltaKeys, scanEvents } from "../wire/event-scan.ts";
import { finishReasonsOf } from "../wire/answer-facts.ts";
import { eventAround, eventData } from "../wire/sse.ts";
import { type TokenUsage, toTokenUsage } from "../wire/usage.ts";

export interface StreamWatchOptions {
  /** We asked for usage in the client's stead: the chunk that carries it alone is dropped. */
  readonly dropsUsageChunk: boolean;
  /** Whose deltas are added up for the case that the stream is cut; none where usage is counted elsewhere. */
  readonly deltas: DeltaKeys;
}

/** Reads along with a stream of whole events; it parses those alone that carry usage. */
export interface StreamWatch {
  /** Takes a block of whole events, gives back what the client should get of it: all of it, or the parts beside what is dropped. */
  observe(block: Buffer): readonly Buffer[];
  /** Reported usage, once it came. */
  usage(): TokenUsage | undefined;
  /** Whether the stream has said that it is complete: `[DONE]`, or the last event of a response. */
  isComplete(): boolean;
  /** Bytes of text and arguments in deltas so far: what a cut stream is counted by. */
  deltaBytes(): number;
  /** How each choice ended, or the response. */
  finishReasons(): readonly string[] | undefined;
  /** Whether an event has said that Azure's content filter was down: what it would have judged passed unfiltered. */
  isFilterDown(): boolean;
  /** First and newest block, to tell a Responses client how its stream ended. */
  ends(): { readonly first: Buffer; readonly last: Buffer };
}

export function createStreamWatch(options: StreamWatchOptions): StreamWatch {
  const none: Buffer = Buffer.alloc(0);
  let usage: TokenUsage | undefined;
  const scan = createEventScan(options.deltas);
  let responseEnd: string | undefined;
  let filterDown = false;
  let first = none;
  let last = none;

  /** Takes the usage of the event around `at`; its bounds when the client must not see it. */
  const readUsage = (block: Buffer, at: number): { start: number; end: number } | undefined => {
    const bounds = eventAround(block, at);
    const event = parseObject(eventData(block.subarray(bounds.start, bounds.end)));
    usage = toTokenUsage(member(member(event, "response") ?? event, "usage")) ?? usage;
    return options.dropsUsageChunk && isUsageChunk(event) ? bounds : undefined;
  };

  return {
    observe(block) {
      if (first.length === 0) first = block;
      last = block;
      scanEvents(scan, block);
      if (scan.responseEndAt.length > 0) responseEnd ??= findResponseEnd(block, scan.responseEndAt);
      // Azure repeats it in each chunk: one is enough.
      if (scan.filterErrorAt.length > 0) filterDown ||= scan.filterErrorAt.some((at) => isFilterDownAt(block, at));
      if (scan.usageAt.length === 0) return [block];
      const dropped = scan.usageAt.map((at) => readUsage(block, at)).filter((bounds) => bounds !== undefined);
      return dropped.length === 0 ? [block] : without(block, dropped);
    },
    usage: () => usage,
    isComplete: () => scan.isDone || responseEnd !== undefined,
    deltaBytes: () => scan.deltaBytes,
    finishReasons: () => (responseEnd === undefined ? finishReasonsOf(scan.finishReasons) : [responseEnd]),
    isFilterDown: () => filterDown,
    ends: () => ({ first, last }),
  };
}

/** The block without some of its events; an event may be named twice. */
function without(block: Buffer, dropped: readonly { readonly start: number; readonly end: number }[]): Buffer[] {
  const kept: Buffer[] = [];
  let at = 0;
  for (const { start, end } of dropped) {
    if (start > at) kept.push(block.subarray(at, start));
    at = Math.max(at, end);
  }
  if (at < block.length) kept.push(block.subarray(at));
  return kept;
}

/** The extra chunk of include_usage. Azure also sends chunks with empty `choices` and no usage (annotations): those stay. */
function isUsageChunk(event: unknown): boolean {
  const choices = member(event, "choices");
  const usage = member(event, "usage");
  return Array.isArray(choices) && choices.length === 0 && typeof usage === "object" && usage !== null;
}

/** How a response ended, when one of the events is its end. A nested `type` may have that name, too, so the event itself is read. */
function findResponseEnd(block: Buffer, candidates: readonly number[]): string | undefined {
  for (const at of candidates) {
    const { start, end } = eventAround(block, at);
    const type = member(parseObject(eventData(block.subarray(start, end))), "type");
    if (typeof type === "string" && RESPONSE_END.test(type)) return type.replace("response.", "");
  }
  return undefined;
}

const RESPONSE_END = /^response\.(completed|incomplete|failed)$/;

function parseObject(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
