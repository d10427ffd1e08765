import { isKind, JOINED, kindOf, PLAIN } from "./characters.ts";

/**
 * A text as the rules read it: compatible forms of characters are one (NFKC), what is not seen is left out. Most texts are their own
 * view; where one is not, its parts say where each came from.
 */
export interface TextView {
  readonly text: string;
  readonly parts: readonly Part[] | undefined;
}

/** Rows of characters that stand for themselves, or one character that is seen as something else. */
interface Part {
  /** In the view. */
  readonly at: number;
  /** In the text. */
  readonly start: number;
  readonly end: number;
  readonly isPlain: boolean;
}

export function viewOf(text: string): TextView {
  // One character at a time, so linear; half of what a loop takes.
  const first = text.search(NOT_ASCII);
  if (first < 0) return { text, parts: undefined };
  for (let at = first; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit >= 128 && (kindOf(unit) & PLAIN) === 0) return foldedView(text);
  }
  return { text, parts: undefined };
}

const NOT_ASCII = /[\u0080-\uffff]/;

/** A text's view alone, as of a word to look for. */
export function foldText(text: string): string {
  return viewOf(text).text;
}

function foldedView(text: string): TextView {
  const parts: Part[] = [];
  let seen = "";
  for (let start = 0; start < text.length;) {
    const plainEnd = endOfPlain(text, start);
    const isPlain = plainEnd > start;
    const end = isPlain ? plainEnd : clusterEnd(text, start);
    const folded = isPlain ? text.slice(start, end) : fold(text.slice(start, end));
    if (folded !== "") parts.push({ at: seen.length, start, end, isPlain });
    seen += folded;
    start = end;
  }
  return { text: seen, parts };
}

/** Where the characters end that stand for themselves and that nothing joins. */
function endOfPlain(text: string, start: number): number {
  let at = start;
  while (at < text.length && isKind(text, at, PLAIN)) at += 1;
  return at > start && at < text.length && isJoined(text, at) ? at - 1 : at;
}

/** Longer rows of marks on one character are no writing (UAX 15 has 30 at the most). */
const CLUSTER_MAX = 32;

/** Where the character that begins here ends, with all that joins it. */
function clusterEnd(text: string, start: number): number {
  let end = start + unitsAt(text, start);
  while (end < text.length && end - start < CLUSTER_MAX && isJoined(text, end)) end += unitsAt(text, end);
  return end;
}

function isJoined(text: string, at: number): boolean {
  return unitsAt(text, at) === 1 ? isKind(text, at, JOINED) : IGNORED_PAIR.test(text.slice(at, at + 2));
}

function unitsAt(text: string, at: number): number {
  const point = text.codePointAt(at) ?? 0;
  return point > 0xffff ? 2 : 1;
}

const IGNORED_PAIR = /^[\p{M}\p{Default_Ignorable_Code_Point}]/u;
const IGNORED = /\p{Default_Ignorable_Code_Point}/gu;

function fold(cluster: string): string {
  return cluster.replace(IGNORED, "").normalize("NFKC").replace(IGNORED, "");
}

/** The part that holds a place of the view, or the one whose `key` is the last not behind `at`. */
function partAt(parts: readonly Part[], key: "at" | "start", at: number): Part | undefined {
  let low = 0;
  let high = parts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((parts[middle]?.[key] ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return parts[low - 1];
}

/** The place in the view of a place in the text, or the next one that is seen. */
export function toView({ text, parts }: TextView, at: number): number {
  if (parts === undefined) return at;
  const part = partAt(parts, "start", at);
  if (part === undefined || part.start === at) return part?.at ?? 0;
  if (part.isPlain && at < part.end) return part.at + at - part.start;
  return parts[parts.indexOf(part) + 1]?.at ?? text.length;
}

/** Where in the text a unit of the view begins; `atEnd` behind its last unit. */
export function startInText({ text, parts }: TextView, at: number, atEnd: number): number {
  if (parts === undefined) return at;
  const part = at < text.length ? partAt(parts, "at", at) : undefined;
  if (part === undefined) return atEnd;
  return part.isPlain ? part.start + at - part.at : part.start;
}

/** Where in the text that ends which ends before a place of the view. */
export function endInText({ parts }: TextView, at: number): number {
  const part = parts && partAt(parts, "at", at - 1);
  if (part === undefined) return at;
  return part.isPlain ? part.start + at - part.at : part.end;
}

/** Where the last character begins in the view. `isJoined`: more than one unit of the text, so that still more may join it. */
export function lastInView({ text, parts }: TextView): { readonly at: number; readonly isJoined: boolean } {
  const part = parts?.at(-1);
  return part === undefined || part.isPlain
    ? { at: Math.max(0, text.length - 1), isJoined: false }
    : { at: part.at, isJoined: part.end - part.start > 1 };
}
