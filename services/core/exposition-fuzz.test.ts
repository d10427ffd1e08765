import fc from "fast-check";
import parsePrometheusTextFormat from "parse-prometheus-text-format";
import { Counter, Gauge, Histogram, Registry, Summary } from "prom-client";
import { describe, expect, it } from "vitest";
import { parseExposition, readMetered } from "./exposition.ts";

// I14: our parser beside what prom-client prints and beside parse-prometheus-text-format 1.1.1.

/** Series by name and sorted labels. */
type Series = ReadonlyMap<string, string>;

function key(name: string, labels: Iterable<readonly [string, string]>): string {
  return JSON.stringify([name, [...labels].sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/** Ours; nothing when the text is refused. */
function ours(text: string): Series | undefined {
  const parsed = parseExposition(text);
  return parsed.ok ? new Map(parsed.samples.map(({ name, labels, value }) => [key(name, labels), value])) : undefined;
}

/** Theirs, families taken apart; nothing when it throws. */
function theirs(text: string): Series | undefined {
  try {
    return new Map(
      parsePrometheusTextFormat(text).flatMap((family) =>
        family.metrics.map((metric): [string, string] => [
          key(family.name, Object.entries(metric.labels ?? {})),
          metric.value ?? "",
        ]),
      ),
    );
  } catch {
    return undefined;
  }
}

const name = fc.stringMatching(/^[a-zA-Z_:][a-zA-Z0-9_:]{0,8}$/);
// An object's own words would hide in the npm parser's plain objects.
const labelName = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_]{0,5}$/);
const labelValue = fc.string({
  unit: fc.constantFrom("a", "Z", "0", '"', "\\", "\n", "{", "}", ",", "=", " ", "#", "é", "漢", "\t"),
  maxLength: 6,
});
const number = fc.oneof(
  fc.nat().map(String),
  fc.bigInt(0n, 999_999_999_999_999_999n).map(String),
  fc
    .double()
    .map((value) => (Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : value < 0 ? "-Inf" : "NaN")),
);
const series = fc.record({
  name,
  labels: fc.uniqueArray(fc.tuple(labelName, labelValue), { selector: ([label]) => label, maxLength: 4 }),
  value: number,
  timestamp: fc.option(fc.nat(), { nil: undefined }),
});
const scrape = fc
  .uniqueArray(series, { selector: (each) => key(each.name, each.labels), maxLength: 12 })
  .map((list) => list.map((each) => `${print(each)}\n`).join(""));

function print(each: {
  name: string;
  labels: [string, string][];
  value: string;
  timestamp: number | undefined;
}): string {
  const escape = (text: string): string => text.replace(/[\\"\n]/g, (char) => (char === "\n" ? "\\n" : `\\${char}`));
  const labels = each.labels.map(([label, text]) => `${label}="${escape(text)}"`).join(",");
  const timestamp = each.timestamp === undefined ? "" : ` ${each.timestamp}`;
  return `${each.name}${labels === "" ? "" : `{${labels}}`} ${each.value}${timestamp}`;
}

describe("I14 beside parse-prometheus-text-format", () => {
  it("reads the same series and the same digits of any well-formed text", () => {
    fc.assert(
      fc.property(scrape, (text) => {
        const read = ours(text);
        expect(read).toBeDefined();
        expect(read).toEqual(theirs(text));
      }),
      { numRuns: 500 },
    );
  });

  it("of a damaged text refuses the whole, or reads what the other reads as well", () => {
    const damage = fc.record({
      at: fc.nat(),
      what: fc.oneof(
        fc.constantFrom("", "\n", '"', "\\", "{", "}", ",", "=", " ", "#", "1", "e", "-", ".", "x"),
        fc.constantFrom("cut", "double"),
      ),
    });
    let compared = 0;
    fc.assert(
      fc.property(scrape, damage, (text, { at, what }) => {
        const place = at % (text.length + 1);
        const damaged =
          what === "cut"
            ? text.slice(0, place)
            : what === "double"
              ? text + text.slice(place)
              : text.slice(0, place) + what + text.slice(place + 1);
        const read = ours(damaged);
        // The other takes a comment without a blank for a series, and throws at a blank before a label.
        const other = theirs(damaged.replaceAll(/^#(?! ).*$/gm, ""));
        if (!read || !other) return;
        compared += 1;
        expect(read).toEqual(other);
      }),
      { numRuns: 3000 },
    );
    expect(compared).toBeGreaterThan(200);
  });

  it.each([
    ["drops a last line without a newline", "a 5\nb 6", [["a", "5"]]],
    ["takes the last of a series that stands twice", "a 5\na 6\n", [["a", "6"]]],
    ["takes words for a value", "a one\n", [["a", "one"]]],
    ["takes hexadecimal for a value", "a 0x10\n", [["a", "0x10"]]],
    ["takes a cut line for a series without a value", 'a{x="1"\n', [["a", ""]]],
    ["takes the last of a label that stands twice", 'a{x="1",x="2"} 1\n', [["a", "1"]]],
  ])("known difference: the other %s, ours refuses the scrape", (_what, text, expected) => {
    const read = [...(theirs(text) ?? [])].map(([series, value]) => [JSON.parse(series)[0], value]);
    expect(read).toEqual(expected);
    expect(ours(text)).toBeUndefined();
  });

  it("known difference: the other calls an OpenMetrics counter untyped, as it does not know the suffix", () => {
    const text = "# TYPE a counter\na_total 5\n# EOF\n";
    expect(parsePrometheusTextFormat(text).find((family) => family.name === "a_total")?.type).toBe("UNTYPED");
    expect(ours(text)).toEqual(new Map([[key("a_total", []), "5"]]));
  });

  it("known difference: the other cannot read names in UTF-8 form", () => {
    const text = '{"my.metric", x="1"} 3\n';
    expect(theirs(text)).toBeUndefined();
    expect(ours(text)).toEqual(new Map([[key("my.metric", [["x", "1"]]), "3"]]));
  });
});

describe("I14 beside prom-client", () => {
  const amounts = fc.uniqueArray(fc.tuple(labelValue, fc.nat({ max: 2 ** 40 })), {
    selector: ([text]) => text,
    maxLength: 10,
  });

  it.each(["text 0.0.4", "OpenMetrics 1.0"])("reads every kind of metric that it prints as %s", async (format) => {
    await fc.assert(
      fc.asyncProperty(
        amounts,
        fc.array(fc.double({ min: 0, max: 20, noNaN: true }), { maxLength: 5 }),
        async (rows, seen) => {
          const registry = new Registry();
          if (format !== "text 0.0.4")
            Reflect.apply(registry.setContentType, registry, [Registry.OPENMETRICS_CONTENT_TYPE]);
          const registers = [registry];
          const counter = new Counter({ name: "c_total", help: "c\nd \\ e", labelNames: ["x"], registers });
          const gauge = new Gauge({ name: "g", help: "g", labelNames: ["x"], registers });
          const histogram = new Histogram({ name: "h", help: "h", registers });
          const summary = new Summary({ name: "s", help: "s", registers });
          for (const [x, amount] of rows) {
            counter.inc({ x }, amount);
            gauge.set({ x }, -amount);
          }
          for (const value of seen) {
            histogram.observe(value);
            summary.observe(value);
          }
          const read = ours(await registry.metrics());
          if (!read) throw new Error("Refused");
          for (const [x, amount] of rows) {
            expect(Number(read.get(key("c_total", [["x", x]])))).toBe(amount);
            expect(Number(read.get(key("g", [["x", x]]))) + amount).toBe(0);
          }
          expect(read.get(key("h_count", []))).toBe(String(seen.length));
          expect(read.get(key("h_bucket", [["le", "+Inf"]]))).toBe(String(seen.length));
          expect(read.get(key("s_count", []))).toBe(String(seen.length));
        },
      ),
      { numRuns: 50 },
    );
  });

  it("finds the metered series in the middle of it, digit by digit beyond 2^53", async () => {
    const registry = new Registry();
    new Gauge({ name: "g", help: "g", registers: [registry] }).set(1e21);
    const text = await registry.metrics();
    const metered = 'metering_epoch_info{epoch="e"} 1\nsupercargo_usage_total{dimension="a"} 999999999999999999\n';
    expect(readMetered(text + metered + text.replaceAll("g", "i"))).toEqual({
      ok: true,
      epoch: "e",
      counters: new Map([["a", 999_999_999_999_999_999n]]),
    });
  });
});
