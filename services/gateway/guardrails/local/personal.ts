import { behindEscape, type Candidate, type Reading } from "./candidate.ts";
import { DIGIT, DOMAIN, isKind, LOCAL_PART, SEPARATOR } from "./characters.ts";

const DIGITS_MIN = 13;
const DIGITS_MAX = 19;
/** Shorter groups of digits are not how a card is written, but how lists of numbers are. */
const GROUP_MIN = 3;
/** As ` - `. */
const SEPARATORS_MAX = 3;

/**
 * The number of a payment card that begins at a digit: 13 to 19 digits, in groups or not, with the right check digit (ISO/IEC 7812).
 * Reads at most that many with what stands between them.
 */
export function findCard(reading: Reading, start: number): Candidate | undefined {
  const { text, work } = reading;
  const digits: number[] = [];
  for (let at = start; digits.length <= DIGITS_MAX;) {
    const groupEnd = readDigits(text, at, digits);
    work.steps += groupEnd - at + 1;
    if (isCutOff(reading, groupEnd) && digits.length <= DIGITS_MAX) return { kind: "open", start };
    if (groupEnd - at < GROUP_MIN) return undefined;
    if (isCard(digits)) return { kind: "match", start, end: groupEnd };
    at = behindSeparators(text, groupEnd);
    if (at === groupEnd || at - groupEnd > SEPARATORS_MAX) return undefined;
    if (!isKind(text, at, DIGIT)) return isCutOff(reading, at) ? { kind: "open", start } : undefined;
  }
  return undefined;
}

/** Whether what stands there has not come yet. */
function isCutOff({ text, isEnd }: Reading, at: number): boolean {
  return at === text.length && !isEnd;
}

/** Adds the digits from a place on, one more than a card has at the most. Returns where they end. */
function readDigits(text: string, from: number, digits: number[]): number {
  let at = from;
  for (; digits.length <= DIGITS_MAX && isKind(text, at, DIGIT); at += 1) digits.push(text.charCodeAt(at) - 48);
  return at;
}

function behindSeparators(text: string, from: number): number {
  let at = from;
  while (at - from <= SEPARATORS_MAX && isKind(text, at, SEPARATOR)) at += 1;
  return at;
}

function isCard(digits: readonly number[]): boolean {
  const first = digits[0] ?? 0;
  if (digits.length < DIGITS_MIN || digits.length > DIGITS_MAX || first < 2 || first > 6) return false;
  const sum = digits.reduceRight((total, digit, at) => {
    const isDoubled = (digits.length - 1 - at) % 2 === 1;
    return total + (isDoubled ? (digit > 4 ? digit * 2 - 9 : digit * 2) : digit);
  }, 0);
  return sum % 10 === 0;
}

/** RFC 5321 §4.5.3.1. */
const LOCAL_MAX = 64;
const DOMAIN_MAX = 255;
/** Letters: `node@24.1.10` is a version. */
const TOP_LEVEL = /^\p{L}{2}|^xn--/u;

/** The e-mail address round an `@`: something, and a domain with a dot. */
export function findEmail(reading: Reading, at: number): Candidate | undefined {
  const { text, work } = reading;
  const start = localStart(text, at);
  work.steps += at - start + 1;
  if (start >= at) return undefined;
  let end = at + 1;
  while (end - at <= DOMAIN_MAX && isKind(text, end, DOMAIN)) end += 1;
  work.steps += end - at;
  if (isCutOff(reading, end) && end - at <= DOMAIN_MAX) return { kind: "open", start };
  while (end > at + 1 && /[.-]/.test(text.charAt(end - 1))) end -= 1;
  // Of the domain alone: over the whole text each `@` would be followed back to its beginning.
  return isDomain(text.slice(at + 1, end)) ? { kind: "match", start, end } : undefined;
}

function localStart(text: string, at: number): number {
  let start = at;
  while (at - start < LOCAL_MAX && isKind(text, start - 1, LOCAL_PART)) start -= 1;
  return behindEscape(text, start);
}

function isDomain(name: string): boolean {
  const dot = name.lastIndexOf(".");
  return dot > 0 && TOP_LEVEL.test(name.slice(dot + 1));
}
