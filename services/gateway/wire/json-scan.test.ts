import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endOfJsonValue, scanJsonObject } from "./json-scan.ts";

const WANTED = new Set(["model", "stream"]);

function fieldsOf(text: string): Record<string, string> {
  const bytes = Buffer.from(text);
  const scan = scanJsonObject(bytes, WANTED);
  if (!scan.ok) throw new Error(scan.problem);
  return Object.fromEntries(
    [...scan.fields].map(([name, field]) => [name, bytes.toString("utf8", field.start, field.end)]),
  );
}

function isObjectText(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

describe("scanJsonObject()", () => {
  it.each([
    ['{"model":"a"}', { model: '"a"' }],
    [' { "x" : {"model":1} , "model" : null } \n', { model: "null" }],
    ['{"mod\\u0065l":"escaped key","stream":true}', { model: '"escaped key"', stream: "true" }],
    [
      '{"model":"a \\"quoted\\" \\\\","stream":[1,{"stream":2}]}',
      { model: '"a \\"quoted\\" \\\\"', stream: '[1,{"stream":2}]' },
    ],
    ["{}", {}],
  ])("finds the top-level fields of %s", (text, fields) => {
    expect(fieldsOf(text)).toEqual(fields);
  });

  it("marks a key that comes twice, however it is written", () => {
    const scan = scanJsonObject(Buffer.from('{"model":"a","\\u006dodel":"b"}'), WANTED);
    expect(scan.ok && scan.fields.get("model")?.repeated).toBe(true);
  });

  it("counts inlined files out of the text", () => {
    const inlined = `data:image/png;base64,${"A".repeat(1000)}`;
    const text = JSON.stringify({ model: "a", image_url: { url: inlined }, note: "data: short" });
    const scan = scanJsonObject(Buffer.from(text), WANTED);
    expect(scan.ok && scan.textBytes).toBe(text.length - inlined.length);
  });

  it.each([
    ["", "it must be an object: it ends at byte 0"],
    ["   ", "it must be an object: it ends at byte 3"],
    ["[]", "it must be an object: see byte 0"],
    ["nul", "it must be an object: see byte 0"],
    ["{", "a key in quotes must follow: it ends at byte 1"],
    ['{"a"}', "a colon must follow a key: see byte 4"],
    ['{"a":}', "a value must follow: see byte 5"],
    ['{"a":1,}', "a key in quotes must follow: see byte 7"],
    ['{"a":1 "b":2}', "a comma or } must follow a value: see byte 7"],
    ['{"a":[1,2}', "a comma or ] must follow a value: see byte 9"],
    ["{'a':1}", "a key in quotes must follow: see byte 1"],
    ['{"a":01}', "a comma or } must follow a value: see byte 6"],
    ['{"a":1.}', "a digit must follow a decimal point: see byte 7"],
    ['{"a":1e}', "a digit must follow an exponent: see byte 7"],
    ['{"a":tru}', "a value must follow: see byte 8"],
    ['{"a":"b', "a string must end with a quote and hold no raw control character: it ends at byte 7"],
    ['{"a":"b\n"}', "a string must end with a quote and hold no raw control character: see byte 7"],
    ['{"a":"\\x"}', "an unknown escape stands in a string: see byte 6"],
    ['{"a":"\\u12g4"}', "\\u must have four hex digits: see byte 6"],
    ['{"a":1}{"b":2}', "nothing may follow the object: see byte 7"],
    [`{"a":${"[".repeat(200)}${"]".repeat(200)}}`, "nesting must be at most 128 deep: see byte 132"],
  ])("refuses %j: %s", (text, problem) => {
    expect(scanJsonObject(Buffer.from(text), WANTED)).toEqual({ ok: false, problem });
  });

  it("refuses what is not UTF-8", () => {
    expect(scanJsonObject(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), WANTED)).toMatchObject({ ok: false });
  });

  it("accepts exactly what JSON.parse accepts as an object, also after an edit of one character", () => {
    const edit = fc.record({
      at: fc.nat(),
      put: fc.constantFrom(...'{}[]",:0-1e.\\ntfu \n\t\u0000'.split("")),
      cut: fc.nat(2),
    });
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), fc.array(edit, { maxLength: 2 }), (json, edits) => {
        let text = `{"model":${json}}`;
        for (const { at, put, cut } of edits) {
          const position = at % (text.length + 1);
          text = text.slice(0, position) + put + text.slice(position + cut);
        }
        const bytes = Buffer.from(text.toWellFormed());
        expect(scanJsonObject(bytes, WANTED).ok).toBe(isObjectText(bytes.toString("utf8")));
      }),
      { numRuns: 2000 },
    );
  });

  it("finds the same value as JSON.parse", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 4 }), fc.jsonValue(), (others, model) => {
        const text = JSON.stringify({ ...others, model });
        const found: unknown = JSON.parse(fieldsOf(text)["model"] ?? "");
        expect(JSON.stringify(found)).toBe(JSON.stringify(JSON.parse(text).model));
      }),
    );
  });
});

describe("endOfJsonValue()", () => {
  it.each([
    ['{"a":[1]},"x"', 9],
    ['"a\\"b" ', 6],
    ["12.5e3]", 6],
  ])("ends %s", (text, end) => {
    expect(endOfJsonValue(Buffer.from(text), 0)).toBe(end);
  });
  it("gives nothing for a value that is cut off", () => {
    expect(endOfJsonValue(Buffer.from('{"a":[1'), 0)).toBeUndefined();
  });
});
