import type { Span } from "./secrets.ts";
import type { Work } from "./words.ts";

const DIGITS_MIN = 13;
const DIGITS_MAX = 19;
/** Shorter groups of digits are not how a card is written, but how lists of numbers are. */
const GROUP_MIN = 3;

/** The first number from `from` on that may be one of a payment card: 13 to 19 digits, in groups or not, with the right check digit (ISO/IEC 7812). */
export function findCard(text: string, from: number, work: Work): Span | undefined {
  for (let at = from; at < text.length; at += 1) {
    work.steps += 1;
    if (digitAt(text, at) < 0 || digitAt(text, at - 1) >= 0) continue;
    const end = cardEnd(text, at, work);
    if (end !== undefined) return { start: at, end };
  }
  return undefined;
}

/** Where the card that begins here ends. Reads at most 19 digits with their separators. */
function cardEnd(text: string, start: number, work: Work): number | undefined {
  const digits: number[] = [];
  let group = 0;
  for (let at = start; digits.length <= DIGITS_MAX; at += 1) {
    work.steps += 1;
    const digit = digitAt(text, at);
    if (digit >= 0) {
      digits.push(digit);
      group += 1;
      continue;
    }
    if (group < GROUP_MIN) return undefined;
    if (digits.length >= DIGITS_MIN && digits.length <= DIGITS_MAX && isCard(digits)) return at;
    if (!isSeparator(text.charCodeAt(at)) || digitAt(text, at + 1) < 0) return undefined;
    group = 0;
  }
  return undefined;
}

function isCard(digits: readonly number[]): boolean {
  const first = digits[0] ?? 0;
  if (first < 2 || first > 6) return false;
  const sum = digits.reduceRight((total, digit, at) => {
    const isDoubled = (digits.length - 1 - at) % 2 === 1;
    return total + (isDoubled ? (digit > 4 ? digit * 2 - 9 : digit * 2) : digit);
  }, 0);
  return sum % 10 === 0;
}

function digitAt(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  return unit >= 48 && unit <= 57 ? unit - 48 : -1;
}

/** A space, one that does not break, `-` or `.`. */
function isSeparator(unit: number): boolean {
  return unit === 32 || unit === 160 || unit === 45 || unit === 46;
}

/** RFC 5321 §4.5.3.1. */
const LOCAL_MAX = 64;
const DOMAIN_MAX = 255;
const LOCAL_CHARACTER = /[\p{L}\p{N}._%+-]/u;
/** Letters: `node@24.1.10` is a version. */
const TOP_LEVEL = /^\p{L}{2}|^xn--/u;
const DOMAIN_CHARACTER = /[\p{L}\p{N}.-]/u;

/** The first e-mail address from `from` on: something, `@`, and a domain with a dot. */
export function findEmail(text: string, from: number, work: Work): Span | undefined {
  for (let at = text.indexOf("@", from); at >= 0; at = text.indexOf("@", at + 1)) {
    let start = at;
    while (at - start < LOCAL_MAX && LOCAL_CHARACTER.test(text.charAt(start - 1))) start -= 1;
    let end = at + 1;
    while (end - at <= DOMAIN_MAX && DOMAIN_CHARACTER.test(text.charAt(end))) end += 1;
    work.steps += end - start;
    while (end > at + 1 && /[.-]/.test(text.charAt(end - 1))) end -= 1;
    // Of the domain alone: over the whole text each `@` would be followed back to its beginning.
    if (start < at && isDomain(text.slice(at + 1, end))) return { start, end };
  }
  return undefined;
}

function isDomain(name: string): boolean {
  const dot = name.lastIndexOf(".");
  return dot > 0 && TOP_LEVEL.test(name.slice(dot + 1));
}
