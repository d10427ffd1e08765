/** What a UTF-16 unit may be part of: bits, learned once for each unit that is met. */
export const PLAIN = 2;
/** Goes on with the character before it, or is not seen at all. */
export const JOINED = 4;
export const DIGIT = 8;
export const ALNUM = 16;
export const UPPER_OR_DIGIT = 32;
/** Also `_` and `-`. */
export const URL_SAFE = 64;
/** Also `+`, `/`, `=` and `%`. */
export const BASE64 = 128;
/** Also `~` and `.`. */
export const ENTRA = 256;
/** Before the `@` of an address. */
export const LOCAL_PART = 512;
export const DOMAIN = 1024;
/** In the middle of anything that is found without spaces in it. */
export const TOKEN = 2048;
/** A letter or digit of a script that puts something between words. */
export const WORD = 4096;
export const SEPARATOR = 8192;

const KNOWN = 1;

const kinds = new Uint16Array(65_536);

/** The bits of a unit; none for NaN, as of a place outside of a text. */
export function kindOf(unit: number): number {
  const kind = kinds[unit];
  return kind === 0 ? learn(unit) : (kind ?? 0);
}

export function isKind(text: string, at: number, bits: number): boolean {
  return (kindOf(text.charCodeAt(at)) & bits) !== 0;
}

/** Each kind as a set of characters. A character that is not its own compatible form is looked at in that form. */
const SETS: readonly (readonly [number, RegExp])[] = [
  [DIGIT, /[0-9]/],
  [ALNUM, /[0-9A-Za-z]/],
  [UPPER_OR_DIGIT, /[0-9A-Z]/],
  [URL_SAFE, /[0-9A-Za-z_-]/],
  [BASE64, /[0-9A-Za-z+/=%]/],
  [ENTRA, /[0-9A-Za-z_~.-]/],
  [LOCAL_PART, /[\p{L}\p{N}._%+-]/u],
  [DOMAIN, /[\p{L}\p{N}.-]/u],
  [TOKEN, /[\p{L}\p{N}._%+~-]/u],
  [WORD, /(?!\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai})[\p{L}\p{N}]/u],
  // Between groups of digits: spaces, dashes, dots, strokes.
  [SEPARATOR, /[\p{Zs}\p{Pd}\t._/]/u],
  // Vowels and finals of Hangul make one syllable with what stands before.
  [JOINED, /[\p{M}\p{Default_Ignorable_Code_Point}\u1160-\u11ff]/u],
];

function learn(unit: number): number {
  const character = String.fromCharCode(unit);
  const isHalf = unit >= 0xd800 && unit < 0xe000;
  let kind = KNOWN;
  for (const [bits, set] of SETS) if (set.test(character)) kind |= bits;
  if (!isHalf && (kind & JOINED) === 0 && character.normalize("NFKC") === character) kind |= PLAIN;
  kinds[unit] = kind;
  return kind;
}

const lowers = new Uint16Array(65_536);

/** A unit in lower case, of one length always. Both small sigmas are one. */
export function lowerOf(unit: number): number {
  const known = lowers[unit] ?? 0;
  if (known !== 0) return known;
  const lower = String.fromCharCode(unit).toLowerCase().charCodeAt(0);
  const folded = lower === FINAL_SIGMA ? FINAL_SIGMA + 1 : lower;
  lowers[unit] = folded;
  return folded;
}

const FINAL_SIGMA = 0x3c2;
