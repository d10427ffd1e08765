import type { Random } from "../../simulation/random.ts";

/** One call of mixed traffic; everything about it follows from the seed. */
export interface PlannedCall {
  /** Sent as x-request-id, so that its audit line can be found. */
  readonly id: string;
  readonly path: "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings";
  readonly body: string;
  readonly isStream: boolean;
  /** A chat stream whose client asked for usage. */
  readonly asksUsage: boolean;
  /** Bytes of the answer after which the client leaves; 0: as soon as it has asked. Nothing: it stays to the end. */
  readonly leavesAtBytes: number | undefined;
  /** Most output tokens that the model can send to a client that leaves; its answers hold nothing but text. */
  readonly outputTokensMax: number;
}

export interface TrafficShape {
  readonly seed: number;
  readonly streams: number;
  /** Of streams. */
  readonly cancelledShare: number;
}

/** Aliases of the traffic: each has a deployment of its own, so that the model's tally tells the two kinds apart. */
export const ALIASES = { whole: "whole", cancelled: "cancelled" } as const;

/** JSON calls for each stream. */
const JSON_SHARE = 0.15;
/** About what an event of the emulator's takes on the wire. */
const EVENT_BYTES = 420;

/** Chat and Responses streams, with and without usage asked, JSON calls and embeddings in between. */
export function* planCalls({ seed, streams, cancelledShare }: TrafficShape, random: Random): Iterable<PlannedCall> {
  for (let index = 0; index < streams; index += 1) {
    const id = `t${seed}-${index}`;
    yield random.chance(cancelledShare) ? planCancelled(id, random) : planWhole(id, random, true);
    if (random.chance(JSON_SHARE))
      yield random.chance(0.2) ? planEmbeddings(`${id}-e`, random) : planWhole(`${id}-j`, random, false);
  }
}

function planWhole(id: string, random: Random, isStream: boolean): PlannedCall {
  const text = `${filler(random)} ${directives(random)}`;
  const call = { id, isStream, leavesAtBytes: undefined, outputTokensMax: 0 };
  if (random.chance(0.4)) return { ...call, ...responsesBody(ALIASES.whole, { text, isStream, random }) };
  return { ...call, ...chatBody(ALIASES.whole, { text, isStream, random }) };
}

/** Text alone, at a pace that lets a client leave in the middle of it; now and then without any pace. */
function planCancelled(id: string, random: Random): PlannedCall {
  const tokens = 5 + random.int(40);
  const pace = random.chance(0.8) ? ` [[delay ${1 + random.int(2)}]]` : "";
  const text = `${filler(random)} [[tokens ${tokens}]] [[chunk ${1 + random.int(3)}]]${pace}`;
  const about = { text, isStream: true };
  const leavesAtBytes = random.chance(0.1) ? 0 : random.int(tokens * EVENT_BYTES);
  const body = random.chance(0.4) ? responsesBody(ALIASES.cancelled, about) : chatBody(ALIASES.cancelled, about);
  return { id, isStream: true, leavesAtBytes, outputTokensMax: tokens, ...body };
}

function planEmbeddings(id: string, random: Random): PlannedCall {
  const body = JSON.stringify({ model: ALIASES.whole, input: [filler(random), "second"], dimensions: 4 });
  const rest = { isStream: false, asksUsage: false, leavesAtBytes: undefined, outputTokensMax: 0 };
  return { id, path: "/v1/embeddings", body, ...rest };
}

interface BodyOptions {
  readonly text: string;
  readonly isStream: boolean;
  /** For what clients may add; nothing is added without it. */
  readonly random?: Random;
}

type PlannedBody = Pick<PlannedCall, "path" | "body" | "asksUsage">;

function chatBody(model: string, { text, isStream, random }: BodyOptions): PlannedBody {
  const asksUsage = isStream && (random?.chance(0.4) ?? false);
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: text }],
    ...(isStream ? { stream: true } : {}),
    ...(asksUsage ? { stream_options: { include_usage: true } } : {}),
    ...(random?.chance(0.2) ? { max_completion_tokens: 1 + random.int(30) } : {}),
    ...(random?.chance(0.1) ? { n: 2 } : {}),
  });
  return { path: "/v1/chat/completions", body, asksUsage };
}

function responsesBody(model: string, { text, isStream, random }: BodyOptions): PlannedBody {
  const cap = random?.chance(0.2) ? { max_output_tokens: 16 + random.int(30) } : {};
  const body = JSON.stringify({ model, input: text, ...(isStream ? { stream: true } : {}), ...cap });
  return { path: "/v1/responses", body, asksUsage: false };
}

/** Of one, two, three and four bytes a character, with what JSON escapes. */
const WORDS = ["plain", "größer", "日本語", "😀", 'a "quoted" word', "back\\slash", "line\nbreak", '"usage":{"no":1}'];

function filler(random: Random): string {
  return Array.from({ length: 1 + random.int(12) }, () => random.pick(WORDS)).join(" ");
}

/** What the emulator's model is told to do: docs/emulator.md. */
function directives(random: Random): string {
  const say = random.pick([
    `[[tokens ${1 + random.int(40)}]]`,
    `[[say ${filler(random)}]]`,
    '[[call lookup {"order":"A-1"}]]',
    '[[say data: [DONE] "usage":{"completion_tokens":9}]]',
  ]);
  return [
    say,
    ...(random.chance(0.3) ? [`[[cached ${random.int(20)}]]`] : []),
    ...(random.chance(0.2) ? [`[[reasoning ${random.int(50)}]]`] : []),
    ...(random.chance(0.5) ? [`[[chunk ${1 + random.int(8)}]]`] : []),
  ].join(" ");
}
