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
/** A JSON value and where it stands: bytes [start, end), the quotes of a string included. */
export type JsonNode =
  | { readonly kind: "string" | "other"; readonly start: number; readonly end: number }
  | { readonly kind: "object"; readonly start: number; readonly end: number; readonly members: readonly JsonMember[] }
  | { readonly kind: "array"; readonly start: number; readonly end: number; readonly items: readonly JsonNode[] };

export interface JsonMember {
  readonly key: string;
  readonly value: JsonNode;
}

/** A text that takes the place of the bytes [start, end). */
export interface Splice {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * The values of a JSON text with their places, so that a string in it can be replaced and every other byte stays. Nothing when it is
 * broken, goes on behind its value, or is nested deeper than 128. It does not judge what stands inside of strings and numbers.
 */
export function parseJsonTree(bytes: Buffer): JsonNode | undefined {
  // Latin-1: a place in the text is one in the bytes, and a key costs a slice of it.
  const cursor = { text: bytes.toString("latin1"), at: 0 };
  skipSpace(cursor);
  const node = readValue(cursor, 0);
  skipSpace(cursor);
  return cursor.at === bytes.length ? node : undefined;
}

/** The newest member of that name, as JSON.parse would take it. */
export function memberOf(node: JsonNode | undefined, key: string): JsonNode | undefined {
  return node?.kind === "object" ? node.members.findLast((member) => member.key === key)?.value : undefined;
}

/** The items of an array; none of anything else. */
export function itemsOf(node: JsonNode | undefined): readonly JsonNode[] {
  return node?.kind === "array" ? node.items : [];
}

/** What a string says; nothing when it is no string, or has an escape that is none. */
export function textOf(bytes: Buffer, node: JsonNode | undefined): string | undefined {
  if (node?.kind !== "string") return undefined;
  const raw = bytes.toString("utf8", node.start + 1, node.end - 1);
  if (!raw.includes("\\")) return raw;
  try {
    const text: unknown = JSON.parse(`"${raw}"`);
    return typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}

/** The bytes with some of them replaced; `splices` in their order, none over another. */
export function spliceBytes(bytes: Buffer, splices: readonly Splice[]): Buffer {
  if (splices.length === 0) return bytes;
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, end, text } of splices) {
    parts.push(bytes.subarray(at, start), Buffer.from(text));
    at = end;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}

interface Cursor {
  readonly text: string;
  at: number;
}

function readValue(cursor: Cursor, depth: number): JsonNode | undefined {
  switch (cursor.text.charCodeAt(cursor.at)) {
    case QUOTE:
      return readString(cursor);
    case OPEN_BRACE:
      return depth < DEPTH_MAX ? readObject(cursor, depth) : undefined;
    case OPEN_BRACKET:
      return depth < DEPTH_MAX ? readArray(cursor, depth) : undefined;
    default:
      return readWord(cursor);
  }
}

function readObject(cursor: Cursor, depth: number): JsonNode | undefined {
  const { start, isEmpty } = enter(cursor, CLOSE_BRACE);
  const members: JsonMember[] = [];
  if (isEmpty) return { kind: "object", start, end: cursor.at, members };
  do {
    const name = cursor.text.charCodeAt(cursor.at) === QUOTE ? readString(cursor) : undefined;
    skipSpace(cursor);
    if (name === undefined || cursor.text.charCodeAt(cursor.at) !== COLON) return undefined;
    cursor.at += 1;
    skipSpace(cursor);
    const value = readValue(cursor, depth + 1);
    const key = keyOf(cursor.text.slice(name.start + 1, name.end - 1));
    if (value === undefined || key === undefined) return undefined;
    members.push({ key, value });
  } while (isMore(cursor));
  return isClosed(cursor, CLOSE_BRACE) ? { kind: "object", start, end: cursor.at, members } : undefined;
}

/** Most keys are plain; of others the bytes are what they were sent as. */
function keyOf(raw: string): string | undefined {
  if (!NOT_PLAIN.test(raw)) return raw;
  const bytes = Buffer.from(`"${raw}"`, "latin1");
  return textOf(bytes, { kind: "string", start: 0, end: bytes.length });
}

const NOT_PLAIN = /[\\\x80-\xff]/;

function readArray(cursor: Cursor, depth: number): JsonNode | undefined {
  const { start, isEmpty } = enter(cursor, CLOSE_BRACKET);
  const items: JsonNode[] = [];
  if (isEmpty) return { kind: "array", start, end: cursor.at, items };
  do {
    const item = readValue(cursor, depth + 1);
    if (item === undefined) return undefined;
    items.push(item);
  } while (isMore(cursor));
  return isClosed(cursor, CLOSE_BRACKET) ? { kind: "array", start, end: cursor.at, items } : undefined;
}

/** Steps over the opening byte, and where nothing stands in between over the closing one. */
function enter(cursor: Cursor, close: number): { readonly start: number; readonly isEmpty: boolean } {
  const start = cursor.at;
  cursor.at += 1;
  skipSpace(cursor);
  return { start, isEmpty: isClosed(cursor, close) };
}

function isMore(cursor: Cursor): boolean {
  skipSpace(cursor);
  if (cursor.text.charCodeAt(cursor.at) !== COMMA) return false;
  cursor.at += 1;
  skipSpace(cursor);
  return true;
}

function isClosed(cursor: Cursor, close: number): boolean {
  if (cursor.text.charCodeAt(cursor.at) !== close) return false;
  cursor.at += 1;
  return true;
}

function readString(cursor: Cursor): JsonNode | undefined {
  const { text } = cursor;
  const start = cursor.at;
  for (let at = start + 1; at < text.length; at += 1) {
    const byte = text.charCodeAt(at);
    if (byte === BACKSLASH) at += 1;
    else if (byte === QUOTE) {
      cursor.at = at + 1;
      return { kind: "string", start, end: at + 1 };
    }
  }
  return undefined;
}

/** A number, `true`, `false` or `null`. */
function readWord(cursor: Cursor): JsonNode | undefined {
  const { text } = cursor;
  const start = cursor.at;
  while (isOfWord(text.charCodeAt(cursor.at))) cursor.at += 1;
  return cursor.at > start ? { kind: "other", start, end: cursor.at } : undefined;
}

/** A digit, `+`, `-`, `.` or a letter. */
function isOfWord(byte: number): boolean {
  const isDigit = byte >= 0x30 && byte <= 0x39;
  const isLetter = (byte >= 0x61 && byte <= 0x7a) || byte === 0x45;
  return isDigit || isLetter || byte === 0x2b || byte === 0x2d || byte === 0x2e;
}

function skipSpace(cursor: Cursor): void {
  for (;;) {
    const byte = cursor.text.charCodeAt(cursor.at);
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
    cursor.at += 1;
  }
}
