import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutUp, dataOf, localGuardrail, masked, rewriterOf, textOfAModel } from "./test-streams.ts";

interface Item {
  readonly text: string;
  readonly cuts: readonly number[];
  readonly isCall: boolean;
}

const item: fc.Arbitrary<Item> = fc.record({
  text: textOfAModel,
  cuts: fc.array(fc.nat(12), { maxLength: 40 }),
  isCall: fc.boolean(),
});

/** The events of a response with some items, as a model sends them: all text twice more at the end of each. */
function eventsOf(items: readonly Item[], end = "completed"): string[] {
  let sequence = 0;
  const event = (type: string, fields: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...fields })}\n\n`;
  const echo = { instructions: "Answer ann@example.com", usage: null };
  const output = items.map(({ text, isCall }, index) =>
    isCall
      ? { id: `i${index}`, type: "function_call", arguments: text }
      : { id: `i${index}`, type: "message", content: [{ type: "output_text", text, logprobs: [] }] },
  );
  return [
    event("response.created", { response: { ...echo, output: [] } }),
    ...items.flatMap(({ text, cuts, isCall }, index) => {
      const at = { item_id: `i${index}`, output_index: index, ...(isCall ? {} : { content_index: 0 }) };
      const name = isCall ? "response.function_call_arguments" : "response.output_text";
      return [
        event("response.output_item.added", { output_index: index, item: { id: `i${index}`, type: "x" } }),
        ...cutUp(text, cuts).map((delta) =>
          event(`${name}.delta`, { ...at, delta, ...(isCall ? {} : { logprobs: [] }) }),
        ),
        event(`${name}.done`, { ...at, ...(isCall ? { arguments: text } : { text, logprobs: [] }) }),
        ...(isCall ? [] : [event("response.content_part.done", { ...at, part: { type: "output_text", text } })]),
        event("response.output_item.done", { output_index: index, item: output[index] }),
      ];
    }),
    event(`response.${end}`, { response: { ...echo, output, usage: { input_tokens: 1, output_tokens: 2 } } }),
  ];
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
const typeOf = (value: unknown): string => String(field(value, "type"));
const deltasOf = (events: readonly unknown[], index: number): string =>
  events
    .filter((each) => field(each, "output_index") === index && typeOf(each).endsWith(".delta"))
    .map((each) => String(field(each, "delta")))
    .join("");

describe("a stream of Responses with Mask", () => {
  it("says with deltas what the whole text with labels would, and repeats just that", () => {
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 3 }), (items) => {
        const rewriter = rewriterOf("responses", [localGuardrail("Mask")]);
        let out = "";
        for (const event of eventsOf(items)) out += rewriter.push(Buffer.from(event)).toString();
        const events = dataOf(out);
        items.forEach(({ text }, index) => expect(deltasOf(events, index)).toBe(masked(text)));
        const expected = dataOf(
          eventsOf(items.map((each) => ({ ...each, text: masked(each.text), cuts: [] }))).join(""),
        );
        const whole = (list: readonly unknown[]): unknown[] =>
          list.filter((each) => !typeOf(each).endsWith(".delta")).map(withoutNumber);
        expect(whole(events)).toEqual(whole(expected));
      }),
      { numRuns: 300 },
    );
  });

  it("numbers its events one by one, and lets out no more than a prefix of what it will have said", () => {
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 2 }), (items) => {
        const rewriter = rewriterOf("responses", [localGuardrail("Mask")]);
        let out = "";
        for (const event of eventsOf(items)) {
          out += rewriter.push(Buffer.from(event)).toString();
          const soFar = dataOf(out);
          items.forEach(({ text }, index) => expect(masked(text).startsWith(deltasOf(soFar, index))).toBe(true));
        }
        const numbers = dataOf(out).map((each) => field(each, "sequence_number"));
        expect(numbers).toEqual(numbers.map((_, index) => index));
      }),
      { numRuns: 100 },
    );
  });
});

function withoutNumber(value: unknown): unknown {
  return { ...(typeof value === "object" ? value : {}), sequence_number: undefined };
}

const through = (rewriter: { push(block: Buffer): Buffer }, ...events: string[]): string =>
  rewriter.push(Buffer.from(events.join(""))).toString();

describe("a stream of Responses", () => {
  it("puts what was held into an event of its own before the text is said to be done", () => {
    const [, , delta, ...more] = eventsOf([{ text: "Write to ann@example.com", cuts: [], isCall: false }]);
    const rewriter = rewriterOf("responses", [localGuardrail("Mask")]);
    const [first, added, done] = dataOf(through(rewriter, delta ?? "", ...more));
    expect(first).toMatchObject({ sequence_number: 2, delta: "Write to " });
    expect(added).toEqual({
      type: "response.output_text.delta",
      sequence_number: 3,
      item_id: "i0",
      output_index: 0,
      content_index: 0,
      delta: "[email]",
      logprobs: [],
    });
    expect(done).toMatchObject({ sequence_number: 4, text: "Write to [email]" });
  });

  it("leaves what the client has sent as it comes back", () => {
    const out = through(rewriterOf("responses", [localGuardrail("Mask")]), ...eventsOf([]));
    expect(out).toBe(eventsOf([]).join(""));
    expect(out).toContain("Answer ann@example.com");
  });

  it("changes no byte with Alert, and counts what is repeated once", () => {
    const rewriter = rewriterOf("responses", [localGuardrail("Alert")]);
    const events = eventsOf([{ text: "ann@example.com and 4111 1111 1111 1111", cuts: [5, 9, 9, 9], isCall: false }]);
    expect(through(rewriter, ...events)).toBe(events.join(""));
    rewriter.close();
    expect(rewriter.verdicts).toEqual([
      {
        name: "local",
        action: "Alert",
        result: {
          kind: "hit",
          rule: "email",
          counts: new Map([
            ["email", 1],
            ["card", 1],
          ]),
        },
      },
    ]);
  });

  it("finds with Reject what comes whole alone", () => {
    const events = eventsOf([{ text: "ann@example.com", cuts: [], isCall: true }]).filter(
      (each) => !each.includes(".delta"),
    );
    const rewriter = rewriterOf("responses", [localGuardrail("Reject")]);
    expect(events.map((each) => through(rewriter, each)).join("")).not.toMatch(/arguments.done|item.done/);
    expect(rewriter.refusal()?.code).toBe("content_filter");
  });

  it("leaves sound alone", () => {
    const data = {
      type: "response.output_audio.delta",
      sequence_number: 1,
      item_id: "a",
      output_index: 0,
      delta: "QUtJQQ==",
    };
    const event = `data: ${JSON.stringify(data)}\n\n`;
    expect(through(rewriterOf("responses", [localGuardrail("Mask")]), event)).toBe(event);
  });
});
