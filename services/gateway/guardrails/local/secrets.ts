import type { Work } from "./words.ts";

/** Where something was found: UTF-16 units, `end` is behind it. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

interface KeyForm {
  /** What every key of this form has. */
  readonly mark: string;
  /** How much of `tail` must follow. */
  readonly min: number;
  readonly tail: (unit: number) => boolean;
  /** Whether the mark may stand in the middle of a word. */
  readonly inside?: boolean;
  /** Without a digit it is a name, as of a package. */
  readonly needsDigit?: boolean;
}

const isDigit = (unit: number): boolean => unit >= 48 && unit <= 57;
const isUpper = (unit: number): boolean => unit >= 65 && unit <= 90;
const isAlnum = (unit: number): boolean => isDigit(unit) || isUpper(unit) || (unit >= 97 && unit <= 122);
const isUpperOrDigit = (unit: number): boolean => isUpper(unit) || isDigit(unit);
/** Also `_` and `-`. */
const isUrlSafe = (unit: number): boolean => isAlnum(unit) || unit === 95 || unit === 45;
/** Also `+`, `/`, `=` and `%`. */
const isBase64 = (unit: number): boolean => isAlnum(unit) || unit === 43 || unit === 47 || unit === 61 || unit === 37;
/** Also `~` and `.`. */
const isEntra = (unit: number): boolean => isUrlSafe(unit) || unit === 126 || unit === 46;

/** The forms that their issuers document, or that their own scanners look for. */
const KEY_FORMS: readonly KeyForm[] = [
  { mark: "AKIA", min: 16, tail: isUpperOrDigit },
  { mark: "ASIA", min: 16, tail: isUpperOrDigit },
  ...["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].map((mark) => ({ mark, min: 36, tail: isAlnum })),
  { mark: "github_pat_", min: 22, tail: isUrlSafe },
  { mark: "sk-", min: 32, tail: isUrlSafe, needsDigit: true },
  // Storage, Service Bus, Event Hubs, Cosmos DB; a signature of shared access.
  { mark: "AccountKey=", min: 40, tail: isBase64, inside: true },
  { mark: "SharedAccessKey=", min: 40, tail: isBase64, inside: true },
  { mark: "sig=", min: 40, tail: isBase64 },
  // Azure AI keys have it behind 52 random characters, secrets of Entra applications behind four.
  { mark: "JQQJ99", min: 20, tail: isAlnum, inside: true },
  { mark: "Q~", min: 31, tail: isEntra, inside: true },
];

const PEM_BEGIN = "-----BEGIN ";
const PEM_KEY = "PRIVATE KEY-----";
/** The longest name of a kind of key that stands between the two, `ENCRYPTED `, and some more. */
const PEM_KIND_MAX = 24;

/** The first key of a known form. Looks at each character a bounded number of times. */
export function findSecret(text: string, work: Work): Span | undefined {
  for (const form of KEY_FORMS) {
    const found = findForm(text, form, work);
    if (found !== undefined) return found;
  }
  return findPem(text, work) ?? findJwt(text, work);
}

function findForm(text: string, form: KeyForm, work: Work): Span | undefined {
  for (let at = text.indexOf(form.mark); at >= 0; at = text.indexOf(form.mark, at + 1)) {
    work.steps += 1;
    if (form.inside !== true && isAlnum(text.charCodeAt(at - 1))) continue;
    const start = at + form.mark.length;
    const end = runOf(text, start, { tail: form.tail, max: form.min, work });
    if (end - start === form.min && !(form.needsDigit === true && !hasDigit(text, start, end)))
      return { start: at, end };
  }
  return undefined;
}

/** Where a run of some characters ends, `max` of them at the most. */
function runOf(
  text: string,
  start: number,
  { tail, max, work }: { readonly tail: KeyForm["tail"]; readonly max: number; readonly work: Work },
): number {
  let end = start;
  while (end - start < max && tail(text.charCodeAt(end))) end += 1;
  work.steps += end - start;
  return end;
}

function hasDigit(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (isDigit(text.charCodeAt(at))) return true;
  return false;
}

function findPem(text: string, work: Work): Span | undefined {
  for (let at = text.indexOf(PEM_BEGIN); at >= 0; at = text.indexOf(PEM_BEGIN, at + 1)) {
    const kind = text.slice(at + PEM_BEGIN.length, at + PEM_BEGIN.length + PEM_KIND_MAX + PEM_KEY.length);
    work.steps += kind.length;
    const key = kind.indexOf(PEM_KEY);
    if (key >= 0) return { start: at, end: at + PEM_BEGIN.length + key + PEM_KEY.length };
  }
  return undefined;
}

const JWT_PART_MIN = 8;

/** Three parts of base64url with dots between them, the first two of which are JSON objects. */
function findJwt(text: string, work: Work): Span | undefined {
  for (let at = text.indexOf("eyJ"); at >= 0; at = text.indexOf("eyJ", at + 1)) {
    work.steps += 1;
    // A run is looked at from its beginning alone, else one of many `eyJ` would be read over and over.
    if (isUrlSafe(text.charCodeAt(at - 1))) continue;
    const run = { tail: isUrlSafe, max: text.length, work };
    const header = runOf(text, at, run);
    if (!text.startsWith(".eyJ", header)) continue;
    const payload = runOf(text, header + 1, run);
    if (text.charAt(payload) !== ".") continue;
    const end = runOf(text, payload + 1, run);
    if (end - payload > JWT_PART_MIN) return { start: at, end };
  }
  return undefined;
}
