import { eventAround, eventData } from "./sse.ts";
import { objectAfterKey, type TokenUsage, toTokenUsage } from "./usage.ts";

export interface StreamWatchOptions {
  /** We asked for usage in the client's stead: the chunk that carries it alone is dropped. */
  readonly dropsUsageChunk: boolean;
  /** Whose deltas are added up for the case that the stream is cut; none where usage is counted elsewhere. */
  readonly deltas: "chat" | "responses" | "none";
}

/** Reads along with a stream of whole events, by substring: a parse of every event would cost more than passing it on. */
export interface StreamWatch {
  /** Takes a block of whole events, gives back what the client should get of it. */
  observe(block: Buffer): Buffer;
  /** Reported usage, once it came. */
  usage(): TokenUsage | undefined;
  /** Whether the stream has said that it is complete: `[DONE]`, or the last event of a response. */
  isComplete(): boolean;
  /** Bytes of text and arguments in deltas so far: what a cut stream is counted by. */
  deltaBytes(): number;
  finishReason(): string | undefined;
  /** First and newest block, to tell a Responses client how its stream ended. */
  ends(): { readonly first: Buffer; readonly last: Buffer };
}

const USAGE_KEY = Buffer.from('"usage"');
const DONE = Buffer.from("[DONE]");
const FINISH_KEY = Buffer.from('"finish_reason"');
/** Members that hold what the model wrote. Responses events repeat the text when it is done: deltas alone count there. */
const DELTA_KEYS = {
  chat: ['"content"', '"arguments"', '"reasoning_content"', '"refusal"'].map((key) => Buffer.from(key)),
  responses: [Buffer.from('"delta"')],
  none: [],
} as const;
const RESPONSE_ENDS = ["response.completed", "response.incomplete", "response.failed"];
const RESPONSE_END_KEYS = RESPONSE_ENDS.map((name) => Buffer.from(`"${name}"`));

export function createStreamWatch(options: StreamWatchOptions): StreamWatch {
  const none: Buffer = Buffer.alloc(0);
  const isChat = options.deltas === "chat";
  let usage: TokenUsage | undefined;
  let complete = false;
  let deltaBytes = 0;
  let finishReason: string | undefined;
  let first = none;
  let last = none;

  const readUsageEvent = (block: Buffer, at: number): { start: number; end: number; drop: boolean } => {
    const bounds = eventAround(block, at);
    const event = parseObject(eventData(block.subarray(bounds.start, bounds.end)));
    const response = member(event, "response");
    usage = toTokenUsage(member(response ?? event, "usage")) ?? usage;
    return { ...bounds, drop: options.dropsUsageChunk && isUsageChunk(event) };
  };

  const readEnd = (block: Buffer): void => {
    const responseEnd = isChat ? undefined : findResponseEnd(block);
    finishReason = (isChat ? findFinishReason(block) : responseEnd?.replace("response.", "")) ?? finishReason;
    complete ||= responseEnd !== undefined || hasDone(block);
  };

  return {
    observe(block) {
      if (first.length === 0) first = block;
      last = block;
      deltaBytes += countDeltaBytes(block, DELTA_KEYS[options.deltas]);
      readEnd(block);
      let passed = block;
      for (let at = nextUsage(passed, 0); at !== undefined;) {
        const event = readUsageEvent(passed, at);
        if (event.drop) passed = Buffer.concat([passed.subarray(0, event.start), passed.subarray(event.end)]);
        at = nextUsage(passed, event.drop ? event.start : event.end);
      }
      return passed;
    },
    usage: () => usage,
    isComplete: () => complete,
    deltaBytes: () => deltaBytes,
    finishReason: () => finishReason,
    ends: () => ({ first, last }),
  };
}

/** The next `"usage":{`, from `from` on; the many `"usage":null` are passed over. */
function nextUsage(block: Buffer, from: number): number | undefined {
  for (let at = block.indexOf(USAGE_KEY, from); at >= 0; at = block.indexOf(USAGE_KEY, at + 1))
    if (objectAfterKey(block, at + USAGE_KEY.length) !== undefined) return at;
  return undefined;
}

/** The extra chunk of include_usage. Azure also sends chunks with empty `choices` and no usage (annotations): those stay. */
function isUsageChunk(event: unknown): boolean {
  const choices = member(event, "choices");
  const usage = member(event, "usage");
  return Array.isArray(choices) && choices.length === 0 && typeof usage === "object" && usage !== null;
}

/** Only where a line begins: inside of JSON a line break is escaped, so an answer that quotes it does not match. */
function hasDone(block: Buffer): boolean {
  for (let at = block.indexOf(DONE); at >= 0; at = block.indexOf(DONE, at + 1))
    if (/(^|[\r\n])data: ?$/.test(block.toString("latin1", Math.max(0, at - 7), at))) return true;
  return false;
}

/** The type of the event that ends a response. An answer may quote the name, so the event itself is read. */
function findResponseEnd(block: Buffer): string | undefined {
  for (const key of RESPONSE_END_KEYS) {
    for (let at = block.indexOf(key); at >= 0; at = block.indexOf(key, at + 1)) {
      const { start, end } = eventAround(block, at);
      const type = member(parseObject(eventData(block.subarray(start, end))), "type");
      if (typeof type === "string" && RESPONSE_ENDS.includes(type)) return type;
    }
  }
  return undefined;
}

function countDeltaBytes(block: Buffer, keys: readonly Buffer[]): number {
  let bytes = 0;
  for (const key of keys)
    for (let at = block.indexOf(key); at >= 0; at = block.indexOf(key, at + key.length))
      bytes += stringBytesAfter(block, at + key.length);
  return bytes;
}

/** Bytes of the string value behind a key, 0 when the value is none. Escapes count as they are written. */
function stringBytesAfter(block: Buffer, keyEnd: number): number {
  const start = stringAfterKey(block, keyEnd);
  return start === undefined ? 0 : endOfString(block, start) - start;
}

function stringAfterKey(block: Buffer, keyEnd: number): number | undefined {
  let at = keyEnd;
  while (block[at] === 0x20) at += 1;
  if (block[at] !== 0x3a) return undefined;
  at += 1;
  while (block[at] === 0x20) at += 1;
  return block[at] === 0x22 ? at + 1 : undefined;
}

function endOfString(block: Buffer, start: number): number {
  for (let at = block.indexOf(0x22, start); at >= 0; at = block.indexOf(0x22, at + 1)) {
    let slashes = 0;
    while (block[at - 1 - slashes] === 0x5c) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
  return block.length;
}

const FINISH_CHARACTERS_MAX = 32;

function findFinishReason(block: Buffer): string | undefined {
  for (let at = block.indexOf(FINISH_KEY); at >= 0; at = block.indexOf(FINISH_KEY, at + 1)) {
    const start = stringAfterKey(block, at + FINISH_KEY.length);
    if (start !== undefined)
      return block.toString("latin1", start, Math.min(endOfString(block, start), start + FINISH_CHARACTERS_MAX));
  }
  return undefined;
}

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
