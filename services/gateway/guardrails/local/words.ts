import { behindEscape, type Candidate, type Reading } from "./candidate.ts";
import { isKind, lowerOf, WORD } from "./characters.ts";
import { foldText } from "./text-view.ts";

/**
 * An automaton that finds any of a list of words, each character looked at a bounded number of times (Aho and Corasick, 1975). Words
 * and texts are compared as views, in lower case. States are numbers; 0 is the beginning.
 */
export interface WordFinder {
  /**
   * Reports words that begin at `from` or later, of those that end at one place the longest. Returns from where on a word may have
   * begun that has not ended.
   */
  readonly find: (reading: Reading, from: number, report: (candidate: Candidate) => void) => number;
}

/** How texts and words are made comparable. */
export function foldWord(text: string): string {
  return Array.from({ length: text.length }, (_, at) => String.fromCharCode(lowerOf(text.charCodeAt(at)))).join("");
}

/** States whose every step is a look into a table: 512 KiB at the most. There are never more than 256 words of 128 characters make. The rest, deep inside of long words, are looked up. */
const TABLE_MAX = 262_144;

export function createWordFinder(words: readonly string[]): WordFinder | undefined {
  const folded = words.map((word) => foldWord(foldText(word)).trim()).filter((word) => word !== "");
  if (folded.length === 0) return undefined;
  const trie = createTrie(folded);
  const { count, symbols, symbolOf, children, fail, ends, depths } = trie;
  const rows = Math.min(count, Math.max(1, Math.floor(TABLE_MAX / symbols)));
  const table = new Uint16Array(rows * symbols);
  const walk = (from: number, symbol: number, reading: Pick<Reading, "work">): number => {
    let state = from;
    for (; state >= rows; state = fail[state] ?? 0) {
      reading.work.steps += 1;
      const next = children.get(state * symbols + symbol);
      if (next !== undefined) return next;
    }
    return table[state * symbols + symbol] ?? 0;
  };
  for (let state = 0; state < rows; state += 1)
    for (let symbol = 1; symbol < symbols; symbol += 1)
      // The row of the fallback, which is shorter, has been filled before.
      table[state * symbols + symbol] =
        children.get(state * symbols + symbol) ??
        (state === 0 ? 0 : (table[(fail[state] ?? 0) * symbols + symbol] ?? 0));
  const next = (state: number, unit: number, reading: Reading): number => {
    const symbol = symbolOf[unit < 128 ? unit : lowerOf(unit)] ?? 0;
    if (symbol === 0) return 0;
    return state < rows ? (table[state * symbols + symbol] ?? 0) : walk(state, symbol, reading);
  };
  const isEnding = Uint8Array.from(ends, (lengths) => (lengths.length > 0 ? 1 : 0));
  return {
    find(reading, from, report) {
      const { text } = reading;
      let state = 0;
      for (let at = from; at < text.length; at += 1) {
        state = next(state, text.charCodeAt(at), reading);
        if (isEnding[state] === 0) continue;
        const candidate = longestEnding(reading, at + 1, ends[state] ?? []);
        if (candidate !== undefined) report(candidate);
      }
      return text.length - (depths[state] ?? 0);
    },
  };
}

interface Trie {
  readonly count: number;
  /** Units that stand in some word, and one for all others. */
  readonly symbols: number;
  readonly symbolOf: Uint16Array;
  /** By state × symbols + symbol. */
  readonly children: ReadonlyMap<number, number>;
  /** Where the longest proper suffix that also begins a word goes on. */
  readonly fail: readonly number[];
  /** Lengths of the words that end here, those of the suffixes included. */
  readonly ends: readonly (readonly number[])[];
  readonly depths: readonly number[];
}

/** States in order of depth, so that a suffix, which is shorter, comes before what ends with it. */
function createTrie(words: readonly string[]): Trie {
  const { symbolOf, symbols } = toSymbols(words);
  const children = new Map<number, number>();
  const fail = [0];
  const ends: number[][] = [[]];
  const depths = [0];
  const states = words.map(() => 0);
  for (let depth = 0; words.some((word) => word.length > depth); depth += 1) {
    words.forEach((word, index) => {
      if (word.length <= depth) return;
      const from = states[index] ?? 0;
      const symbol = symbolOf[word.charCodeAt(depth)] ?? 0;
      const known = children.get(from * symbols + symbol);
      const state = known ?? fail.length;
      states[index] = state;
      if (known === undefined) {
        children.set(from * symbols + symbol, state);
        const suffix = suffixOf({ from, symbol, symbols, children, fail });
        fail.push(suffix);
        depths.push(depth + 1);
        ends.push([]);
      }
      if (word.length === depth + 1 && ends[state]?.includes(word.length) === false) ends[state]?.push(word.length);
    });
  }
  const all: number[][] = [];
  ends.forEach((own, state) => all.push([...own, ...(state === 0 ? [] : (all[fail[state] ?? 0] ?? []))]));
  return { count: fail.length, symbols, symbolOf, children, fail, ends: all, depths };
}

function suffixOf(step: {
  readonly from: number;
  readonly symbol: number;
  readonly symbols: number;
  readonly children: ReadonlyMap<number, number>;
  readonly fail: readonly number[];
}): number {
  const { symbol, symbols, children, fail } = step;
  let state = step.from;
  while (state !== 0) {
    state = fail[state] ?? 0;
    const next = children.get(state * symbols + symbol);
    if (next !== undefined) return next;
  }
  return 0;
}

/** A number for each unit that stands in a word; both cases of a letter have the same. */
function toSymbols(words: readonly string[]): { readonly symbolOf: Uint16Array; readonly symbols: number } {
  const symbolOf = new Uint16Array(65_536);
  let last = 0;
  for (const word of words)
    for (let at = 0; at < word.length; at += 1) {
      const unit = word.charCodeAt(at);
      if (symbolOf[unit] === 0) symbolOf[unit] = last += 1;
    }
  for (let unit = 0; unit < 128; unit += 1) symbolOf[unit] = symbolOf[lowerOf(unit)] ?? 0;
  return { symbolOf, symbols: last + 1 };
}

/** `lengths`: of all words that end there, the longest first. */
function longestEnding(reading: Reading, end: number, lengths: readonly number[]): Candidate | undefined {
  for (const length of lengths) {
    reading.work.steps += 1;
    const candidate = judge(reading, end - length, end);
    if (candidate !== undefined) return candidate;
  }
  return undefined;
}

/** A word of the list that stands there, if no word of the text goes on over its ends. */
function judge({ text, isEnd }: Reading, start: number, end: number): Candidate | undefined {
  const isBegun = isKind(text, start, WORD) && isKind(text, start - 1, WORD);
  if (isBegun && behindEscape(text, start - 1) !== start) return undefined;
  if (!isKind(text, end - 1, WORD)) return { kind: "match", start, end };
  if (end >= text.length && !isEnd) return { kind: "open", start };
  return isKind(text, end, WORD) ? undefined : { kind: "match", start, end };
}
