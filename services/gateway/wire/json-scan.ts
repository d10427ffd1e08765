import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  DEPTH_MAX,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
} from "./json-bytes.ts";
import { isUtf8 } from "node:buffer";

type JsonKind = "string" | "number" | "boolean" | "null" | "object" | "array";

/** Where a top-level value stands: bytes [start, end). `repeated`: the key came more than once. */
export interface JsonField {
  readonly kind: JsonKind;
  readonly start: number;
  readonly end: number;
  readonly repeated: boolean;
}

export type JsonScan =
  | {
      readonly ok: true;
      /** The top-level fields that were asked for. */
      readonly fields: ReadonlyMap<string, JsonField>;
      /** Just behind the opening brace: where a field can be put in. */
      readonly insertAt: number;
      readonly isEmpty: boolean;
      /** Bytes of the text without inlined files (`data:` URLs), which are no prompt text. */
      readonly textBytes: number;
      /** The first of the watched keys, at whatever depth. */
      readonly watchedKey: string | undefined;
    }
  | { readonly ok: false; readonly problem: string };

const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

interface Cursor {
  readonly bytes: Uint8Array;
  /** Keys that are looked for at every depth. */
  readonly watched: ReadonlySet<string>;
  at: number;
  inlinedBytes: number;
  watchedKey: string | undefined;
}

const NOTHING: ReadonlySet<string> = new Set();

function cursorAt(bytes: Uint8Array, at: number, watched: ReadonlySet<string>): Cursor {
  return { bytes, watched, at, inlinedBytes: 0, watchedKey: undefined };
}

/**
 * Walks over one JSON object without building it: judges it as strictly as JSON.parse does, and finds some top-level fields.
 * A parse of 1 MB blocks the loop for 3 ms and more and allocates all of it; and only positions allow a splice, which
 * leaves the client's other bytes as they were.
 */
export function scanJsonObject(
  bytes: Uint8Array,
  wanted: ReadonlySet<string>,
  watched: ReadonlySet<string> = NOTHING,
): JsonScan {
  if (!isUtf8(bytes)) return { ok: false, problem: "it must be UTF-8" };
  const cursor = cursorAt(bytes, 0, watched);
  try {
    skipSpace(cursor);
    if (cursor.bytes[cursor.at] !== OPEN_BRACE) throw new ScanProblem("it must be an object", cursor);
    const insertAt = cursor.at + 1;
    const { fields, isEmpty } = readTopLevel(cursor, wanted);
    skipSpace(cursor);
    if (cursor.at < bytes.length) throw new ScanProblem("nothing may follow the object", cursor);
    const textBytes = bytes.length - cursor.inlinedBytes;
    return { ok: true, fields, insertAt, isEmpty, textBytes, watchedKey: cursor.watchedKey };
  } catch (error) {
    if (error instanceof ScanProblem) return { ok: false, problem: error.message };
    throw error;
  }
}

/** The end of the JSON value that starts at `start`, or nothing when it is broken or cut off. */
export function endOfJsonValue(bytes: Uint8Array, start: number): number | undefined {
  const cursor = cursorAt(bytes, start, NOTHING);
  try {
    skipValue(cursor, 0);
    return cursor.at;
  } catch (error) {
    if (error instanceof ScanProblem) return undefined;
    throw error;
  }
}

class ScanProblem extends Error {
  constructor(problem: string, cursor: Cursor) {
    super(
      cursor.at >= cursor.bytes.length
        ? `${problem}: it ends at byte ${cursor.bytes.length}`
        : `${problem}: see byte ${cursor.at}`,
    );
  }
}

function readTopLevel(
  cursor: Cursor,
  wanted: ReadonlySet<string>,
): { fields: Map<string, JsonField>; isEmpty: boolean } {
  const fields = new Map<string, JsonField>();
  const isEmpty = !skipMembers(cursor, 0, (keyStart, keyEnd) => {
    const start = cursor.at;
    const kind = skipValue(cursor, 1);
    const key = findKey(cursor.bytes, { start: keyStart, end: keyEnd }, wanted);
    if (key !== undefined) fields.set(key, { kind, start, end: cursor.at, repeated: fields.has(key) });
  });
  return { fields, isEmpty };
}

/** The key of a set that stands in quotes there. It may be written with escapes; `"mod\u0065l"` is `model` to every parser behind us. */
function findKey(
  bytes: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
  wanted: ReadonlySet<string>,
): string | undefined {
  for (const key of wanted) if (isKey(bytes, start + 1, key)) return key;
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  if (!raw.includes(BACKSLASH)) return undefined;
  const key: unknown = JSON.parse(raw.toString("utf8"));
  return typeof key === "string" && wanted.has(key) ? key : undefined;
}

/** Names of wanted keys are ASCII. */
function isKey(bytes: Uint8Array, start: number, key: string): boolean {
  for (let index = 0; index < key.length; index += 1) if (bytes[start + index] !== key.charCodeAt(index)) return false;
  return bytes[start + key.length] === QUOTE;
}

/** Walks `{ "key": value, … }`; `readValue` must step over the value. False when there was no member. */
function skipMembers(cursor: Cursor, depth: number, readValue: (keyStart: number, keyEnd: number) => void): boolean {
  enter(cursor, depth);
  if (cursor.bytes[cursor.at] === CLOSE_BRACE) {
    cursor.at += 1;
    return false;
  }
  for (;;) {
    const keyStart = cursor.at;
    if (cursor.bytes[keyStart] !== QUOTE) throw new ScanProblem("a key in quotes must follow", cursor);
    skipString(cursor);
    const keyEnd = cursor.at;
    if (cursor.watched.size > 0)
      cursor.watchedKey ??= findKey(cursor.bytes, { start: keyStart, end: keyEnd }, cursor.watched);
    skipSpace(cursor);
    expect(cursor, COLON, "a colon must follow a key");
    skipSpace(cursor);
    readValue(keyStart, keyEnd);
    if (!skipComma(cursor, CLOSE_BRACE, "a comma or } must follow a value")) return true;
  }
}

function skipArray(cursor: Cursor, depth: number): void {
  enter(cursor, depth);
  if (cursor.bytes[cursor.at] === CLOSE_BRACKET) {
    cursor.at += 1;
    return;
  }
  do skipValue(cursor, depth + 1);
  while (skipComma(cursor, CLOSE_BRACKET, "a comma or ] must follow a value"));
}

function enter(cursor: Cursor, depth: number): void {
  if (depth >= DEPTH_MAX) throw new ScanProblem(`nesting must be at most ${DEPTH_MAX} deep`, cursor);
  cursor.at += 1;
  skipSpace(cursor);
}

/** True when another item follows, false behind the closing byte. */
function skipComma(cursor: Cursor, close: number, problem: string): boolean {
  skipSpace(cursor);
  const byte = cursor.bytes[cursor.at];
  if (byte !== COMMA && byte !== close) throw new ScanProblem(problem, cursor);
  cursor.at += 1;
  if (byte === close) return false;
  skipSpace(cursor);
  return true;
}

function skipValue(cursor: Cursor, depth: number): JsonKind {
  switch (cursor.bytes[cursor.at]) {
    case QUOTE:
      skipString(cursor);
      return "string";
    case OPEN_BRACE:
      skipMembers(cursor, depth, () => void skipValue(cursor, depth + 1));
      return "object";
    case OPEN_BRACKET:
      skipArray(cursor, depth);
      return "array";
    case 0x74:
      skipWord(cursor, TRUE);
      return "boolean";
    case 0x66:
      skipWord(cursor, FALSE);
      return "boolean";
    case 0x6e:
      skipWord(cursor, NULL);
      return "null";
    default:
      skipNumber(cursor);
      return "number";
  }
}

const TRUE = [0x74, 0x72, 0x75, 0x65];
const FALSE = [0x66, 0x61, 0x6c, 0x73, 0x65];
const NULL = [0x6e, 0x75, 0x6c, 0x6c];

function skipWord(cursor: Cursor, word: readonly number[]): void {
  for (const byte of word) expect(cursor, byte, "a value must follow");
}

function expect(cursor: Cursor, byte: number, problem: string): void {
  if (cursor.bytes[cursor.at] !== byte) throw new ScanProblem(problem, cursor);
  cursor.at += 1;
}

function skipSpace(cursor: Cursor): void {
  const { bytes } = cursor;
  for (;;) {
    const byte = bytes[cursor.at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
    cursor.at += 1;
  }
}

function skipString(cursor: Cursor): void {
  const { bytes } = cursor;
  const start = cursor.at + 1;
  let at = endOfPlainText(bytes, start);
  while (bytes[at] === BACKSLASH) {
    cursor.at = at;
    skipEscape(cursor);
    at = endOfPlainText(bytes, cursor.at);
  }
  cursor.at = at;
  if (bytes[at] !== QUOTE)
    throw new ScanProblem("a string must end with a quote and hold no raw control character", cursor);
  cursor.at = at + 1;
  if (at - start > INLINED_BYTES_MIN && startsWithData(bytes, start)) cursor.inlinedBytes += at - start;
}

/** The first byte from `start` on that is a quote, a backslash or a control character; the length if there is none. */
function endOfPlainText(bytes: Uint8Array, start: number): number {
  const { length } = bytes;
  let at = start;
  for (; at < length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE || byte === BACKSLASH || byte < 0x20) break;
  }
  return at;
}

const INLINED_BYTES_MIN = 64;

function startsWithData(bytes: Uint8Array, at: number): boolean {
  return (
    bytes[at] === 0x64 &&
    bytes[at + 1] === 0x61 &&
    bytes[at + 2] === 0x74 &&
    bytes[at + 3] === 0x61 &&
    bytes[at + 4] === COLON
  );
}

function skipEscape(cursor: Cursor): void {
  const byte = cursor.bytes[cursor.at + 1];
  if (byte === 0x75) {
    for (let digit = 2; digit < 6; digit += 1)
      if (!isHex(cursor.bytes[cursor.at + digit])) throw new ScanProblem("\\u must have four hex digits", cursor);
    cursor.at += 6;
    return;
  }
  if (byte === undefined || !ESCAPED.has(byte)) throw new ScanProblem("an unknown escape stands in a string", cursor);
  cursor.at += 2;
}

/** The bytes that may follow a backslash: " \ / b f n r t */
const ESCAPED: ReadonlySet<number> = new Set([QUOTE, BACKSLASH, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74]);

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return isDigit(byte) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

function skipNumber(cursor: Cursor): void {
  const { bytes } = cursor;
  if (bytes[cursor.at] === MINUS) cursor.at += 1;
  if (bytes[cursor.at] === ZERO) cursor.at += 1;
  else skipDigits(cursor, "a value must follow");
  if (bytes[cursor.at] === 0x2e) {
    cursor.at += 1;
    skipDigits(cursor, "a digit must follow a decimal point");
  }
  if (bytes[cursor.at] === 0x65 || bytes[cursor.at] === 0x45) {
    cursor.at += 1;
    if (bytes[cursor.at] === 0x2b || bytes[cursor.at] === MINUS) cursor.at += 1;
    skipDigits(cursor, "a digit must follow an exponent");
  }
}

function skipDigits(cursor: Cursor, problem: string): void {
  if (!isDigit(cursor.bytes[cursor.at])) throw new ScanProblem(problem, cursor);
  while (isDigit(cursor.bytes[cursor.at])) cursor.at += 1;
}
