import type { Work } from "../local/candidate.ts";
import { countMatches, PIECE_MAX } from "../local/local-rules.ts";
import { createLocalScan, findLocalMatches, type LocalMatch } from "../local/local-scan.ts";
import type { LocalMatcher } from "../local/matcher.ts";
import { createPause } from "../local/pause.ts";
import { createPlaceReader, type Place, type PlaceOptions } from "./places.ts";

/** A body with labels in the place of what was found. */
export interface MaskedBody {
  /** The same buffer where nothing was found. */
  readonly bytes: Buffer;
  /** How many matches, by rule. */
  readonly counts: ReadonlyMap<string, number>;
  /** Something was found where nothing else may stand, as in a name: it is still there. */
  readonly isPartial: boolean;
}

export interface MaskOptions extends PlaceOptions {
  readonly matcher: LocalMatcher;
  readonly work: Work;
  /** Asked now and then: nobody waits for the body any more, and nothing is replaced. */
  readonly isCut?: () => boolean;
}

/** Places of so much of a body are collected in one go, in UTF-16 units. */
const UNITS_PER_TURN = 16_384;

/**
 * Replaces what a matcher finds in the texts that a request brings to a model. All bytes outside of a match stay as they are, and what
 * was JSON stays it. A long body is gone over in pieces: others have their turn between them.
 */
export async function maskBody(bytes: Buffer, options: MaskOptions): Promise<MaskedBody> {
  const text = bytes.toString("utf8");
  const reader = createPlaceReader(text, options);
  const editor = createEditor(text, options);
  const pause = createPause(options.work);
  for (let places = reader.next(UNITS_PER_TURN); places !== undefined; places = reader.next(UNITS_PER_TURN)) {
    options.work.steps += UNITS_PER_TURN;
    for (const place of places) {
      const waiting = editor.edit(place, pause) ?? pause();
      if (waiting !== undefined) await waiting;
    }
    await pause();
    if (options.isCut?.() === true) break;
  }
  return editor.result(bytes);
}

/** Pieces of the new body that wait to be joined: all at the end would take many milliseconds. */
const OUT_MAX = 1_024;

interface Editor {
  /** Nothing to wait for where a text is short. */
  edit(place: Place, pause: () => Promise<void> | undefined): Promise<void> | undefined;
  result(bytes: Buffer): MaskedBody;
}

function createEditor(text: string, { matcher, work, isCut }: MaskOptions): Editor {
  const written: Buffer[] = [];
  let out: string[] = [];
  const counts = new Map<string, number>();
  let copiedTo = 0;
  let isPartial = false;
  const replace = (matches: readonly LocalMatch[], place: Place, cursor: Cursor): void => {
    countMatches(counts, matches);
    if (matches.length > 0 && !place.mayChange) isPartial = true;
    if (!place.mayChange) return;
    for (const { start, end, label } of matches) {
      const from = advance(text, cursor, start);
      out.push(text.slice(copiedTo, from), label);
      copiedTo = advance(text, cursor, end);
    }
    if (out.length < OUT_MAX) return;
    written.push(Buffer.from(out.join(""), "utf8"));
    out = [];
  };
  const editLong = async (place: Place, pause: () => Promise<void> | undefined): Promise<void> => {
    const cursor = cursorAt(place.start);
    const scan = createLocalScan(matcher, work);
    for (let at = place.start; at < place.end && isCut?.() !== true;) {
      const to = pieceEnd(text, at, place.end);
      const piece = decode(text.slice(at, to), cursor);
      replace(scan.push(piece), place, cursor);
      at = to;
      await pause();
    }
    replace(scan.end(), place, cursor);
  };
  return {
    edit(place, pause) {
      if (place.end - place.start > PIECE_MAX) return editLong(place, pause);
      const cursor = cursorAt(place.start);
      const piece = decode(text.slice(place.start, place.end), cursor);
      replace(findLocalMatches(matcher, piece, work), place, cursor);
      return undefined;
    },
    result: (bytes) => ({
      bytes:
        copiedTo === 0 ? bytes : Buffer.concat([...written, Buffer.from(out.join("") + text.slice(copiedTo), "utf8")]),
      counts,
      isPartial,
    }),
  };
}

/** How far a text in JSON was followed: the same place in it and in what it says. */
interface Cursor {
  at: number;
  units: number;
  hasEscapes: boolean;
}

function cursorAt(at: number): Cursor {
  return { at, units: 0, hasEscapes: false };
}

/** Where a unit of what a text says stands in it. Goes forward alone. */
function advance(text: string, cursor: Cursor, units: number): number {
  if (!cursor.hasEscapes) {
    cursor.at += units - cursor.units;
    cursor.units = units;
  }
  for (; cursor.units < units; cursor.units += 1) cursor.at += unitLength(text, cursor.at);
  return cursor.at;
}

const BACKSLASH = 0x5c;

/** One unit in JSON: itself, `\n`, or `\u000a`. */
function unitLength(text: string, at: number): number {
  if (text.charCodeAt(at) !== BACKSLASH) return 1;
  return text.charAt(at + 1) === "u" ? 6 : 2;
}

/** What a part of a text in JSON says; the part itself where it is no JSON, which is refused later. */
function decode(raw: string, cursor: Cursor): string {
  if (!raw.includes("\\")) return raw;
  cursor.hasEscapes = true;
  try {
    const said: unknown = JSON.parse(`"${raw}"`);
    return typeof said === "string" ? said : raw;
  } catch {
    return raw;
  }
}

/** Where a piece of a long text ends, never inside of an escape. */
function pieceEnd(text: string, from: number, end: number): number {
  if (end - from <= PIECE_MAX) return end;
  // Of the piece alone: else the rest of the text would be looked through for each of its pieces.
  const piece = text.slice(from, from + PIECE_MAX);
  for (let at = piece.indexOf("\\"); at >= 0;) {
    const next = at + unitLength(text, from + at);
    if (next > PIECE_MAX) return from + at;
    at = piece.indexOf("\\", next);
  }
  return from + PIECE_MAX;
}
