import { isKind, JOINED, kindOf, PLAIN } from "./characters.ts";

/**
 * A text as the rules read it: compatible forms of characters are one (NFKC), what is not seen is left out. Most texts are their own
 * view; where one is not, `starts` and `ends` say from where to where each of its units came.
 */
export interface TextView {
  readonly text: string;
  readonly starts: readonly number[] | undefined;
  readonly ends: readonly number[] | undefined;
}

export function viewOf(text: string): TextView {
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit >= 128 && (kindOf(unit) & PLAIN) === 0) return foldedView(text);
  }
  return { text, starts: undefined, ends: undefined };
}

/** A text's view alone, as of a word to look for. */
export function foldText(text: string): string {
  return viewOf(text).text;
}

function foldedView(text: string): TextView {
  const starts: number[] = [];
  const ends: number[] = [];
  const pieces: string[] = [];
  for (let at = 0; at < text.length;) {
    const end = clusterEnd(text, at);
    const folded = end === at + 1 && isKind(text, at, PLAIN) ? text.charAt(at) : fold(text.slice(at, end));
    for (let index = 0; index < folded.length; index += 1) {
      starts.push(at);
      ends.push(end);
    }
    pieces.push(folded);
    at = end;
  }
  return { text: pieces.join(""), starts, ends };
}

/** Longer rows of marks on one character are no writing (UAX 15 has 30 at the most). */
export const CLUSTER_MAX = 32;

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

/** The place in the view of a place in the text, or the next one that is seen. */
export function toView(view: TextView, at: number): number {
  if (view.starts === undefined) return at;
  let low = 0;
  let high = view.starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((view.starts[middle] ?? 0) < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where in the text a unit of the view begins; `atEnd` behind its last unit. */
export function startInText(view: TextView, at: number, atEnd: number): number {
  if (view.starts === undefined) return at;
  return view.starts[at] ?? atEnd;
}

/** Where in the text that ends which ends before a place of the view. */
export function endInText(view: TextView, at: number): number {
  return view.ends === undefined ? at : (view.ends[at - 1] ?? 0);
}
