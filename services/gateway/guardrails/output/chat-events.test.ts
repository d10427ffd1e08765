import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutUp, dataOf, localGuardrail, masked, rewriterOf, textOfAModel } from "./test-streams.ts";

interface Chunk {
  readonly id?: string;
  readonly choices: {
    readonly index: number;
    readonly delta: {
      readonly role?: string;
      readonly content?: string;
      readonly tool_calls?: { readonly index: number; readonly function: { readonly arguments: string } }[];
    };
    readonly logprobs?: unknown;
    readonly finish_reason: string | null;
  }[];
}

const head = { id: "c1", object: "chat.completion.chunk", created: 1, model: "gpt-5-mini" };
const chunk = (index: number, delta: Chunk["choices"][number]["delta"], finish: string | null = null): Chunk => ({
  ...head,
  choices: [{ index, delta, finish_reason: finish }],
});
const event = (data: unknown): string => `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
const DONE = event("[DONE]");

/** What a client has of one choice: its content, its first call's arguments. */
function textsOf(chunks: readonly unknown[], index: number): { content: string; arguments: string } {
  const choices = chunks.flatMap((each) => (isChunk(each) ? each.choices : [])).filter((each) => each.index === index);
  return {
    content: choices.map(({ delta }) => delta.content ?? "").join(""),
    arguments: choices.map(({ delta }) => delta.tool_calls?.[0]?.function.arguments ?? "").join(""),
  };
}

function isChunk(value: unknown): value is Chunk {
  return typeof value === "object" && value !== null && "choices" in value;
}

/** A choice's chunks: its text as content, or as the arguments of a call. */
const choice = fc.record({
  text: textOfAModel,
  cuts: fc.array(fc.nat(12), { maxLength: 40 }),
  isCall: fc.boolean(),
});

function chunksOf(
  index: number,
  { text, cuts, isCall }: { text: string; cuts: readonly number[]; isCall: boolean },
): Chunk[] {
  const pieces = cutUp(text, cuts).map((piece) =>
    chunk(index, isCall ? { tool_calls: [{ index: 0, function: { arguments: piece } }] } : { content: piece }),
  );
  return [chunk(index, { role: "assistant" }), ...pieces, chunk(index, {}, "stop")];
}

/** The chunks of all choices, mixed but each in its order. */
function mix(lists: readonly (readonly Chunk[])[], picks: readonly number[]): Chunk[] {
  const left = lists.map((list) => [...list]);
  const mixed: Chunk[] = [];
  for (let turn = 0; left.some((list) => list.length > 0); turn += 1) {
    const open = left.filter((list) => list.length > 0);
    const next = open[(picks[turn % Math.max(1, picks.length)] ?? 0) % open.length]?.shift();
    if (next) mixed.push(next);
  }
  return mixed;
}

const stream = fc.record({
  choices: fc.array(choice, { minLength: 1, maxLength: 3 }),
  picks: fc.array(fc.nat(2), { maxLength: 20 }),
});

describe("a chat stream with Mask", () => {
  it("says what the whole text with labels would, however it was cut and mixed, and at no time more than that", () => {
    fc.assert(
      fc.property(stream, ({ choices, picks }) => {
        const rewriter = rewriterOf("chat", [localGuardrail("Mask")]);
        const lists = choices.map((each, index) => chunksOf(index, each));
        const expected = choices.map(({ text }) => masked(text));
        let out = "";
        for (const each of [...mix(lists, picks).map(event), DONE]) {
          out += rewriter.push(Buffer.from(each)).toString();
          const soFar = dataOf(out);
          choices.forEach(({ isCall }, index) => {
            const said = textsOf(soFar, index)[isCall ? "arguments" : "content"];
            expect((expected[index] ?? "").startsWith(said)).toBe(true);
          });
        }
        const all = dataOf(out);
        choices.forEach(({ isCall }, index) =>
          expect(textsOf(all, index)[isCall ? "arguments" : "content"]).toBe(expected[index]),
        );
        expect(all.at(-1)).toBe("[DONE]");
      }),
      { numRuns: 200 },
    );
  });

  it("has the same events with the same JSON but for where text is cut, and a chunk more for what was held at the end", () => {
    fc.assert(
      fc.property(stream, ({ choices, picks }) => {
        const rewriter = rewriterOf("chat", [localGuardrail("Mask")]);
        const chunks = mix(
          choices.map((each, index) => chunksOf(index, each)),
          picks,
        );
        const out = dataOf(rewriter.push(Buffer.from([...chunks.map(event), DONE].join(""))).toString()).map(blank);
        const sent = [...chunks, "[DONE]"].map(blank);
        let at = 0;
        for (const each of out) {
          if (JSON.stringify(each) === JSON.stringify(sent[at])) at += 1;
          else expect(each).toMatchObject({ ...head, choices: [{ finish_reason: null }] });
        }
        expect(at).toBe(sent.length);
        expect(out.length - sent.length).toBeLessThanOrEqual(choices.length);
      }),
    );
  });
});

/** An event without the texts of its deltas. */
function blank(value: unknown): unknown {
  if (!isChunk(value)) return value;
  return JSON.parse(
    JSON.stringify(value, (key, each: unknown) => (key === "content" || key === "arguments" ? "" : each)),
  );
}

const through = (rewriter: { push(block: Buffer): Buffer }, ...events: string[]): string =>
  rewriter.push(Buffer.from(events.join(""))).toString();

describe("a chat stream", () => {
  it("keeps all bytes of events in which nothing is held", () => {
    const events = [
      `: a comment\n\n`,
      `data: {"id":"x" ,"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\r\n\r\n`,
      `data: {"choices":[{"index":0,"delta":{"content":"Hello. "},"n":1.0}]}\n\n`,
      `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n\n`,
      DONE,
    ];
    expect(through(rewriterOf("chat", [localGuardrail("Mask")]), ...events)).toBe(events.join(""));
  });

  it("changes no byte with Alert, and tells what it found", () => {
    const events = [chunk(0, { content: "ann@exam" }), chunk(0, { content: "ple.com " }), chunk(0, {}, "stop")].map(
      event,
    );
    const rewriter = rewriterOf("chat", [localGuardrail("Alert")]);
    expect(through(rewriter, ...events, DONE)).toBe([...events, DONE].join(""));
    rewriter.close();
    expect(rewriter.verdicts).toEqual([
      { name: "local", action: "Alert", result: { kind: "hit", rule: "email", counts: new Map([["email", 1]]) } },
    ]);
  });

  it("ends at a hit with Reject, having let out nothing of it", () => {
    const rewriter = rewriterOf("chat", [localGuardrail("Reject")]);
    const first = through(rewriter, event(chunk(0, { content: "Pay with 4111 1111" })));
    expect(textsOf(dataOf(first), 0).content).toBe("Pay with ");
    expect(through(rewriter, event(chunk(0, { content: " 1111 1111, thanks" })), DONE)).toBe("");
    expect(rewriter.refusal()).toMatchObject({ code: "content_filter" });
    expect(rewriter.verdicts).toEqual([
      { name: "local", action: "Reject", result: { kind: "hit", rule: "card", counts: new Map([["card", 1]]) } },
    ]);
  });

  it("tells the tokens of nothing that may be held", () => {
    const logprobs = { content: [{ token: "ann@example.com", logprob: -1 }] };
    const data = { ...head, choices: [{ index: 0, delta: { content: "ann@example.com " }, logprobs }] };
    const out = through(rewriterOf("chat", [localGuardrail("Mask")]), event(data));
    expect(dataOf(out)).toEqual([{ ...head, choices: [{ index: 0, delta: { content: "[email] " }, logprobs: null }] }]);
  });

  it("reads data that is spread over lines, and lines that end with CR", () => {
    const spread = 'data: {"choices":[{"index":0,\ndata: "delta":{"content":"ann@example.com "}}]}\n\n';
    expect(dataOf(through(rewriterOf("chat", [localGuardrail("Mask")]), spread))).toEqual([
      { choices: [{ index: 0, delta: { content: "[email] " } }] },
    ]);
    const lone = 'data: {"choices":[{"index":0,"delta":{"content":"ann@example.com "}}]}\rdata: \n\n';
    expect(through(rewriterOf("chat", [localGuardrail("Mask")]), lone)).toContain("[email] ");
  });

  it("masks where one guardrail masks before another rejects", () => {
    const list = [localGuardrail("Mask", { name: "first" }), localGuardrail("Reject", { name: "second" })];
    const rewriter = rewriterOf("chat", list);
    const out = through(rewriter, event(chunk(0, { content: "ann@example.com " })), event(chunk(0, {}, "stop")), DONE);
    rewriter.close();
    expect(textsOf(dataOf(out), 0).content).toBe("[email] ");
    expect(rewriter.verdicts.map(({ name, action }) => `${name}=${action}`)).toEqual(["first=Mask", "second=Allow"]);
  });

  it.each(["Closed", "Open"] as const)("that nobody can read is %s", (failureMode) => {
    const rewriter = rewriterOf("chat", [localGuardrail("Mask", { failureMode })]);
    const out = through(rewriter, "data: {broken\n\n", event(chunk(0, { content: "ann@example.com " })));
    expect(out.includes("broken")).toBe(failureMode === "Open");
    expect(rewriter.refusal()?.code).toBe(failureMode === "Open" ? undefined : "guardrail_unavailable");
    expect(rewriter.verdicts).toEqual([
      {
        name: "local",
        action: failureMode === "Open" ? "FailOpen" : "FailClosed",
        result: { kind: "failed", reason: "unreadable_answer" },
      },
    ]);
  });
});
