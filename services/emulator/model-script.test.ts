import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countTokens, type Prompt } from "./model-prompt.ts";
import { countOutputTokens, decideAnswer, readDirectives } from "./model-script.ts";
import { splitText } from "./model-stream.ts";
import { buildCall, buildFromSchema, chooseTool } from "./model-tools.ts";

const tool = (name: string, description = "", parameters = {}) => ({ name, description, parameters });
const ask = (text: string, more: Partial<Prompt> = {}): Prompt => ({
  deployment: "m",
  turns: [{ role: "user", text }],
  tools: [],
  choice: { kind: "auto" },
  ...more,
});

describe("chooseTool()", () => {
  const tools = [
    tool("get_order", "Looks up an order by its number"),
    tool("list_orders", "Lists orders"),
    tool("create_refund", "Files a refund for an order"),
    tool("get_weather", "Current weather of a city"),
    tool("sendEmail", "Sends a message"),
  ];
  it.each([
    ["Where is order 1042?", "get_order"],
    ["Which orders are late?", "get_order"],
    ["Please refund order 1042", "create_refund"],
    ["What's the weather like in San Francisco?", "get_weather"],
    ["Write an email to Ann", "sendEmail"],
    ["Good morning", undefined],
    ["Get me one of the things you have", undefined],
    ["List all orders", "list_orders"],
  ])("for '%s' picks %s", (text, name) => {
    expect(chooseTool(ask(text, { tools }), text)?.name).toBe(name);
  });

  it.each([
    [{ kind: "none" }, "Where is order 1?", undefined],
    [{ kind: "required" }, "Good morning", "get_order"],
    [{ kind: "tool", name: "get_weather" }, "Where is order 1?", "get_weather"],
  ] as const)("obeys the choice %j", (choice, text, name) => {
    expect(chooseTool(ask(text, { tools, choice }), text)?.name).toBe(name);
  });
});

describe("buildCall()", () => {
  const object = (properties: object, required?: string[]) => ({
    type: "object",
    properties,
    ...(required ? { required } : {}),
  });
  it.each([
    ["Where is order 1042?", object({ order_id: { type: "string" } }, ["order_id"]), { order_id: "1042" }],
    ["Where is order #A-77?", object({ orderId: { type: "string" } }, ["orderId"]), { orderId: "A-77" }],
    ["Weather in New York, please", object({ location: { type: "string" } }, ["location"]), { location: "New York" }],
    [
      "Refund order 1042, 12.50 dollars, because 'it broke'",
      object({ order_id: { type: "string" }, amount: { type: "number" }, reason: { type: "string" } }, [
        "order_id",
        "amount",
        "reason",
      ]),
      { order_id: "1042", amount: 12.5, reason: "it broke" },
    ],
    [
      "Refund 20 euros of order number 1042",
      object({ order_id: { type: "string" }, amount: { type: "integer" } }, ["order_id", "amount"]),
      { order_id: "1042", amount: 20 },
    ],
    ["Add 2 and -3.5", object({ a: { type: "number" }, b: { type: "number" } }, ["a", "b"]), { a: 2, b: -3.5 }],
    [
      "Warm or cold in celsius",
      object({ unit: { type: "string", enum: ["fahrenheit", "celsius"] } }, ["unit"]),
      { unit: "celsius" },
    ],
    [
      "anything",
      object(
        {
          list: { type: "array", items: { type: "integer" } },
          on: { type: "boolean" },
          at: { type: ["string", "null"] },
        },
        ["list", "on", "at"],
      ),
      { list: [1], on: true, at: "anything" },
    ],
    ["anything", object({ a: { type: "string" }, b: { type: "string" } }, []), {}],
    ["anything", {}, {}],
    [
      "Orders of bob@example.com, please",
      object({
        customer: { type: "string" },
        status: { type: "string", enum: ["shipped"] },
        page: { type: "integer" },
      }),
      { customer: "bob@example.com" },
    ],
    ["Orders", object({ customer: { type: "string" }, list: { type: "array" }, on: { type: "boolean" } }), {}],
    [
      "Refund A-1003, 5000 cents, for Bob",
      object(
        { name: { type: "string", pattern: "^[A-Z]-\\d+$" }, amount: { type: "integer" }, who: { type: "string" } },
        ["name", "amount", "who"],
      ),
      { name: "A-1003", amount: 5000, who: "Bob" },
    ],
  ])("fills '%s'", (text, parameters, expected) => {
    expect(JSON.parse(buildCall(tool("t", "", parameters), text).arguments)).toEqual(expected);
  });

  it("always gives every required property", () => {
    const schema = fc.dictionary(
      fc.string({ minLength: 1, maxLength: 8 }),
      fc.constantFrom("string", "number", "integer", "boolean", "array", "object"),
    );
    fc.assert(
      fc.property(fc.string(), schema, (text, types) => {
        const keys = Object.keys(types);
        const properties = Object.fromEntries(keys.map((key) => [key, { type: types[key] }]));
        const built = buildFromSchema({ type: "object", properties, required: keys }, text);
        expect(Object.keys(Object(built)).toSorted()).toEqual(keys.toSorted());
      }),
    );
  });
});

describe("readDirectives()", () => {
  it.each([
    ["plain", []],
    [
      "[[say hi]] and [[delay 5]]",
      [
        ["say", "hi"],
        ["delay", "5"],
      ],
    ],
    ['[[call t {"a":"]]","b":[[1],{}]}]]', [["call", 't {"a":"]]","b":[[1],{}]}']]],
    ['[[say he said "hi]] there', [["say", 'he said "hi']]],
    ["[[open [[say x]]", [["say", "x"]]],
    ["[[ ]] [[42]]", []],
  ])("of %s", (text, expected) => {
    expect(readDirectives(text).map(({ word, rest }) => [word, rest])).toEqual(expected);
  });

  it("ends on any text", () => {
    const text = fc
      .array(fc.constantFrom("[[", "]]", "{", "}", '"', "\\", "say ", "x", "[", "]"))
      .map((parts) => parts.join(""));
    fc.assert(fc.property(text, (value) => readDirectives(value).every(({ word }) => word.length > 0)));
  });
});

describe("decideAnswer()", () => {
  it("never says more tokens than the limit, and says so when it cut", () => {
    const text = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 300 }),
      fc.constant("[[tokens 99]] [[reasoning 20]]"),
    );
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 120 }), (said, outputTokensMax) => {
        const free = decideAnswer(ask(said), undefined);
        const cut = decideAnswer(ask(said, { outputTokensMax }), undefined);
        expect(countOutputTokens(cut)).toBeLessThanOrEqual(outputTokensMax);
        expect(cut.finish).toBe(countOutputTokens(free) > outputTokensMax ? "length" : free.finish);
        expect(free.text.startsWith(cut.text)).toBe(true);
      }),
    );
  });

  it("answers JSON of the schema that was asked for", () => {
    const jsonSchema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    expect(decideAnswer(ask("It rains in Paris", { jsonSchema }), undefined).text).toBe('{"city":"Paris"}');
  });
});

describe("splitText()", () => {
  it("loses nothing and cuts no character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 5 }), (text, chunkTokens) => {
        const pieces = [...splitText(text, chunkTokens)];
        expect(pieces.join("")).toBe(text);
        expect(pieces.every((piece) => Buffer.from(piece).toString("utf8") === piece)).toBe(true);
        expect(pieces.slice(0, -1).every((piece) => countTokens(Buffer.byteLength(piece)) >= chunkTokens)).toBe(true);
      }),
    );
  });
});
