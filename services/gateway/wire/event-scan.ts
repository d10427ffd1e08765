/** What the blocks of a stream tell, found in one walk over each. One object for a whole stream: an event allocates nothing. */
export interface EventScan {
  readonly deltas: DeltaKeys;
  /** Bytes of text and arguments in deltas so far, as they stand between their quotes. */
  deltaBytes: number;
  /** Of each choice that has ended. */
  readonly finishReasons: string[];
  /** There was a line `data: [DONE]`. */
  isDone: boolean;
  /** Of the newest block: where each `"usage"` that is an object begins. */
  usageAt: number[];
  /** Of the newest block: where each `"type"` stands that says how a response ended. */
  responseEndAt: number[];
  /** Of the newest block: where each `"code"` stands that says that Azure's filter was down. */
  filterErrorAt: number[];
}

export function createEventScan(deltas: DeltaKeys): EventScan {
  return {
    deltas,
    deltaBytes: 0,
    finishReasons: [],
    isDone: false,
    usageAt: [],
    responseEndAt: [],
    filterErrorAt: [],
  };
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

/** One more than a reason may have, so that a longer one is not taken for it. */
const FINISH_CHARACTERS_MAX = 33;
/** More than a request may ask for. */
const CHOICES_MAX = 128;
const DONE = "[DONE]";
const FILTER_ERROR = "content_filter_error";
const RESPONSE_ENDS = ["response.completed", "response.incomplete", "response.failed"];

/**
 * Walks over the strings of a block and looks at those that are keys. Text that quotes the protocol is inside of a string and never
 * looked at. One walk costs a tenth of a search for each key, and a parse of each event more than passing it on.
 */
export function scanEvents(scan: EventScan, block: Buffer): void {
  if (scan.usageAt.length > 0) scan.usageAt = [];
  if (scan.responseEndAt.length > 0) scan.responseEndAt = [];
  if (scan.filterErrorAt.length > 0) scan.filterErrorAt = [];
  const { length } = block;
  let at = 0;
  while (at < length) {
    const byte = block[at] ?? 0;
    if (byte === QUOTE) at = stepOverString(scan, block, at + 1);
    else {
      if (byte === OPEN_BRACKET && isDoneAt(block, at)) scan.isDone = true;
      at += 1;
    }
  }
}

/** Over a string, and if it is a key and its value a string, over that as well. Where the walk goes on. */
function stepOverString(scan: EventScan, block: Buffer, start: number): number {
  const end = endOfString(block, start);
  const valueAt = valueOf(block, end);
  if (valueAt < 0) return end + 1;
  const kind = kindOf(block, { start, end }, scan.deltas);
  if (kind === "usage" && block[valueAt] === OPEN_BRACE) scan.usageAt.push(valueAt);
  if (block[valueAt] !== QUOTE) return valueAt;
  const text = { start: valueAt + 1, end: endOfString(block, valueAt + 1) };
  if (kind === "delta") scan.deltaBytes += text.end - text.start;
  else if (kind !== undefined) noteText(scan, { kind, block, ...text });
  return text.end + 1;
}

function noteText(
  scan: EventScan,
  {
    kind,
    block,
    start,
    end,
  }: { readonly kind: Kind; readonly block: Buffer; readonly start: number; readonly end: number },
): void {
  if (kind === "finish_reason") {
    if (scan.finishReasons.length < CHOICES_MAX)
      scan.finishReasons.push(block.toString("latin1", start, Math.min(end, start + FINISH_CHARACTERS_MAX)));
  } else if (kind === "type" && RESPONSE_ENDS.includes(block.toString("latin1", start, end)))
    scan.responseEndAt.push(start);
  else if (kind === "code" && end - start === FILTER_ERROR.length && isText(block, start, FILTER_ERROR))
    scan.filterErrorAt.push(start);
}

type Kind = "delta" | "finish_reason" | "usage" | "type" | "code";

/** The keys of each length that mean something, and what: most keys of a stream are none of these. */
const KEYS: Readonly<Record<DeltaKeys, readonly (readonly (readonly [string, Kind])[])[]>> = {
  chat: byLength([
    ["content", "delta"],
    ["refusal", "delta"],
    ["arguments", "delta"],
    ["reasoning_content", "delta"],
    ["finish_reason", "finish_reason"],
    ["usage", "usage"],
    ["code", "code"],
  ]),
  responses: byLength([
    ["delta", "delta"],
    ["type", "type"],
    ["usage", "usage"],
    ["code", "code"],
  ]),
  none: byLength([
    ["type", "type"],
    ["usage", "usage"],
  ]),
};

function byLength(keys: readonly (readonly [string, Kind])[]): (readonly [string, Kind])[][] {
  return Array.from({ length: 24 }, (_, length) => keys.filter(([key]) => key.length === length));
}

function kindOf(
  block: Buffer,
  { start, end }: { readonly start: number; readonly end: number },
  deltas: DeltaKeys,
): Kind | undefined {
  const candidates = KEYS[deltas][end - start];
  if (candidates === undefined) return undefined;
  for (const [key, kind] of candidates) if (isText(block, start, key)) return kind;
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

/** Where the value begins, when the string that ends at `end` is a key; else -1. */
function valueOf(block: Buffer, end: number): number {
  let at = end + 1;
  while (block[at] === SPACE) at += 1;
  if (block[at] !== COLON) return -1;
  at += 1;
  while (block[at] === SPACE) at += 1;
  return at;
}

/** `[DONE]` alone on its line behind `data:`. */
function isDoneAt(block: Buffer, at: number): boolean {
  if (!isText(block, at, DONE)) return false;
  return /(^|[\r\n])data: ?$/.test(block.toString("latin1", Math.max(0, at - 7), at));
}
