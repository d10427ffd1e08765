import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type OutputItem, toTextPart } from "./items.ts";
import { toMessages } from "./messages.ts";
import { encodeEvent } from "./sse.ts";
import { createMessageWriter, createRunStream, EVENTS_MAX, replayItem, type StreamEvent } from "./stream.ts";

function record(): { events: StreamEvent[]; stream: ReturnType<typeof createRunStream> } {
  const events: StreamEvent[] = [];
  const stream = createRunStream(0);
  stream.subscribe((event) => events.push(event));
  return { events, stream };
}

const call: OutputItem = {
  id: "mcp_1",
  type: "mcp_call",
  server_label: "orders",
  name: "get_order",
  arguments: "{}",
  output: "found",
  error: null,
  status: "completed",
  approval_request_id: null,
};
const asked: OutputItem = {
  id: "fc_1",
  type: "function_call",
  call_id: "c1",
  name: "get_weather",
  arguments: "{}",
  status: "completed",
};

describe("a run with very many events", () => {
  it("gets no more text, and can still be ended", () => {
    const stream = createRunStream(EVENTS_MAX - 3);
    const writer = createMessageWriter({ stream, outputIndex: 0 }, "msg_1");
    writer.text("last words");
    expect(() => writer.text("more")).toThrow("The run's answers are too long: the limit is 200000 events");
    expect(writer.finish("incomplete").item).toMatchObject({ content: [{ text: "last words" }] });
    expect(stream.prepare("response.failed", {}).sequence_number).toBe(EVENTS_MAX + 3);
  });
});

describe("events", () => {
  it("encodes an event with its type as name, and no id", () => {
    expect(encodeEvent({ type: "response.created", sequence_number: 0, response: { id: "a" } })).toBe(
      'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"a"}}\n\n',
    );
  });

  it("writes a message as it comes, a refusal as a part of its own", () => {
    const { events, stream } = record();
    const writer = createMessageWriter({ stream, outputIndex: 2 }, "msg_1");
    expect(writer.isOpen).toBe(false);
    writer.text("Hel");
    writer.text("lo");
    writer.refusal("no");
    const { item, event } = writer.finish("incomplete");
    expect(item.content).toEqual([toTextPart("Hello"), { type: "refusal", refusal: "no" }]);
    expect(events.map((known) => [known.type.replace("response.", ""), known["content_index"]])).toEqual([
      ["output_item.added", undefined],
      ["content_part.added", 0],
      ["output_text.delta", 0],
      ["output_text.delta", 0],
      ["output_text.done", 0],
      ["content_part.done", 0],
      ["content_part.added", 1],
      ["refusal.delta", 1],
      ["refusal.done", 1],
      ["content_part.done", 1],
    ]);
    expect(event).toMatchObject({ type: "response.output_item.done", sequence_number: 10, output_index: 2, item });
  });

  it("ends every item that it began, with what it said, numbers rising", () => {
    const text = fc.string({ minLength: 1 });
    const item = fc.oneof(
      fc.constantFrom(call, asked, { ...call, status: "failed" as const, output: null }),
      text.map((value): OutputItem => {
        return { id: "msg", type: "message", role: "assistant", status: "completed", content: [toTextPart(value)] };
      }),
    );
    fc.assert(
      fc.property(fc.array(item, { maxLength: 6 }), (items) => {
        const { events, stream } = record();
        for (const [outputIndex, next] of items.entries()) replayItem({ stream, outputIndex }, next);
        expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
        const done = events.filter((event) => event.type === "response.output_item.done");
        expect(done.map((event) => event["item"])).toEqual(items);
        const added = events.filter((event) => event.type === "response.output_item.added");
        expect(added.map((event) => event["output_index"])).toEqual(items.map((_, index) => index));
      }),
    );
  });
});

describe("toMessages", () => {
  const name = ({ server, name: plain }: { server: string; name: string }): string => `${server}__${plain}`;

  it("puts calls that follow one another into one message, their results after it", () => {
    const output = { type: "function_call_output", call_id: "c1", output: "rain" } as const;
    const user = { type: "message", role: "user", content: [{ type: "input_text", text: "And?" }] } as const;
    expect(toMessages([call, asked, output, { ...user, content: [...user.content] }], name)).toEqual([
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "mcp_1", type: "function", function: { name: "orders__get_order", arguments: "{}" } },
          { id: "c1", type: "function", function: { name: "get_weather", arguments: "{}" } },
        ],
      },
      { role: "tool", tool_call_id: "mcp_1", content: "found" },
      { role: "tool", tool_call_id: "c1", content: "rain" },
      { role: "user", content: "And?" },
    ]);
  });

  it("tells the model why an earlier call failed", () => {
    const error = { type: "mcp_tool_execution_error", content: [{ type: "text", text: "Refused" }] } as const;
    const failed = { ...call, output: null, error: { ...error, content: [...error.content] } };
    expect(toMessages([failed], name)[1]).toEqual({ role: "tool", tool_call_id: "mcp_1", content: "Refused" });
  });
});
