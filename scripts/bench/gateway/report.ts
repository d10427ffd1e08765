import type { Sample } from "./measure.ts";

/** What one target costs, beside the raw proxy of the same rounds. */
export interface Row {
  readonly target: string;
  readonly cpuMicros: { readonly min: number; readonly median: number };
  /** To raw, round by round. */
  readonly ratio: { readonly min: number; readonly median: number };
  readonly requestsPerSecondOfCpu: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The longest block of its event loop; of our gateways alone. */
  readonly longestBlockMs: number | undefined;
}

/** The raw proxy's own row comes first. */
export function toRows(samples: readonly Sample[], blocks: ReadonlyMap<string, number | undefined>): Row[] {
  const names = [...new Set(samples.map(({ target }) => target))];
  const raw = samples.filter(({ target }) => target === "raw").map((each) => each.cpuMicrosPerRequest);
  return names.map((target) => {
    const own = samples.filter((each) => each.target === target);
    const micros = own.map((each) => each.cpuMicrosPerRequest);
    const ratios = micros.map((each, round) => each / (raw[round] ?? Number.NaN));
    return {
      target,
      cpuMicros: { min: Math.min(...micros), median: median(micros) },
      ratio: { min: round2(Math.min(...ratios)), median: round2(median(ratios)) },
      requestsPerSecondOfCpu: Math.round(1_000_000 / median(micros)),
      p50Ms: median(own.map(({ load }) => load.p50Ms)),
      p99Ms: median(own.map(({ load }) => load.p99Ms)),
      longestBlockMs: blocks.get(target),
    };
  });
}

/** Milliseconds until the first token. */
export interface FirstTokenRow {
  readonly target: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** More than without anything between, in the same rounds. */
  readonly addedP50Ms: number;
  readonly addedP99Ms: number;
}

export function toFirstTokenRows(samples: readonly Sample[]): FirstTokenRow[] {
  const of = (name: string, field: "firstP50Ms" | "firstP99Ms"): number =>
    median(samples.filter(({ target }) => target === name).map(({ load }) => load[field]));
  return [...new Set(samples.map(({ target }) => target))].map((target) => ({
    target,
    p50Ms: round2(of(target, "firstP50Ms")),
    p99Ms: round2(of(target, "firstP99Ms")),
    addedP50Ms: round2(of(target, "firstP50Ms") - of("direct", "firstP50Ms")),
    addedP99Ms: round2(of(target, "firstP99Ms") - of("direct", "firstP99Ms")),
  }));
}

/** For people, on stderr: what a run is at. */
export function table(title: string, rows: readonly object[]): string {
  const [first] = rows;
  if (first === undefined) return title;
  const heads = Object.keys(first);
  const cell = (value: unknown): string =>
    typeof value === "object" && value !== null ? Object.values(value).join(" / ") : String(value);
  const lines = rows.map((row) => `| ${Object.values(row).map(cell).join(" | ")} |`);
  return [`\n${title}`, `| ${heads.join(" | ")} |`, `|${" --- |".repeat(heads.length)}`, ...lines].join("\n");
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}
