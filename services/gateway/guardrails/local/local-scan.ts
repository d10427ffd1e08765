import { endOfRun, resumeAt, type RunPart, type Work } from "./candidate.ts";
import { type Found, HOLD_MAX, LABELS, type LocalMatcher, type LocalRule, type Scan } from "./matcher.ts";
import { endInText, lastInView, startInText, toView, viewOf } from "./text-view.ts";

/** One place of a text that must not stay. */
export interface LocalMatch {
  readonly rule: LocalRule;
  /** UTF-16 units from the beginning of the text, `end` is behind it. */
  readonly start: number;
  readonly end: number;
  /** What stands in its place: `[card]`; nothing where the match before goes on. */
  readonly label: string;
}

/** One text that comes in pieces. What was found is the same for every way to cut it, but for matches longer than HOLD_MAX. */
export interface LocalScan {
  /** Takes more of the text. Returns the matches that are decided now, in order, none over another. */
  push(piece: string): readonly LocalMatch[];
  /** The text is whole. */
  end(): readonly LocalMatch[];
  /** Up to here, from the beginning of the text, everything is decided: all matches before it have been returned. */
  decidedTo(): number;
}

/** Kept of what is decided, to look back at. More than any match reaches back. */
const CONTEXT = 256;

/** What was found and reaches over the place up to which all is decided. */
interface Going {
  readonly rule: LocalRule;
  /** Covered for sure. */
  readonly end: number;
  /** What may go on, and how far it has come. */
  readonly runs: readonly GoingRun[];
}

interface GoingRun extends RunPart {
  readonly end: number;
}

export function createLocalScan(matcher: LocalMatcher, work: Work): LocalScan {
  let text = "";
  /** Where `text` stands in the whole. */
  let base = 0;
  /** In `text`: what stands before is decided. */
  let from = 0;
  let going: Going | undefined;
  const read = (isEnd: boolean): readonly LocalMatch[] => {
    const scan = matcher.scan(text, { from, isEnd, work });
    const decided = decide({
      scan,
      from,
      going: going && goOn(going, text, { isEnd, work }),
    });
    const matches = decided.matches.map((match) => ({ ...match, start: match.start + base, end: match.end + base }));
    const dropped = Math.max(0, decided.to - CONTEXT);
    text = text.slice(dropped);
    base += dropped;
    from = decided.to - dropped;
    going = decided.going && shift(decided.going, dropped);
    return matches;
  };
  return {
    push(piece) {
      text += piece;
      return read(false);
    },
    end: () => read(true),
    decidedTo: () => base + from,
  };
}

/** All matches of a whole text. */
export function findLocalMatches(matcher: LocalMatcher, text: string, work: Work): readonly LocalMatch[] {
  const scan = matcher.scan(text, { from: 0, isEnd: true, work });
  return scan.found.length === 0 ? NOTHING : decide({ scan, from: 0, going: undefined }).matches;
}

const NOTHING: readonly LocalMatch[] = [];

/** What goes on over a cut, as far as the text has come now. */
function goOn(going: Going, text: string, { isEnd, work }: { readonly isEnd: boolean; readonly work: Work }): Going {
  if (going.runs.length === 0) return going;
  const view = viewOf(text);
  const reading = { text: view.text, isEnd, work, runs: new Map() };
  const last = lastInView(view).at;
  let end = going.end;
  const runs: GoingRun[] = [];
  for (const { run, from, end: before } of going.runs) {
    const found = endOfRun(reading, toView(view, before), run);
    end = Math.max(end, endInText(view, found.end));
    if (isEnd || !(found.isOpen || found.end > last)) continue;
    const resume = resumeAt(view.text, { run, from: toView(view, from) }, { end: found.end, last });
    runs.push({ run, from, end: Math.max(before, startInText(view, resume, text.length)) });
  }
  return { rule: going.rule, end, runs };
}

function shift({ rule, end, runs }: Going, by: number): Going {
  return {
    rule,
    end: end - by,
    runs: runs.map((each) => ({ run: each.run, from: each.from - by, end: each.end - by })),
  };
}

interface Decision {
  readonly scan: Scan;
  readonly from: number;
  readonly going: Going | undefined;
}

/**
 * Of what was found the leftmost counts, of two that begin together the longer one; of one that reaches over the end of another the rest
 * counts as well, so that nothing of it stays. What begins before the hold is decided; where it reaches over it, its rest comes later.
 */
function decide({ scan, from, going: before }: Decision): {
  readonly matches: readonly LocalMatch[];
  readonly to: number;
  readonly going: Going | undefined;
} {
  const to = Math.max(from, Math.min(scan.holdFrom, resumeFrom(scan, before)));
  let going = before;
  const matches = before === undefined ? [] : restOf(before, from);
  for (const each of scan.found) {
    if (each.start >= to) break;
    const start = Math.max(each.start, going?.end ?? from);
    // What is left of it begins behind the hold: it is seen once more when it is its turn.
    if (start >= to && each.end > start)
      return decide({ scan: { ...scan, holdFrom: each.start }, from, going: before });
    if (each.end > start) addMatch(matches, each, start);
    going = goWith(going, each, start);
  }
  return { matches: matches.map((match) => cutMatch(match, to)), to, going: going && cutGoing(going, to) };
}

function restOf({ rule, end }: Going, from: number): LocalMatch[] {
  return end > from ? [{ rule, start: from, end, label: "" }] : [];
}

/** What goes on is taken up again where it may still look otherwise. */
function resumeFrom(scan: Scan, going: Going | undefined): number {
  if (going === undefined) return scan.textEnd;
  return Math.max(scan.textEnd - HOLD_MAX, Math.min(scan.textEnd, ...going.runs.map(({ end }) => end)));
}

function cutMatch(match: LocalMatch, to: number): LocalMatch {
  return match.end > to ? { ...match, end: to } : match;
}

/** How far a run has come behind the cut may look otherwise with what follows; what ended there for sure does not. */
function cutGoing({ rule, end, runs }: Going, to: number): Going | undefined {
  if (runs.length === 0) return end > to ? { rule, end, runs } : undefined;
  const cut = runs.map(({ run, from, end: before }) => ({ run, from, end: Math.max(from, Math.min(before, to)) }));
  return { rule, end: Math.max(to, ...cut.map((each) => each.end)), runs: cut };
}

/** Two of one rule that lie over each other are one. */
function addMatch(matches: LocalMatch[], found: Found, start: number): void {
  const last = matches.at(-1);
  if (last && last.rule === found.rule && found.start < last.end)
    matches[matches.length - 1] = { ...last, end: found.end };
  else matches.push({ rule: found.rule, start, end: found.end, label: LABELS[found.rule] });
}

function goWith(going: Going | undefined, found: Found, start: number): Going {
  const runs = going?.runs ?? [];
  const isKnown = runs.some(({ run }) => run === found.run?.run);
  return {
    rule: found.end > start || going === undefined ? found.rule : going.rule,
    end: Math.max(found.end, start),
    runs: found.run === undefined || isKnown ? runs : [...runs, { ...found.run, end: found.end }],
  };
}
