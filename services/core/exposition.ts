import { EPOCH_METRIC, USAGE_METRIC } from "./usage.ts";

/** One series of a scrape. The value stays text: a double would lose integers above 2^53. */
export interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: string;
}

export type ParsedScrape =
  | { readonly ok: true; readonly samples: readonly Sample[] }
  | { readonly ok: false; readonly problem: string };

/** The metered part of a scrape: one epoch and its cumulative counters. */
export type MeteredScrape =
  | { readonly ok: true; readonly epoch: string; readonly counters: ReadonlyMap<string, bigint> }
  | { readonly ok: false; readonly problem: string };

const NAME = /[a-zA-Z_:][a-zA-Z0-9_:]*/y;
const LABEL_NAME = /[a-zA-Z_][a-zA-Z0-9_]*/y;
const QUOTED = /"((?:[^"\\\n]|\\["\\n])*)"/y;
const SPACE = /[ \t]*/y;
const TOKEN = /[^ \t]+/y;
const VALUE = /^(?:[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?Inf|NaN)$/i;
const TIMESTAMP = /^-?[0-9]+(?:\.[0-9]+)?$/;
/** A metered counter is a plain integer; OpenMetrics writers may add `.0`. The exponent form hides digits: refused. */
const INTEGER = /^(0|[1-9][0-9]{0,17})(?:\.0+)?$/;
const SERIES_MAX = 50_000;
const LINE_CHARS_MAX = 1024 * 1024;

/**
 * The usual line: plain names, labels without escapes or braces, a number, perhaps a timestamp. It is checked without
 * making a single object of it; all else is read letter by letter.
 */
const USUAL =
  /^[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[a-zA-Z_][a-zA-Z0-9_]*="[^"\\{}\n]*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="[^"\\{}\n]*")*\})? (?:[+-]?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|[+-]Inf|NaN)(?: [0-9]+)?$/;

/** Reads text as it arrives. Nothing counts before `end` has said that the whole of it is well formed. */
export interface ExpositionReader {
  feed(chunk: string): void;
  /** What is wrong with the text, or nothing. */
  end(): string | undefined;
}

/** Series by the scrape that showed them last. Kept from scrape to scrape, as thousands of new strings each would cost more. */
export interface SeriesMemory {
  readonly seen: Map<string, number>;
  scrape: number;
}

/** A memory that knows no series. */
export function createSeriesMemory(): SeriesMemory {
  return { seen: new Map(), scrape: 0 };
}

export interface ReaderOptions {
  readonly onSample: (sample: Sample) => void;
  /** Lines that samples are made of. @default all */
  readonly isWanted?: (line: string) => boolean;
  readonly memory?: SeriesMemory;
}

/**
 * Reads Prometheus text 0.0.4 or OpenMetrics 1.0, whole or not at all: a cut, malformed or duplicate series rejects the
 * scrape. Text must end in a newline or in `# EOF`, else its last line may be cut. Samples are made of wanted lines only.
 */
export function createExpositionReader(options: ReaderOptions): ExpositionReader {
  const reading: Reading = {
    options,
    memory: options.memory ?? createSeriesMemory(),
    rest: "",
    lines: 0,
    series: 0,
    ended: false,
    problem: undefined,
  };
  reading.memory.scrape += 1;
  return {
    feed: (chunk) => feed(reading, chunk),
    end() {
      forgetOld(reading.memory, reading.series);
      const { problem, rest, ended } = reading;
      const isCut = rest !== "" && (rest !== "# EOF" || ended);
      return problem ?? (isCut ? "the text must end in a newline or in # EOF" : undefined);
    },
  };
}

interface Reading {
  readonly options: ReaderOptions;
  readonly memory: SeriesMemory;
  /** The begun line. */
  rest: string;
  lines: number;
  series: number;
  ended: boolean;
  problem: string | undefined;
}

function feed(reading: Reading, chunk: string): void {
  let from = 0;
  for (let at = chunk.indexOf("\n"); at >= 0 && reading.problem === undefined; at = chunk.indexOf("\n", from)) {
    readLine(reading, reading.rest + chunk.slice(from, at));
    reading.rest = "";
    from = at + 1;
  }
  reading.rest += chunk.slice(from);
  if (reading.rest.length > LINE_CHARS_MAX) reading.problem = `a line must have at most ${LINE_CHARS_MAX} characters`;
}

function readLine(reading: Reading, raw: string): void {
  reading.lines += 1;
  const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
  if (line === "") return;
  const fault = reading.ended ? "there must be nothing after # EOF" : readSeries(reading, line);
  if (reading.series > SERIES_MAX) reading.problem = `there must be at most ${SERIES_MAX} series`;
  if (fault !== undefined) reading.problem = `line ${reading.lines}: ${fault}`;
  if (line === "# EOF") reading.ended = true;
}

function readSeries(reading: Reading, line: string): string | undefined {
  if (line.startsWith("#")) return undefined;
  const { isWanted, onSample } = reading.options;
  const isSkipped = isWanted !== undefined && !isWanted(line);
  const sample = isSkipped && USUAL.test(line) ? undefined : parseSample(line);
  if (typeof sample === "string") return sample;
  reading.series += 1;
  if (!remember(reading.memory, sample ? seriesKey(sample) : writtenKey(line))) return "the series stands twice";
  if (sample && !isSkipped) onSample(sample);
  return undefined;
}

/** False when this scrape has shown the series before. */
function remember(memory: SeriesMemory, key: string): boolean {
  const last = memory.seen.get(key);
  if (last === memory.scrape) return false;
  // A new key is copied: a piece of a larger text would keep the whole text.
  memory.seen.set(last === undefined ? Array.from(key).join("") : key, memory.scrape);
  return true;
}

function forgetOld(memory: SeriesMemory, series: number): void {
  if (memory.seen.size <= 2 * series + 1000) return;
  for (const [key, scrape] of memory.seen) if (scrape !== memory.scrape) memory.seen.delete(key);
}

/** All samples of a text. */
export function parseExposition(text: string): ParsedScrape {
  const samples: Sample[] = [];
  const reader = createExpositionReader({ onSample: (sample) => samples.push(sample) });
  reader.feed(text);
  const problem = reader.end();
  return problem === undefined ? { ok: true, samples } : { ok: false, problem };
}

export interface MeteredReader {
  feed(chunk: string): void;
  end(): MeteredScrape;
}

/**
 * The epoch and the metered counters of a scrape as it arrives. Anything unclear refuses the whole: money is read from
 * this.
 */
export function createMeteredReader(memory: SeriesMemory = createSeriesMemory()): MeteredReader {
  const epochs: string[] = [];
  const counters = new Map<string, bigint>();
  let fault: string | undefined;
  const onSample = (sample: Sample): void => {
    if (sample.name === EPOCH_METRIC) epochs.push(sample.labels.get("epoch") ?? "");
    if (sample.name === USAGE_METRIC) fault ??= readCounter(sample, counters);
  };
  const reader = createExpositionReader({ onSample, isWanted: isMetered, memory });
  return {
    feed: (chunk) => reader.feed(chunk),
    end() {
      const problem = reader.end() ?? fault;
      if (problem !== undefined) return { ok: false, problem };
      const [epoch] = epochs;
      if (epochs.length !== 1 || !epoch || epoch.length > 64)
        return { ok: false, problem: `there must be one ${EPOCH_METRIC} with a label epoch` };
      return { ok: true, epoch, counters };
    },
  };
}

/** The metered part of a whole text. */
export function readMetered(text: string): MeteredScrape {
  const reader = createMeteredReader();
  reader.feed(text);
  return reader.end();
}

/** A line that may hold a metered name: plain, or quoted in UTF-8 form. */
function isMetered(line: string): boolean {
  return line.startsWith(USAGE_METRIC) || line.startsWith(EPOCH_METRIC) || line.startsWith("{");
}

function readCounter(sample: Sample, counters: Map<string, bigint>): string | undefined {
  const dimension = sample.labels.get("dimension");
  const digits = INTEGER.exec(sample.value)?.[1];
  if (dimension === undefined || sample.labels.size !== 1 || !/^[a-z][a-z0-9_]{0,62}$/.test(dimension))
    return `${USAGE_METRIC} must have the label dimension alone`;
  if (digits === undefined)
    return `${USAGE_METRIC} of ${dimension} must be a whole number: current value is ${sample.value.slice(0, 40)}`;
  counters.set(dimension, BigInt(digits));
  return undefined;
}

/** A sample, or what is wrong with the line. */
function parseSample(line: string): Sample | string {
  const cursor = { line, at: 0 };
  const name = take(cursor, NAME);
  const labels = new Map<string, string>();
  let quotedName: string | undefined;
  skipSpace(cursor);
  if (line[cursor.at] === "{") {
    const problem = parseLabels(cursor, { labels, onName: (text) => (quotedName = text) });
    if (problem !== undefined) return problem;
  }
  if ((name === undefined) === (quotedName === undefined)) return "the series must have one name";
  return parseValue(cursor, { name: name ?? quotedName ?? "", labels });
}

interface Cursor {
  readonly line: string;
  at: number;
}

/** Reads `{…}`; a lone quoted string is a metric name in UTF-8 form. */
function parseLabels(
  cursor: Cursor,
  into: { readonly labels: Map<string, string>; readonly onName: (name: string) => void },
): string | undefined {
  cursor.at += 1;
  for (;;) {
    skipSpace(cursor);
    if (cursor.line[cursor.at] === "}") {
      cursor.at += 1;
      return undefined;
    }
    const problem = parseLabel(cursor, into);
    if (problem !== undefined) return problem;
    skipSpace(cursor);
    const next = cursor.line[cursor.at];
    if (next === ",") cursor.at += 1;
    else if (next !== "}") return "labels must be separated by commas and end in }";
  }
}

function parseLabel(
  cursor: Cursor,
  into: { readonly labels: Map<string, string>; readonly onName: (name: string) => void },
): string | undefined {
  const plain = take(cursor, LABEL_NAME);
  const quoted = plain === undefined ? takeQuoted(cursor) : undefined;
  const name = plain ?? quoted;
  if (name === undefined) return "a label must have a name";
  skipSpace(cursor);
  if (cursor.line[cursor.at] !== "=") {
    if (quoted === undefined) return `the label ${name} must have a value`;
    into.onName(quoted);
    return undefined;
  }
  cursor.at += 1;
  skipSpace(cursor);
  const value = takeQuoted(cursor);
  if (value === undefined) return `the value of label ${name} must be quoted`;
  if (into.labels.has(name)) return `the label ${name} stands twice`;
  into.labels.set(name, value);
  return undefined;
}

/** Value, optional timestamp, optional exemplar (OpenMetrics, ignored). */
function parseValue(cursor: Cursor, series: { name: string; labels: ReadonlyMap<string, string> }): Sample | string {
  if (!isAtBlank(cursor)) return `the value of ${series.name} must stand behind a blank`;
  skipSpace(cursor);
  const value = take(cursor, TOKEN) ?? "";
  if (!VALUE.test(value)) return `the value of ${series.name} must be a number`;
  skipSpace(cursor);
  const rest = cursor.line.slice(cursor.at);
  if (rest === "" || rest.startsWith("# {")) return { ...series, value };
  const timestamp = take(cursor, TOKEN) ?? "";
  if (!TIMESTAMP.test(timestamp)) return `the timestamp of ${series.name} must be a number`;
  skipSpace(cursor);
  const tail = cursor.line.slice(cursor.at);
  return tail === "" || tail.startsWith("# {")
    ? { ...series, value }
    : `there is more behind the value of ${series.name}`;
}

function isAtBlank(cursor: Cursor): boolean {
  return [cursor.at, cursor.at - 1].some((at) => cursor.line[at] === " " || cursor.line[at] === "\t");
}

function take(cursor: Cursor, pattern: RegExp): string | undefined {
  pattern.lastIndex = cursor.at;
  const match = pattern.exec(cursor.line);
  if (!match) return undefined;
  cursor.at = pattern.lastIndex;
  return match[0];
}

function takeQuoted(cursor: Cursor): string | undefined {
  const raw = take(cursor, QUOTED);
  return raw?.slice(1, -1).replace(/\\(.)/g, (_, char: string) => (char === "n" ? "\n" : char));
}

function skipSpace(cursor: Cursor): void {
  SPACE.lastIndex = cursor.at;
  SPACE.exec(cursor.line);
  cursor.at = SPACE.lastIndex;
}

/** The series of a usual line as it is written: up to the end of its labels or of its name. */
function writtenKey(line: string): string {
  const brace = line.indexOf("}");
  return line.slice(0, brace >= 0 ? brace + 1 : line.indexOf(" "));
}

/** The same for any order of labels. */
function seriesKey(sample: Sample): string {
  if (sample.labels.size === 0) return sample.name;
  const labels = [...sample.labels].map(([name, value]) => `${name}="${value}"`);
  return `${sample.name}{${labels.sort().join(",")}}`;
}
