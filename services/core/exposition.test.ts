import fc from "fast-check";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { createMeteredReader, createSeriesMemory, parseExposition, readMetered } from "./exposition.ts";

const EPOCH = 'metering_epoch_info{epoch="e1"} 1\n';
const USAGE = 'supercargo_usage_total{dimension="tool_action"} 7\n';

function values(text: string): Record<string, string> {
  const parsed = parseExposition(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return Object.fromEntries(
    parsed.samples.map(({ name, labels, value }) => [
      `${name}{${[...labels].map(([key, label]) => `${key}=${label}`).join(",")}}`,
      value,
    ]),
  );
}

describe("parseExposition()", () => {
  it.each([
    ["a bare series", "up 1\n", { "up{}": "1" }],
    ["labels in any order, with spaces and a trailing comma", 'a{ y = "2" , x="1", } 3\n', { "a{y=2,x=1}": "3" }],
    ["escapes", 'a{x="q\\"b\\\\n\\n"} 3\n', { 'a{x=q"b\\n\n}': "3" }],
    ["a brace and a comma inside a label", 'a{x="},{"} 3\n', { "a{x=},{}": "3" }],
    ["a timestamp", "a 3 1700000000000\n", { "a{}": "3" }],
    [
      "forms of numbers",
      "a +Inf\nb -Inf\nc NaN\nd 1e+06\ne .5\n",
      { "a{}": "+Inf", "b{}": "-Inf", "c{}": "NaN", "d{}": "1e+06", "e{}": ".5" },
    ],
    [
      "OpenMetrics with an exemplar and no last newline",
      'a_total 3 # {trace="x"} 0.5 1.2\n# EOF',
      { "a_total{}": "3" },
    ],
    ["OpenMetrics with a timestamp and an exemplar", 'a_total 3 1.5 # {t="x"} 1\n# EOF\n', { "a_total{}": "3" }],
    ["quoted names", '{"my.metric", x="1"} 3\n', { "my.metric{x=1}": "3" }],
    ["comments, blank lines and CRLF", "# HELP a b\n\n# TYPE a counter\r\na 1\r\n", { "a{}": "1" }],
    ["an integer above 2^53, digit by digit", "a 9007199254740993\n", { "a{}": "9007199254740993" }],
    ["nothing", "", {}],
  ])("reads %s", (_what, text, expected) => {
    expect(values(text)).toEqual(expected);
  });

  it.each([
    ["a cut last line", "up 1\nuse 12"],
    ["a cut label", 'up{x="1\n'],
    ["a missing value", "up\n"],
    ["a missing value after labels", 'up{x="1"}\n'],
    ["words as value", "up one\n"],
    ["hexadecimal", "up 0x10\n"],
    ["no blank before the value", 'up{x="1"}1\n'],
    ["underscores", "up 1_000\n"],
    ["more behind the value", "up 1 2 3\n"],
    ["labels without quotes", "up{x=1} 1\n"],
    ["labels without a comma", 'up{x="1" y="2"} 1\n'],
    ["a label twice", 'up{x="1",x="2"} 1\n'],
    ["an escape that does not exist", 'up{x="a\\t"} 1\n'],
    ["a series twice", "up 1\nup 1\n"],
    ["a series twice, once written with an escape for the eye alone", 'up{a="1",b="\\n"} 1\nup{b="\\n",a="1"} 1\n'],
    ["a series twice, labels turned round", 'up{a="1",b="2"} 1\nup{b="2",a="1"} 1\n'],
    ["two names", 'up{"down"} 1\n'],
    ["no name", '{x="1"} 1\n'],
    ["text after # EOF", "up 1\n# EOF\nup 2\n"],
  ])("refuses %s", (_what, text) => {
    expect(parseExposition(text).ok).toBe(false);
  });
});

describe("readMetered()", () => {
  it("finds epoch and counters among everything else", () => {
    const text = `# TYPE x counter\nx 1e9\n${EPOCH}${USAGE}supercargo_usage_total{dimension="input_tokens"} 12.0\n`;
    expect(readMetered(text)).toEqual({
      ok: true,
      epoch: "e1",
      counters: new Map([
        ["tool_action", 7n],
        ["input_tokens", 12n],
      ]),
    });
  });

  it.each([
    ["no epoch", USAGE],
    ["two epochs", `${EPOCH}metering_epoch_info{epoch="e2"} 1\n${USAGE}`],
    ["an empty epoch", `metering_epoch_info{epoch=""} 1\n${USAGE}`],
    ["an exponent", `${EPOCH}supercargo_usage_total{dimension="a"} 1e3\n`],
    ["a fraction", `${EPOCH}supercargo_usage_total{dimension="a"} 1.5\n`],
    ["a negative count", `${EPOCH}supercargo_usage_total{dimension="a"} -1\n`],
    ["infinity", `${EPOCH}supercargo_usage_total{dimension="a"} +Inf\n`],
    ["a leading zero", `${EPOCH}supercargo_usage_total{dimension="a"} 007\n`],
    ["another label", `${EPOCH}supercargo_usage_total{dimension="a",user="u"} 1\n`],
    ["no dimension", `${EPOCH}supercargo_usage_total 1\n`],
    ["a malformed series elsewhere", `${EPOCH}${USAGE}x{ 1\n`],
    ["a duplicate series elsewhere", `${EPOCH}${USAGE}x 1\nx 2\n`],
  ])("refuses the whole scrape with %s", (_what, text) => {
    expect(readMetered(text).ok).toBe(false);
  });
});

describe("createMeteredReader()", () => {
  it("reads the same in any pieces", () => {
    const text = `# HELP x y\nx{a="1"} 1e3\n${EPOCH}${USAGE}`;
    for (let size = 1; size < text.length; size += 1) {
      const reader = createMeteredReader();
      for (let from = 0; from < text.length; from += size) reader.feed(text.slice(from, from + size));
      expect(reader.end()).toEqual(readMetered(text));
    }
  });
});

describe("a memory kept from scrape to scrape", () => {
  const read = (memory: ReturnType<typeof createSeriesMemory>, text: string): boolean => {
    const reader = createMeteredReader(memory);
    reader.feed(EPOCH + text);
    return reader.end().ok;
  };

  it("takes the same series again and again, but not twice in one scrape, also after a refused one", () => {
    const memory = createSeriesMemory();
    expect([USAGE, USAGE, USAGE + USAGE, USAGE].map((text) => read(memory, text))).toEqual([true, true, false, true]);
  });

  it("forgets series that went away", () => {
    const memory = createSeriesMemory();
    for (let n = 0; n < 50; n += 1)
      read(memory, `${Array.from({ length: 100 }, (_, i) => `x{n="${n}",i="${i}"} 1`).join("\n")}\n`);
    expect(memory.seen.size).toBeLessThan(1500);
  });
});

describe("I14: no other number than the text", () => {
  const label = fc.string({ unit: fc.constantFrom("a", "Z", '"', "\\", "\n", "{", "}", ",", "=", " ", "#", "é") });

  it("reads what prom-client prints, whatever stands in labels", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(label, fc.nat()), { selector: ([text]) => text, maxLength: 20 }),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (value === 0 ? 0 : value)),
        async (rows, reading) => {
          const registry = new Registry();
          const counter = new Counter({ name: "c_total", help: "c\nd", labelNames: ["x"], registers: [registry] });
          const gauge = new Gauge({ name: "g", help: "g", registers: [registry] });
          const histogram = new Histogram({ name: "h", help: "h", registers: [registry] });
          for (const [text, amount] of rows) counter.inc({ x: text }, amount);
          gauge.set(reading);
          histogram.observe(0.3);
          const parsed = parseExposition(await registry.metrics());
          if (!parsed.ok) throw new Error(parsed.problem);
          const found = parsed.samples.filter(({ name }) => name === "c_total");
          expect(found.map(({ labels, value }) => [labels.get("x"), Number(value)])).toEqual(rows);
          expect(Number(parsed.samples.find(({ name }) => name === "g")?.value)).toBe(reading);
        },
      ),
    );
  });

  it("of a text cut anywhere or with a byte changed, yields the same counters or nothing at all", () => {
    const text = `# HELP a b\na{x="1"} 5\n${EPOCH}${USAGE}supercargo_usage_total{dimension="input_tokens"} 1234\n`;
    const whole = readMetered(text);
    for (let end = 0; end < text.length; end += 1) {
      const cut = readMetered(text.slice(0, end));
      // A cut behind a newline looks whole; the fold then sees a vanished series and quarantines it.
      if (cut.ok)
        for (const [dimension, value] of cut.counters) expect(whole.ok && whole.counters.get(dimension)).toBe(value);
    }
    fc.assert(
      fc.property(fc.nat({ max: text.length - 1 }), fc.string({ minLength: 1, maxLength: 1 }), (at, char) => {
        const changed = text.slice(0, at) + char + text.slice(at + 1);
        const read = readMetered(changed);
        if (!read.ok) return;
        for (const [dimension, value] of read.counters)
          expect(changed).toMatch(
            new RegExp(`supercargo_usage_total ?\\{ ?dimension="${dimension}" ?\\}[ \\t]+${value}(\\.0|\\s|$)`, "m"),
          );
      }),
    );
  });
});
