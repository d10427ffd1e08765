import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EVENT_BYTES_MAX, createEventSplitter, eventAround, eventData, isWholeEvent } from "./sse.ts";

/** Cuts bytes at any places. */
const cuts = fc.array(fc.nat(120), { maxLength: 60, size: "max" });
function chunksOf(bytes: Buffer, at: readonly number[]): Buffer[] {
  const marks = [...new Set([0, ...at.map((mark) => mark % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return marks.slice(1).map((end, index) => bytes.subarray(marks[index], end));
}

describe("createEventSplitter()", () => {
  const events = fc.array(
    fc.constantFrom("data: a\n\n", "event: x\r\ndata: b\r\n\r\n", ": ping\n\n", "data: c\ndata: d\n\n"),
    {
      maxLength: 8,
    },
  );

  it("gives every byte once, in order, and only whole events, wherever TCP cuts", () => {
    fc.assert(
      fc.property(events, fc.constantFrom("", "data: unfinished", "data: half\r\n"), cuts, (whole, rest, at) => {
        const bytes = Buffer.from(whole.join("") + rest);
        const splitter = createEventSplitter();
        const given: Buffer[] = [];
        for (const chunk of chunksOf(bytes, at)) {
          const block = splitter.push(chunk);
          if (block.length > 0) expect(block.toString()).toMatch(/\n\r?\n$/);
          given.push(block);
        }
        expect(Buffer.concat(given).toString()).toBe(whole.join(""));
        expect(splitter.rest().toString()).toBe(rest);
      }),
    );
  });

  it("gives an event with the byte that completes it, even when each byte comes alone", () => {
    const splitter = createEventSplitter();
    const given = "data: a\r\n\r\ndata: b\n\n".split("").map((byte) => splitter.push(Buffer.from(byte)).toString());
    expect(given.filter((block) => block !== "")).toEqual(["data: a\r\n\r\n", "data: b\n\n"]);
  });

  it("passes a chunk of whole events on without a copy", () => {
    const chunk = Buffer.from("data: a\n\ndata: b\n\n");
    expect(createEventSplitter().push(chunk)).toBe(chunk);
  });

  it("refuses an event without end", () => {
    const splitter = createEventSplitter();
    const half = Buffer.alloc(EVENT_BYTES_MAX / 2 + 1, 0x61);
    splitter.push(half);
    expect(() => splitter.push(half)).toThrow(/at most 8388608 bytes/);
  });
});

describe("events in a block", () => {
  const block = Buffer.from('data: {"a":1}\n\nevent: e\ndata: x\ndata: y\n\n');
  it("is found around a byte", () => {
    expect(eventAround(block, 20)).toEqual({ start: 15, end: block.length });
    expect(eventAround(block, 7)).toEqual({ start: 0, end: 15 });
  });
  it("has its data lines joined", () => {
    expect(eventData(block.subarray(15))).toBe("x\ny");
  });
});

describe("isWholeEvent()", () => {
  it.each([
    ["data: [DONE]", true],
    ["data: [DONE]\r\n", true],
    ['event: response.completed\ndata: {"type":"response.completed"}', true],
    ['data: {"choices":[{"delta":{"content":"hal', false],
    ["dat", false],
    [": a comment", false],
  ])("of %j is %s", (text, isWhole) => {
    expect(isWholeEvent(Buffer.from(text))).toBe(isWhole);
  });
});
