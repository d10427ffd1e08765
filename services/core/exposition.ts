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
const QUOTED = /"((?:[^"\\\n]|\\.)*)"/y;
const SPACE = /[ \t]*/y;
const TOKEN = /[^ \t]+/y;
const VALUE = /^(?:[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?Inf|NaN)$/i;
const TIMESTAMP = /^-?[0-9]+(?:\.[0-9]+)?$/;
/** A metered counter is a plain integer; OpenMetrics writers may add `.0`. The exponent form hides digits: refused. */
const INTEGER = /^(0|[1-9][0-9]{0,17})(?:\.0+)?$/;
const SERIES_MAX = 50_000;

/**
 * Reads Prometheus text 0.0.4 or OpenMetrics 1.0, whole or not at all: a cut, malformed or duplicate series rejects the
 * scrape. Text must end in a newline or in `# EOF`, else its last line may be cut.
 */
export function parseExposition(text: string): ParsedScrape {
  const end = findEnd(text);
  if (!end.ok) return end;
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const [index, line] of end.lines.entries()) {
    const trimmed = line.endsWith("\r") ? line.slice(0, -1) : line;
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const sample = parseSample(trimmed);
    if (typeof sample === "string") return { ok: false, problem: `line ${index + 1}: ${sample}` };
    const key = seriesKey(sample);
    if (seen.has(key)) return { ok: false, problem: `line ${index + 1}: the series ${sample.name} stands twice` };
    if (seen.size >= SERIES_MAX) return { ok: false, problem: `there must be at most ${SERIES_MAX} series` };
    seen.add(key);
    samples.push(sample);
  }
  return { ok: true, samples };
}

/** The epoch and the metered counters of a scrape. Anything unclear refuses the whole: money is read from this. */
export function readMetered(text: string): MeteredScrape {
  const parsed = parseExposition(text);
  if (!parsed.ok) return parsed;
  const epochs = parsed.samples.filter((sample) => sample.name === EPOCH_METRIC);
  const epoch = epochs[0]?.labels.get("epoch");
  if (epochs.length !== 1 || !epoch || epoch.length > 64)
    return { ok: false, problem: `there must be one ${EPOCH_METRIC} with a label epoch` };
  const counters = new Map<string, bigint>();
  for (const sample of parsed.samples) {
    if (sample.name !== USAGE_METRIC) continue;
    const dimension = sample.labels.get("dimension");
    const digits = INTEGER.exec(sample.value)?.[1];
    if (dimension === undefined || sample.labels.size !== 1 || !/^[a-z][a-z0-9_]{0,62}$/.test(dimension))
      return { ok: false, problem: `${USAGE_METRIC} must have the label dimension alone` };
    if (digits === undefined)
      return {
        ok: false,
        problem: `${USAGE_METRIC} of ${dimension} must be a whole number: current value is ${sample.value.slice(0, 40)}`,
      };
    counters.set(dimension, BigInt(digits));
  }
  return { ok: true, epoch, counters };
}

function findEnd(text: string): { ok: true; lines: string[] } | { ok: false; problem: string } {
  const lines = text.split("\n");
  const eof = lines.indexOf("# EOF");
  if (eof >= 0) {
    const rest = lines.slice(eof + 1);
    return rest.every((line) => line === "")
      ? { ok: true, lines: lines.slice(0, eof) }
      : { ok: false, problem: "there must be nothing after # EOF" };
  }
  if (lines.at(-1) !== "") return { ok: false, problem: "the text must end in a newline or in # EOF" };
  return { ok: true, lines };
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
  return tail === "" || tail.startsWith("# {") ? { ...series, value } : `there is more behind the value of ${series.name}`;
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

function seriesKey(sample: Sample): string {
  if (sample.labels.size === 0) return sample.name;
  const labels = [...sample.labels].map(([name, value]) => `${name}\u0000${value}`);
  return `${sample.name}\u0001${(labels.length > 1 ? labels.sort() : labels).join("\u0001")}`;
}
