/** What a scan took, in steps of its loops: a test holds it against the length of the text. */
export interface Work {
  steps: number;
}

/** A text, or what has come of it, in front of a rule. */
export interface Reading {
  readonly text: string;
  /** Nothing follows. */
  readonly isEnd: boolean;
  readonly work: Work;
  /** The runs that were read, so that none is read twice. */
  readonly runs: Map<Run, RunEnd & { readonly from: number; readonly stop: number }>;
}

interface RunEnd {
  readonly end: number;
  /** The end of the text has come before that of the run. */
  readonly isOpen: boolean;
}

/** What goes on behind a match as long as its characters do: bytes of a key whose form was seen. */
export interface Run {
  /** Whether the unit there belongs to it. */
  readonly has: (text: string, at: number) => boolean;
  /** Whether it may only stand between others, as a dot. */
  readonly isLoose: (unit: number) => boolean;
}

/** Something that may be a match; `open` needs more of the text. UTF-16 units, `end` is behind it. */
export type Candidate =
  | { readonly kind: "open"; readonly start: number }
  | {
      readonly kind: "match";
      readonly start: number;
      readonly end: number;
      readonly run?: RunPart;
    };

/** The part of a match that goes on if more text does, and where it begins: what stands before is sure. */
export interface RunPart {
  readonly run: Run;
  readonly from: number;
}

/** Where a run ends that has come to `from`. */
export function endOfRun({ text, work, runs }: Reading, from: number, run: Run): RunEnd {
  const known = runs.get(run);
  if (known !== undefined && from >= known.from && from <= known.stop)
    return { end: Math.max(from, known.end), isOpen: known.isOpen };
  let end = from;
  let stop = from;
  for (; stop < text.length && run.has(text, stop); stop += 1) if (!run.isLoose(text.charCodeAt(stop))) end = stop + 1;
  work.steps += stop - from;
  const isOpen = stop === text.length;
  runs.set(run, { from, stop, end, isOpen });
  return { end, isOpen };
}

/** Where a run that has come to `end` is to be taken up again, when more may join the character at `last`. */
export function resumeAt(
  text: string,
  { run, from }: RunPart,
  { end, last }: { readonly end: number; readonly last: number },
): number {
  if (end <= last) return end;
  let at = last;
  while (at > from && run.isLoose(text.charCodeAt(at - 1))) at -= 1;
  return at;
}

/**
 * A place moved out of an escape of JSON inside of a text, as arguments of tools are: `\nAKIA…` begins with A, and a label in place of
 * the n would leave half an escape.
 */
export function behindEscape(text: string, at: number): number {
  if (text.charCodeAt(at - 1) !== BACKSLASH) return at;
  const unit = text.charCodeAt(at);
  if (unit === LETTER_U && /^[0-9a-f]{4}/i.test(text.slice(at + 1, at + 5))) return at + 5;
  return ESCAPES.has(unit) ? at + 1 : at;
}

export const BACKSLASH = 0x5c;
const LETTER_U = 0x75;
/** Of b, f, n, r and t. */
const ESCAPES: ReadonlySet<number> = new Set([0x62, 0x66, 0x6e, 0x72, 0x74]);
