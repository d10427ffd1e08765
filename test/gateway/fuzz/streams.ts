import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { decodeCounterFile } from "../../../services/core/counter-record.ts";
import { createArea } from "./area.ts";
import type { Answer } from "./raw.ts";
import { verdictOf } from "./shape.ts";
import type { FuzzWorld } from "./world.ts";

type Shape = "chat" | "responses";

/** What a model says in one stream, and how its bytes come. */
interface StreamCase {
  readonly shape: Shape;
  readonly texts: readonly string[];
  readonly newline: "\n" | "\r\n";
  readonly asksUsage: boolean;
  readonly usage: { readonly input: number; readonly output: number };
  /** Places at which the bytes are cut; modulo their number. */
  readonly cuts: readonly number[];
  readonly spoil: Spoil | undefined;
}

interface Spoil {
  readonly at: number;
  readonly dropped: number;
  readonly piece: Buffer;
  /** The connection ends at that place. */
  readonly dies: boolean;
}

const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.constantFrom(
    '"usage":{"completion_tokens":7}',
    "data: [DONE]",
    "\n\n",
    "\r\n\r\n",
    "\\",
    '{"error":1}',
    "",
    "é😀",
    "\u2028",
  ),
);
const cases: fc.Arbitrary<StreamCase> = fc.record({
  shape: fc.constantFrom<Shape>("chat", "responses"),
  texts: fc.array(text, { minLength: 1, maxLength: 5 }),
  newline: fc.constantFrom("\n" as const, "\r\n" as const),
  asksUsage: fc.boolean(),
  usage: fc.record({ input: fc.nat({ max: 1e6 }), output: fc.nat({ max: 1e6 }) }),
  cuts: fc.oneof(
    { weight: 7, arbitrary: fc.array(fc.nat({ max: 5_000 }), { maxLength: 6 }) },
    // At every byte.
    fc.constant(Array.from({ length: 1_200 }, (_, place) => place)),
  ),
  spoil: fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    fc.record({
      at: fc.nat({ max: 5_000 }),
      dropped: fc.oneof(fc.constant(0), fc.nat({ max: 40 })),
      piece: fc.oneof(
        fc.constant(Buffer.alloc(0)),
        fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
        fc
          .constantFrom(
            "\n",
            "\n\n",
            "\r",
            '"',
            "{",
            "data: ",
            "data: [DONE]\n\n",
            'data: {"usage":{}}\n\n',
            ": x\n\n",
            "\ufeff",
            "event: error\n",
          )
          .map((each) => Buffer.from(each)),
        fc
          .constantFrom('"usage":{"prompt_tokens":-1,"completion_tokens":1e99},', '"type":"response.completed",')
          .map((each) => Buffer.from(each)),
      ),
      dies: fc.boolean(),
    }),
  ),
});

/** Whole events, and the one that only a client that asked for usage may see. */
function eventsOf({ shape, texts, newline, usage, asksUsage }: StreamCase): { sent: Buffer; kept: Buffer } {
  const events = shape === "chat" ? chatEvents(texts, usage) : responseEvents(texts, usage);
  const lines = (all: readonly string[]): Buffer =>
    Buffer.from(all.map((event) => event.replaceAll("\n", newline)).join(""));
  const isDropped = (event: string): boolean =>
    shape === "chat" && !asksUsage && event.includes('"choices":[],"usage":{');
  return { sent: lines(events), kept: lines(events.filter((event) => !isDropped(event))) };
}

function chatEvents(texts: readonly string[], { input, output }: StreamCase["usage"]): string[] {
  const chunk = (fields: object): string => `data: ${JSON.stringify({ id: "c", ...fields })}\n\n`;
  return [
    ": ping\n\n",
    ...texts.map((content) => chunk({ choices: [{ index: 0, delta: { content } }], usage: null })),
    chunk({ choices: [], prompt_filter_results: [] }),
    chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }),
    chunk({ choices: [], usage: { prompt_tokens: input, completion_tokens: output } }),
    "data: [DONE]\n\n",
  ];
}

function responseEvents(texts: readonly string[], { input, output }: StreamCase["usage"]): string[] {
  const event = (type: string, fields: object): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
  return [
    event("response.created", { response: { id: "r", status: "in_progress" } }),
    ...texts.map((delta, index) => event("response.output_text.delta", { sequence_number: index, delta })),
    event("response.completed", {
      response: { id: "r", status: "completed", usage: { input_tokens: input, output_tokens: output } },
    }),
  ];
}

function spoiled(sent: Buffer, spoil: Spoil): Buffer {
  const at = spoil.at % (sent.length + 1);
  const head = Buffer.concat([sent.subarray(0, at), spoil.piece]);
  return spoil.dies ? head : Buffer.concat([head, sent.subarray(at + spoil.dropped)]);
}

async function check(world: FuzzWorld, one: StreamCase): Promise<string> {
  const { sent, kept } = eventsOf(one);
  const { spoil } = one;
  const bytes = spoil === undefined ? sent : spoiled(sent, spoil);
  world.model.answer = (_, response) => void writeCut(response, bytes, { cuts: one.cuts, dies: spoil?.dies ?? false });
  const before = counted(world);
  const answer = await world.send(requestOf(one, spoil === undefined ? "gpt" : world.nextAlias()));
  if (spoil !== undefined) return spoiledVerdict(answer, bytes);
  if (!answer.body.equals(kept))
    throw new Error(`The client got ${answer.body.toString()}, right is ${kept.toString()}`);
  const after = counted(world);
  const added = { input: after.input - before.input, output: after.output - before.output };
  if (!isDeepStrictEqual(added, { ...one.usage }))
    throw new Error(`Counted was ${JSON.stringify(added)}, right is ${JSON.stringify(one.usage)}`);
  return "ok";
}

/** As the file has it, which is written before the last bytes go out. */
function counted(world: FuzzWorld): { input: number; output: number } {
  const totals = decodeCounterFile(readFileSync(world.gateway.folder.files.counters))?.totals;
  return { input: Number(totals?.["input_tokens"] ?? 0), output: Number(totals?.["output_tokens"] ?? 0) };
}

function requestOf({ shape, asksUsage }: StreamCase, model: string) {
  const more = asksUsage && shape === "chat" ? { stream_options: { include_usage: true } } : {};
  const input = shape === "chat" ? { messages: [] } : { input: "x" };
  const path = shape === "chat" ? "/v1/chat/completions" : "/v1/responses";
  return { path, body: JSON.stringify({ model, stream: true, ...input, ...more }) };
}

/** Each piece as a segment of its own, as far as two processes on one machine can have it. */
async function writeCut(
  response: ServerResponse,
  bytes: Buffer,
  { cuts, dies }: { readonly cuts: readonly number[]; readonly dies: boolean },
): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
  for (const [index, place] of [0, ...places].entries()) {
    response.write(bytes.subarray(place, places[index]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (dies) response.destroy();
  else response.end();
}

/** Of a stream that nobody can mend: what the client got is what came, whole events of it, and an end that says how it went. */
function spoiledVerdict(answer: Answer, bytes: Buffer): string {
  if (answer.status !== 200) return verdictOf(answer);
  const got = answer.body.toString("latin1");
  const came = bytes.toString("latin1");
  if (answer.end === "whole") {
    if (!/\[DONE\]|response\.(completed|incomplete|failed)/.test(got))
      throw new Error(`An unfinished stream ended well: ${got}`);
    if (!isPartOf(got, came)) throw new Error(`The client got what nobody sent: ${got}, sent was ${came}`);
    return "spoiled but whole";
  }
  const mark = /(data: \{"error":|event: error\ndata: )[^\n]*"code":"stream_interrupted"/.exec(got);
  if (mark === null) throw new Error(`A broken stream must say so: ${got}`);
  if (!isPartOf(got.slice(0, mark.index), came)) throw new Error(`The client got what nobody sent: ${got}`);
  return "stream_interrupted";
}

/** Whether one text is another without some of its events. */
function isPartOf(part: string, whole: string): boolean {
  const events = (all: string): string[] => all.split(/(?<=\n\r?\n)/);
  const wanted = events(part);
  let at = 0;
  for (const event of events(whole)) if (event === wanted[at]) at += 1;
  return at === wanted.length || (at === wanted.length - 1 && wanted[at] === "");
}

/** Streams of models: cut anywhere, with hostile texts; and spoiled: mutated, cut off, dying. */
export const streams = createArea({ name: "streams", runs: 250 }, cases, check);
