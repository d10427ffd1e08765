import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ModelOperation } from "../../wire/openai.ts";
import { findLocalMatches } from "../local/local-scan.ts";
import { createLocalMatcher } from "../local/matcher.ts";
import { requestTexts, type TextsSource } from "../request-texts.ts";
import { maskBody } from "./mask-body.ts";
import { createPlaceReader } from "./places.ts";

const matcher = createLocalMatcher({
  detect: ["Secrets", "Cards", "Emails"],
  denyWords: ["nightingale"],
  allowWords: ["help@example.com"],
});
const KEY = `sk-${"aB3dE6gH".repeat(5)}`;

const maskText = async (text: string, operation: ModelOperation = "chat", source: TextsSource = "client") => {
  const masked = await maskBody(Buffer.from(text), { operation, source, matcher, work: { steps: 0 } });
  return { ...masked, text: masked.bytes.toString("utf8") };
};
const mask = (body: unknown, operation?: ModelOperation, source?: TextsSource) =>
  maskText(JSON.stringify(body), operation, source);

describe("maskBody()", () => {
  it.each([
    ["a message", "chat", { messages: [{ role: "user", content: "pay 4111 1111 1111 1111 now" }] }, "pay [card] now"],
    ["a system's", "chat", { messages: [{ role: "system", content: "ann@example.com" }] }, "[email]"],
    ["a part", "chat", { messages: [{ role: "user", content: [{ type: "text", text: `a ${KEY}.` }] }] }, "a [secret]."],
    [
      "a tool's result",
      "chat",
      { messages: [{ role: "tool", tool_call_id: "c", content: "Nightingale!" }] },
      "[word]!",
    ],
    [
      "arguments",
      "chat",
      {
        messages: [
          { role: "assistant", tool_calls: [{ function: { name: "f", arguments: '{"n":"ann@example.com"}' } }] },
        ],
      },
      String.raw`{\"n\":\"[email]\"}`,
    ],
    ["input", "responses", { input: "I am ann@example.com" }, "I am [email]"],
    ["instructions", "responses", { input: "u", instructions: "nightingale" }, '"instructions":"[word]"'],
    ["an output", "responses", { input: [{ type: "function_call_output", output: KEY }] }, '"output":"[secret]"'],
    ["embeddings", "embeddings", { input: ["a", "ann@example.com"] }, '["a","[email]"]'],
    [
      "a tool's description",
      "chat",
      { tools: [{ function: { name: "f", description: "as nightingale" } }] },
      "as [word]",
    ],
  ] as const)("masks %s", async (_, operation, body, expected) => {
    const masked = await mask(body, operation);
    expect(masked.text).toContain(expected);
    expect(masked.isPartial).toBe(false);
    expect([...masked.counts.values()]).toEqual([1]);
    expect(() => JSON.parse(masked.text)).not.toThrow();
  });

  it.each([
    ["a function's name", { messages: [{ role: "assistant", tool_calls: [{ function: { name: "nightingale" } }] }] }],
    ["a tool's name", { tools: [{ function: { name: "nightingale" } }] }],
    ["a key of a schema", { tools: [{ function: { parameters: { properties: { nightingale: {} } } } }] }],
  ])("cannot mask %s, and says so", async (_, body) => {
    const masked = await mask(body);
    expect(masked).toMatchObject({ text: JSON.stringify(body), isPartial: true });
  });

  it("leaves all else as it came: blanks, escapes, numbers, what is no text", async () => {
    const text = String.raw`{ "model":"nightingale","messages" : [ {"role":"user","content":"\u0041\/\n \u006eightingale \ud83d\ude00 4\u0031111111111 11111\n"} ],
 "user":"ann@example.com","seed":1.0e2, "n":1 }`;
    const masked = await maskText(text);
    expect(masked.text).toBe(
      text.replace(String.raw`\u006eightingale`, "[word]").replace(String.raw`4\u0031111111111 11111`, "[card]"),
    );
  });

  it("leaves what our orchestrator has written itself", async () => {
    const messages = [
      { role: "system", content: "nightingale" },
      { role: "user", content: "nightingale" },
      { content: "nightingale", role: "tool" },
    ];
    const masked = await mask({ messages }, "chat", "orchestrator");
    expect(masked.text.match(/nightingale|\[word\]/g)).toEqual(["nightingale", "[word]", "[word]"]);
  });

  it("keeps the very bytes where nothing is found", async () => {
    const bytes = Buffer.from('{"messages":[{"role":"user","content":"help@example.com"}]}');
    const masked = await maskBody(bytes, { operation: "chat", source: "client", matcher, work: { steps: 0 } });
    expect(masked.bytes).toBe(bytes);
    expect(masked.counts.size).toBe(0);
  });

  it("masks a long text in pieces, others having their turn, with work that grows with its length alone", async () => {
    const said = 'He said "no" to 4111 1111 1111 1111 and ann@example.com. '.repeat(8_000);
    for (const repeats of [1, 8]) {
      const content = said.repeat(repeats);
      const work = { steps: 0 };
      let turns = 0;
      let isDone = false;
      const count = (): void => {
        turns += 1;
        if (!isDone) setImmediate(count);
      };
      setImmediate(count);
      const bytes = Buffer.from(JSON.stringify({ messages: [{ role: "user", content }] }));
      const masked = await maskBody(bytes, { operation: "chat", source: "client", matcher, work });
      isDone = true;
      expect(masked.counts.get("card")).toBe(8_000 * repeats);
      expect(masked.counts.get("email")).toBe(8_000 * repeats);
      expect(work.steps).toBeLessThan(12 * bytes.length + 200_000);
      expect(turns).toBeGreaterThanOrEqual(Math.floor(work.steps / 600_000));
    }
  });
});

const anyText = fc.oneof(
  fc.constantFrom(
    "ann@example.com",
    "4111111111111111",
    KEY,
    "nightingale",
    "n\u200bightingale",
    "\\n",
    '"',
    "é",
    "😀",
    " ",
  ),
  fc.string({ unit: "grapheme", maxLength: 5 }),
);
const said = fc.array(anyText, { maxLength: 6 }).map((each) => each.join(""));
const json: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    said,
    fc.constantFrom(null, 1, true, -1.5e3),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom("role", "type", "content", "text", "name", "url", "image_url", "arguments", "1", "output"),
      tie("value"),
      { maxKeys: 4 },
    ),
  ),
})).value;
const body = fc.record(
  {
    messages: json,
    input: json,
    tools: json,
    instructions: json,
    prompt: json,
    text: json,
    metadata: json,
    model: said,
  },
  { requiredKeys: [] },
);
const operations = fc.constantFrom("chat" as const, "responses" as const, "embeddings" as const);

describe("any body", () => {
  it("is read in the places whose texts the other guardrails read", () => {
    fc.assert(
      fc.property(body, operations, (sent, operation) => {
        const text = JSON.stringify(sent);
        const reader = createPlaceReader(text, { operation, source: "client" });
        const places = [];
        for (let found = reader.next(7); found !== undefined; found = reader.next(7)) places.push(...found);
        const { tools, ...rest } = sent;
        const { prompts, documents } = requestTexts(operation, Buffer.from(JSON.stringify(rest)), "client");
        const read = places
          .filter(({ start }) => !isInside(text, start, tools))
          .map(({ start, end }) => String(JSON.parse(`"${text.slice(start, end)}"`)))
          .filter((each) => each.trim() !== "");
        const expected = [...prompts, ...documents.flatMap((each) => each.split("\n"))].filter(
          (each) => each.trim() !== "",
        );
        expect(
          read
            .flatMap((each) => each.split("\n"))
            .filter((each) => each.trim() !== "")
            .sort(),
        ).toEqual(
          expected
            .flatMap((each) => each.split("\n"))
            .filter((each) => each.trim() !== "")
            .sort(),
        );
      }),
      { numRuns: 500 },
    );
  });

  it("is JSON afterwards, with labels where something was found and all else as before", async () => {
    await fc.assert(
      fc.asyncProperty(body, operations, fc.constantFrom(0, 1, 2), async (sent, operation, blanks) => {
        const text = JSON.stringify(sent, null, blanks);
        const masked = await maskText(text, operation);
        expect(shapeOf(JSON.parse(masked.text))).toBe(shapeOf(JSON.parse(text)));
        if (masked.counts.size === 0) expect(masked.text).toBe(text);
        const before = placesOf(text, operation);
        const after = placesOf(masked.text, operation);
        expect(after.map(({ said }) => said)).toEqual(
          before.map((each) => (each.mayChange ? labelled(each.said) : each.said)),
        );
        const isLeft = before.some((each) => !each.mayChange && labelled(each.said) !== each.said);
        expect(masked.isPartial).toBe(isLeft);
      }),
      { numRuns: 1_000 },
    );
  });
});

function placesOf(text: string, operation: ModelOperation): { readonly said: string; readonly mayChange: boolean }[] {
  const reader = createPlaceReader(text, { operation, source: "client" });
  const places = [];
  for (let found = reader.next(7); found !== undefined; found = reader.next(7)) places.push(...found);
  return places.map(({ start, end, mayChange }) => ({
    said: String(JSON.parse(`"${text.slice(start, end)}"`)),
    mayChange,
  }));
}

function labelled(said: string): string {
  return findLocalMatches(matcher, said, { steps: 0 }).reduceRight(
    (text, { start, end, label }) => text.slice(0, start) + label + text.slice(end),
    said,
  );
}

/** Everything but the texts. */
function shapeOf(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === "string" ? "" : inner));
}

/** Whether a place lies in the body's tools. */
function isInside(text: string, at: number, tools: unknown): boolean {
  if (tools === undefined) return false;
  const start = text.indexOf('"tools":') + '"tools":'.length;
  return at >= start && at < start + JSON.stringify(tools).length;
}
