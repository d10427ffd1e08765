import type { LOCAL_DETECTORS } from "#core/api/guardrails.ts";
import { type Candidate, type Reading, resumeAt, type RunPart, type Work } from "./candidate.ts";
import { DIGIT, isKind, TOKEN } from "./characters.ts";
import { findCard, findEmail } from "./personal.ts";
import { findSecrets, SECRET_STOPS } from "./secrets.ts";
import { endInText, foldText, lastInView, startInText, type TextView, toView, viewOf } from "./text-view.ts";
import { createWordFinder, foldWord } from "./words.ts";

/** What to look for. */
export interface LocalRules {
  readonly detect: readonly (typeof LOCAL_DETECTORS)[number][];
  readonly denyWords: readonly string[];
  /** A card or an address that is one of these is none. */
  readonly allowWords: readonly string[];
}

/** The names of the rules: a closed set, also values of a label and of audit lines. */
export type LocalRule = "secret" | "card" | "email" | "deny_word";

/** What a found text is replaced with. */
export const LABELS: Readonly<Record<LocalRule, string>> = {
  secret: "[secret]",
  card: "[card]",
  email: "[email]",
  deny_word: "[word]",
};

/** What the rules found in a text. Places are UTF-16 units of the text as it came. */
export interface Scan {
  /** Leftmost first, then longest; they may overlap. `run`: goes on if more text does. */
  readonly found: readonly Found[];
  /** The first place from which a match could still begin or go on if more text came; the length at the end. */
  readonly holdFrom: number;
  readonly textEnd: number;
}

export interface Found {
  readonly rule: LocalRule;
  readonly start: number;
  readonly end: number;
  readonly run?: RunPart;
}

/** Rules made ready: built once per configuration. */
export interface LocalMatcher {
  /** Looks for what begins at `from` or later; what stands before is only looked at as what precedes it. Linear in the length of the text. */
  readonly scan: (text: string, where: ScanOptions) => Scan;
}

export interface ScanOptions {
  readonly from: number;
  /** Nothing follows the text. */
  readonly isEnd: boolean;
  readonly work: Work;
}

/**
 * The most of a text that waits for more of it, in UTF-16 units. A match that needs more to be recognised is not found in a text that
 * comes in pieces. A key that goes on for longer does not wait.
 */
export const HOLD_MAX = 4_096;

/** The longest part of a match before what it is recognised by: the name in an address. */
const TOKEN_MAX = 64;

/** What a character that is seen as another costs, and a match, beside characters that are only looked at. */
const STEPS_PER_PART = 16;

const SECRET = 1;
const PERSONAL = 2;
const AT = 0x40;

export function createLocalMatcher(rules: LocalRules): LocalMatcher {
  const allowed = new Set(rules.allowWords.map((word) => foldWord(foldText(word)).trim()));
  // An allowed word never lets a secret pass: whoever knows one would have written it into the spec.
  const isAllowed = (rule: LocalRule, text: string): boolean =>
    allowed.size > 0 && (rule === "card" || rule === "email") && allowed.has(foldWord(text));
  const stops = toStops(rules);
  const words = createWordFinder(rules.denyWords);
  return {
    scan(text, { from, isEnd, work }) {
      const view = viewOf(text);
      const reading: Reading = { text: view.text, isEnd, work, runs: new Map() };
      const start = toView(view, from);
      work.steps += text.length - from + STEPS_PER_PART * (view.parts?.length ?? 0);
      const found: Found[] = [];
      let openAt = startOfToken(view.text, start);
      const last = lastInView(view).at;
      const report = (rule: LocalRule, candidate: Candidate): void => {
        if (candidate.kind === "open") openAt = Math.min(openAt, candidate.start);
        else if (!isAllowed(rule, view.text.slice(candidate.start, candidate.end))) {
          openAt = Math.min(openAt, sureTo(view.text, candidate, last));
          found.push(toFound(view, { rule, candidate, from }));
        }
      };
      if (stops !== undefined) findAtStops(reading, start, { stops, report });
      if (words !== undefined)
        openAt = Math.min(
          openAt,
          words.find(reading, start, (candidate) => report("deny_word", candidate)),
        );
      work.steps += STEPS_PER_PART * found.length;
      found.sort((a, b) => a.start - b.start || b.end - a.end);
      return {
        found,
        textEnd: text.length,
        holdFrom: isEnd ? text.length : Math.max(from, holdInText(text, view, openAt)),
      };
    },
  };
}

type Match = Extract<Candidate, { kind: "match" }>;

/** Up to where a match is sure; where it is not yet one for sure, where it begins. */
function sureTo(text: string, { start, end, run }: Match, last: number): number {
  if (end <= last && run === undefined) return text.length;
  if (run === undefined || run.from > last) return start;
  return resumeAt(text, run, { end, last });
}

type Report = (rule: LocalRule, candidate: Candidate) => void;

/** Stops at the characters by which something may be recognised: few of a common text. */
function findAtStops(
  reading: Reading,
  from: number,
  { stops, report }: { readonly stops: Uint8Array; readonly report: Report },
): void {
  const { text } = reading;
  for (let at = from; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    const stop = unit < 128 ? (stops[unit] ?? 0) : 0;
    if (stop === 0) continue;
    if ((stop & SECRET) !== 0) findSecrets(reading, at, (candidate) => report("secret", candidate));
    if ((stop & PERSONAL) !== 0) findPersonal(reading, at, report);
  }
}

function findPersonal(reading: Reading, at: number, report: Report): void {
  const isMail = reading.text.charCodeAt(at) === AT;
  // A number is looked at from its beginning alone.
  if (!isMail && isKind(reading.text, at - 1, DIGIT)) return;
  const candidate = isMail ? findEmail(reading, at) : findCard(reading, at);
  if (candidate !== undefined) report(isMail ? "email" : "card", candidate);
}

/** Where the letters, digits and what may join them begin with which the text ends: what they are comes with what follows. */
function startOfToken(text: string, from: number): number {
  let at = text.length;
  while (at > from && text.length - at < TOKEN_MAX && isKind(text, at - 1, TOKEN)) at -= 1;
  return at;
}

/** A place of the view in the text, never between the halves of a character, nor so early that too much would wait. */
function holdInText(text: string, view: TextView, at: number): number {
  const last = lastInView(view);
  // Marks have joined the last character, and more of them may.
  const seen = startInText(view, last.isJoined ? Math.min(at, last.at) : at, text.length);
  const hold = Math.max(seen, text.length - HOLD_MAX);
  return isHalf(text, hold - 1, 0xd800) && (hold === text.length || isHalf(text, hold, 0xdc00)) ? hold - 1 : hold;
}

function isHalf(text: string, at: number, first: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= first && unit < first + 0x400;
}

function toFound(
  view: TextView,
  match: { readonly rule: LocalRule; readonly candidate: Match; readonly from: number },
): Found {
  const { rule, candidate, from } = match;
  const start = Math.max(from, startInText(view, candidate.start, from));
  const found = { rule, start, end: endInText(view, candidate.end) };
  if (candidate.run === undefined) return found;
  return { ...found, run: { run: candidate.run.run, from: endInText(view, candidate.run.from) } };
}

/** At which characters to look for what; nothing where words are all that is looked for. */
function toStops({ detect }: LocalRules): Uint8Array | undefined {
  if (detect.length === 0) return undefined;
  const stops = new Uint8Array(128);
  const stopAt = (unit: number, bit: number): void => void (stops[unit] = (stops[unit] ?? 0) | bit);
  if (detect.includes("Secrets")) for (const unit of SECRET_STOPS) stopAt(unit, SECRET);
  if (detect.includes("Cards")) for (let digit = 0; digit < 10; digit += 1) stopAt(0x30 + digit, PERSONAL);
  if (detect.includes("Emails")) stopAt(AT, PERSONAL);
  return stops;
}
