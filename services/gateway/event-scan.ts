/** What a block of whole events tells, found in one walk over its bytes. Positions are of values. */
export interface EventFacts {
  /** Bytes of text and arguments in deltas, as they stand between their quotes. */
  deltaBytes: number;
  finishReason: string | undefined;
  /** A line `data: [DONE]`. */
  isDone: boolean;
  /** Where each `"usage"` that is an object begins. */
  readonly usageAt: number[];
  /** Where each `"type"` stands that says how a response ended. */
  readonly responseEndAt: number[];
}

/** Members that hold what the model wrote. Responses events repeat the text when it is done: deltas alone count there. */
export type DeltaKeys = "chat" | "responses" | "none";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LF = 0x0a;
const SPACE = 0x20;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

const FINISH_CHARACTERS_MAX = 32;
const DONE = "[DONE]";
const RESPONSE_ENDS = ["response.completed", "response.incomplete", "response.failed"];

/**
 * Walks over the strings of a block and looks at those that are keys. Text that quotes the protocol is inside of a string and never
 * looked at. One walk costs a tenth of a search for each key, and a parse of each event more than passing it on.
 */
export function scanEvents(block: Buffer, deltas: DeltaKeys): EventFacts {
  const facts: EventFacts = { deltaBytes: 0, finishReason: undefined, isDone: false, usageAt: [], responseEndAt: [] };
  const walk: Walk = { block, deltas, facts, at: 0 };
  while (walk.at < block.length) {
    const byte = block[walk.at];
    if (byte === QUOTE) stepOverString(walk);
    else {
      if (byte === OPEN_BRACKET && isDoneAt(block, walk.at)) facts.isDone = true;
      walk.at += 1;
    }
  }
  return facts;
}

interface Walk {
  readonly block: Buffer;
  readonly deltas: DeltaKeys;
  readonly facts: EventFacts;
  at: number;
}

/** Over a string, and if it is a key and its value a string, over that as well. */
function stepOverString(walk: Walk): void {
  const { block, facts } = walk;
  const keyAt = walk.at + 1;
  const keyEnd = endOfString(block, keyAt);
  const valueAt = valueOf(block, keyEnd);
  walk.at = valueAt ?? keyEnd + 1;
  if (valueAt === undefined) return;
  const kind = kindOf(walk, keyAt, keyEnd);
  if (kind === "usage" && block[valueAt] === OPEN_BRACE) facts.usageAt.push(valueAt);
  if (block[valueAt] !== QUOTE) return;
  walk.at = endOfString(block, valueAt + 1) + 1;
  if (kind !== undefined) noteText(walk, kind, valueAt + 1);
}

/** A string value that was just stepped over. */
function noteText({ block, facts, at }: Walk, kind: Kind, start: number): void {
  const end = at - 1;
  if (kind === "delta") facts.deltaBytes += end - start;
  else if (kind === "finish_reason")
    facts.finishReason ??= block.toString("latin1", start, Math.min(end, start + FINISH_CHARACTERS_MAX));
  else if (kind === "type" && RESPONSE_ENDS.includes(block.toString("latin1", start, end)))
    facts.responseEndAt.push(start);
}

type Kind = "delta" | "finish_reason" | "usage" | "type";

/** The keys of each length that mean something, and what: most keys of a stream are none of these. */
const KEYS: Readonly<Record<DeltaKeys, readonly (readonly (readonly [string, Kind])[])[]>> = {
  chat: byLength([
    ["content", "delta"],
    ["refusal", "delta"],
    ["arguments", "delta"],
    ["reasoning_content", "delta"],
    ["finish_reason", "finish_reason"],
    ["usage", "usage"],
  ]),
  responses: byLength([
    ["delta", "delta"],
    ["type", "type"],
    ["usage", "usage"],
  ]),
  none: byLength([
    ["type", "type"],
    ["usage", "usage"],
  ]),
};

function byLength(keys: readonly (readonly [string, Kind])[]): (readonly [string, Kind])[][] {
  return Array.from({ length: 24 }, (_, length) => keys.filter(([key]) => key.length === length));
}

function kindOf({ block, deltas }: Walk, at: number, end: number): Kind | undefined {
  const candidates = KEYS[deltas][end - at];
  if (candidates === undefined) return undefined;
  for (const [key, kind] of candidates) if (isText(block, at, key)) return kind;
  return undefined;
}

function isText(block: Buffer, start: number, text: string): boolean {
  for (let index = 0; index < text.length; index += 1)
    if (block[start + index] !== text.charCodeAt(index)) return false;
  return true;
}

/** The quote that ends a string; the line's end where there is none, as no string goes over it. */
function endOfString(block: Buffer, start: number): number {
  const { length } = block;
  let at = start;
  for (; at < length; at += 1) {
    const byte = block[at] ?? 0;
    if (byte === QUOTE || byte === LF) break;
    if (byte === BACKSLASH) at += 1;
  }
  return Math.min(at, length);
}

/** Where the value begins, when the string that ends at `end` is a key. */
function valueOf(block: Buffer, end: number): number | undefined {
  let at = end + 1;
  while (block[at] === SPACE) at += 1;
  if (block[at] !== COLON) return undefined;
  at += 1;
  while (block[at] === SPACE) at += 1;
  return at;
}

/** `[DONE]` alone on its line behind `data:`. */
function isDoneAt(block: Buffer, at: number): boolean {
  if (!isText(block, at, DONE)) return false;
  return /(^|[\r\n])data: ?$/.test(block.toString("latin1", Math.max(0, at - 7), at));
}
