import { BACKSLASH, behindEscape, type Candidate, endOfRun, type Reading, type Run } from "./candidate.ts";
import { ALNUM, BASE64, ENTRA, isKind, UPPER_OR_DIGIT, URL_SAFE } from "./characters.ts";

interface KeyForm {
  /** What every key of this form has. Its last character is what the scan stops at. */
  readonly mark: string;
  /** How much of `tail` must follow. */
  readonly min: number;
  readonly tail: number;
  readonly run: Run;
  /** Whether the mark may stand in the middle of a word. */
  readonly inside?: boolean;
  /** Without a digit it is a name, as of a package. */
  readonly needsDigit?: boolean;
  /** In any case, as names of settings are. */
  readonly isName?: boolean;
  /** What of the key stands before the mark. */
  readonly before?: { readonly max: number; readonly kind: number };
}

const runOf = (kind: number): Run => ({ has: (text, at) => isKind(text, at, kind), isLoose: (unit) => unit === DOT });

const DOT = 0x2e;
const form = (mark: string, min: number, tail: number): KeyForm => ({ mark, min, tail, run: runOf(tail) });

/** The forms that their issuers document, or that their own scanners look for. */
const KEY_FORMS: readonly KeyForm[] = [
  form("AKIA", 16, UPPER_OR_DIGIT),
  form("ASIA", 16, UPPER_OR_DIGIT),
  ...["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].map((mark) => form(mark, 36, ALNUM)),
  form("github_pat_", 22, URL_SAFE),
  { ...form("sk-", 32, URL_SAFE), needsDigit: true },
  // Storage, Service Bus, Event Hubs, Cosmos DB; a signature of shared access.
  { ...form("accountkey=", 40, BASE64), inside: true, isName: true },
  { ...form("sharedaccesskey=", 40, BASE64), inside: true, isName: true },
  { ...form("sig=", 40, BASE64), isName: true },
  // Azure AI keys have it behind 52 random characters, secrets of Entra applications behind four.
  { ...form("JQQJ99", 20, ALNUM), inside: true, before: { max: 52, kind: ALNUM } },
  { ...form("Q~", 31, ENTRA), inside: true, before: { max: 4, kind: ENTRA } },
];

type Find = (reading: Reading, at: number) => Candidate | undefined;

/** What to look for where a character stands: each form stops the scan at one. */
const FINDERS = new Map<number, Find[]>();
const addFinder = (mark: string, find: Find): void => {
  const unit = mark.charCodeAt(mark.length - 1);
  FINDERS.set(unit, [...(FINDERS.get(unit) ?? []), find]);
};
for (const each of KEY_FORMS) addFinder(each.mark, (reading, at) => findForm(reading, at, each));
addFinder("-----B", findPem);
addFinder("eyJ", findJwt);

/** The characters at which a secret may be recognised. */
export const SECRET_STOPS: readonly number[] = [...FINDERS.keys()];

/** Secrets that are recognised at the character there: each looks at a bounded number of others, and a run is read once. */
export function findSecrets(reading: Reading, at: number, report: (candidate: Candidate) => void): void {
  for (const find of FINDERS.get(reading.text.charCodeAt(at)) ?? []) {
    const candidate = find(reading, at);
    if (candidate !== undefined) report(candidate);
  }
}

function findForm(reading: Reading, at: number, key: KeyForm): Candidate | undefined {
  const { text, work } = reading;
  const markStart = at + 1 - key.mark.length;
  work.steps += 1;
  if (!isMark(text, markStart, key) || (key.inside !== true && isInside(text, markStart, ALNUM))) return undefined;
  const start = startOf(text, markStart, key);
  const min = minEnd(text, at + 1, key);
  work.steps += min - at;
  if (min - at - 1 < key.min) return min === text.length && !reading.isEnd ? { kind: "open", start } : undefined;
  if (key.needsDigit === true && !/[0-9]/.test(text.slice(at + 1, min))) return undefined;
  return matchOf(reading, { start, end: min, run: key.run });
}

/** Where the part of a key ends that it must have, or where it breaks off. */
function minEnd(text: string, from: number, { min, tail }: KeyForm): number {
  let end = from;
  while (end - from < min && isKind(text, end, tail)) end += 1;
  return end;
}

/** A match of which this much is sure, with all of its run that is there. */
function matchOf(
  reading: Reading,
  { start, end: from, run }: { readonly start: number; readonly end: number; readonly run: Run },
): Candidate {
  const { end, isOpen } = endOfRun(reading, from, run);
  return isOpen ? { kind: "match", start, end, run: { run, from } } : { kind: "match", start, end };
}

/** Whether a run goes on over a place. */
function isInside(text: string, at: number, kind: number): boolean {
  return isKind(text, at - 1, kind) && behindEscape(text, at - 1) !== at;
}

function isMark(text: string, at: number, { mark, isName }: KeyForm): boolean {
  if (at < 0) return false;
  return isName === true ? text.slice(at, at + mark.length).toLowerCase() === mark : text.startsWith(mark, at);
}

function startOf(text: string, markStart: number, { before }: KeyForm): number {
  if (before === undefined) return markStart;
  let start = markStart;
  while (markStart - start < before.max && isKind(text, start - 1, before.kind)) start -= 1;
  return Math.min(behindEscape(text, start), markStart);
}

const PEM_BEGIN = "-----BEGIN ";
const PEM_KEY = "PRIVATE KEY-----";
/** The longest name of a kind of key that stands between the two, `ENCRYPTED `, and some more. */
const PEM_KIND_MAX = 24;

/** The lines of a key, in JSON too, headers and the end mark included. A space goes on with it only where a line of one begins. */
const PEM_RUN: Run = {
  has(text, at) {
    const unit = text.charAt(at);
    if (/[0-9A-Za-z+/=\r\n\\:,-]/.test(unit))
      return text.charAt(at - 1) !== "-" || !PEM_ENDED.test(lineBefore(text, at));
    return /[ \t]/.test(unit) && PEM_SPACE.test(lineBefore(text, at));
  },
  isLoose: (unit) => unit === BACKSLASH,
};

const PEM_ENDED = /-----END [A-Z ]*PRIVATE KEY-----$/;
/** Behind the end of a line or a colon, or inside of the end mark. */
const PEM_SPACE = /(?:[\n\r:]|\\[nr])[ \t]*$|-----END[A-Z ]*$/;
const PEM_LINE_MAX = 64;

function lineBefore(text: string, at: number): string {
  return text.slice(Math.max(0, at - PEM_LINE_MAX), at);
}

function findPem(reading: Reading, at: number): Candidate | undefined {
  const { text, isEnd, work } = reading;
  const start = at - 5;
  if (!text.startsWith("-----B", start)) return undefined;
  const opening = text.slice(start, start + PEM_BEGIN.length + PEM_KIND_MAX + PEM_KEY.length);
  work.steps += opening.length;
  if (!opening.startsWith(PEM_BEGIN) && !PEM_BEGIN.startsWith(opening)) return undefined;
  const key = opening.indexOf(PEM_KEY);
  if (key < 0)
    return !isEnd && opening.length < PEM_BEGIN.length + PEM_KIND_MAX + PEM_KEY.length
      ? { kind: "open", start }
      : undefined;
  return matchOf(reading, { start, end: start + key + PEM_KEY.length, run: PEM_RUN });
}

/** Longer headers are of no token that was seen; certificates in it make some 2,000. */
const JWT_HEADER_MAX = 4_000;
const JWT_RUN: Run = {
  has: (text, at) => isKind(text, at, URL_SAFE) || text.charCodeAt(at) === DOT,
  isLoose: (unit) => unit === DOT,
};

/** Two parts of base64url with a dot between them that are JSON objects, and what follows. */
function findJwt(reading: Reading, at: number): Candidate | undefined {
  const { text, isEnd, work } = reading;
  const start = at - 2;
  work.steps += 1;
  if (!text.startsWith("eyJ", start)) return undefined;
  // A run is looked at from its beginning alone, else one of many `eyJ` would be read over and over.
  if (isInside(text, start, URL_SAFE)) return undefined;
  let dot = at + 1;
  while (dot - start < JWT_HEADER_MAX && isKind(text, dot, URL_SAFE)) dot += 1;
  work.steps += dot - at;
  const payload = text.slice(dot, dot + JWT_PAYLOAD.length);
  if (payload === JWT_PAYLOAD) return matchOf(reading, { start, end: dot + payload.length, run: JWT_RUN });
  const isCutOff = dot + payload.length === text.length && dot - start < JWT_HEADER_MAX;
  return !isEnd && isCutOff && JWT_PAYLOAD.startsWith(payload) ? { kind: "open", start } : undefined;
}

const JWT_PAYLOAD = ".eyJ";
