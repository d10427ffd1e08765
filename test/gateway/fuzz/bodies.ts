import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { createArea } from "./area.ts";
import { expectedCodes, isForAgent, type Json, readStrictly } from "./body-oracle.ts";
import { modelAnswer } from "./model.ts";
import { verdictOf } from "./shape.ts";
import { type FuzzWorld, OUTPUT_TOKENS_MAX, UPSTREAM_MODEL } from "./world.ts";

type Operation = "chat/completions" | "responses" | "embeddings";

interface BodyCase {
  readonly operation: Operation;
  readonly body: Buffer;
}

const number = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.constantFrom(-1, 0, 1, 128, 129, 4096, 1e6, 2 ** 53, 1e15, 9e15, 1e300),
);
const field = fc.oneof({ weight: 4, arbitrary: number }, fc.boolean(), fc.constant(null), fc.string(), fc.jsonValue());
/** One field in a dozen is odd: a request with more than one oddity tells less. */
const mostly = <T>(good: fc.Arbitrary<T>, odd: fc.Arbitrary<unknown> = field): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 14, arbitrary: good }, odd);
const cap = mostly(fc.integer({ min: 1, max: 4096 }));
const messages = fc.array(
  fc.record({ role: fc.constantFrom("user", "system", "tool", "x"), content: fc.oneof(fc.string(), fc.jsonValue()) }),
  { maxLength: 4 },
);
/** What a client may send, and what it had better not. */
const request = fc.tuple(
  fc.record(
    {
      model: mostly(fc.constant("gpt"), fc.oneof(fc.string(), field)),
      messages: mostly(messages, fc.jsonValue()),
      input: fc.jsonValue(),
      stream: mostly(fc.boolean()),
      stream_options: mostly(fc.record({ include_usage: fc.boolean() }), fc.jsonValue()),
      background: mostly(fc.constant(false)),
      n: mostly(fc.integer({ min: 1, max: 8 })),
      max_tokens: cap,
      max_completion_tokens: cap,
      max_output_tokens: cap,
      metadata: mostly(
        fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 }),
        fc.dictionary(fc.constantFrom("prompt", "image_url", "model", "n"), fc.jsonValue()),
      ),
    },
    { requiredKeys: ["model"] },
  ),
  fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 }),
  fc.constantFrom(0, 1, "\t\r\n "),
);
const text = request.map(([known, others, space]) => JSON.stringify({ ...others, ...known }, undefined, space));

/** A text with a hostile piece of it spliced in behind the opening brace. */
const spliced = fc
  .tuple(
    text,
    fc.oneof(
      fc.integer({ min: 1, max: 400 }).map((depth) => `"deep":${"[".repeat(depth)}${"]".repeat(depth)},`),
      fc.integer({ min: 1, max: 400 }).map((depth) => `"deep":${'{"a":'.repeat(depth)}1${"}".repeat(depth)},`),
      fc.constantFrom(
        '"max_tokens":1e999,',
        '"max_tokens":-0,',
        '"n":1e0,',
        '"n":123456789012345678901234567890,',
        '"seed":0.1e-400,',
        '"seed":01,',
        '"seed":+1,',
        '"seed":.5,',
        '"seed":NaN,',
        '"model":"other",',
        '"mod\\u0065l":"other",',
        '"stream":true,"stream":false,',
        '"a":1,"a":{"a":2},',
        '"__proto__":{"model":"gpt"},',
        '"constructor":null,',
        '"\\ud800":"\\udc00",',
        "'a':1,",
        "/* no */",
        ",",
      ),
    ),
  )
  .map(([whole, piece]) => Buffer.from(`{${piece}${whole.slice(1)}`));

/** Bytes that are no UTF-8, or no JSON outside of a string. */
const piece = fc.oneof(
  fc
    .constantFrom("\ufeff", "\u0000", '"', "{", "}", "[", "\\", "\\u12", "\u2028", "é", "😀", " ", "\u000b")
    .map((each) => Buffer.from(each)),
  fc.constantFrom("ff", "fffe", "c080", "eda080", "e282", "f8888080", "80").map((hex) => Buffer.from(hex, "hex")),
  fc.uint8Array({ minLength: 1, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
);
const mutated = fc
  .tuple(text, fc.nat(), fc.nat({ max: 8 }), fc.oneof(piece, fc.constant(Buffer.alloc(0))))
  .map(([whole, place, dropped, added]) => {
    const bytes = Buffer.from(whole);
    const at = place % (bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + dropped)]);
  });
const truncated = fc.tuple(text, fc.nat()).map(([whole, at]) => Buffer.from(whole).subarray(0, at % whole.length));

const cases: fc.Arbitrary<BodyCase> = fc.record({
  operation: fc.constantFrom<Operation>("chat/completions", "responses", "embeddings"),
  body: fc.oneof(
    { weight: 4, arbitrary: text.map((each) => Buffer.from(each)) },
    { weight: 4, arbitrary: mutated },
    { weight: 3, arbitrary: spliced },
    truncated,
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.constantFrom("", "null", "[]", '"x"', "1", "{}", "{}{}", "{} ", " {}").map((each) => Buffer.from(each)),
  ),
});

/** JSON.parse is the judge: what it reads reaches the model as it was, what it does not read reaches nobody. */
async function check(world: FuzzWorld, { operation, body }: BodyCase): Promise<string> {
  world.model.answer = (_, response, asked) => modelAnswer(response, asked);
  world.model.requests.length = 0;
  const answer = await world.send({ path: `/v1/${operation}`, body });
  const verdict = verdictOf(answer);
  const read = readStrictly(body);
  const allowed = expectedCodes(operation, read);
  if (!allowed.includes(verdict)) throw new Error(`It came to ${verdict}, right is ${allowed.join(" or ")}`);
  const asked = world.model.requests.at(-1);
  if (verdict !== "ok") {
    if (asked) throw new Error(`A refused request (${verdict}) has reached the model`);
    return verdict;
  }
  // The agent's own face: its body passes as it is.
  if (read.ok && isForAgent(operation, read.value)) return "ok";
  if (!read.ok || !asked) throw new Error("Nothing has reached the model");
  checkForwarded(operation, { sent: read.value, came: JSON.parse(asked.body) });
  return "ok";
}

/** What is set for the client, and nothing else, differs from what it sent. */
function checkForwarded(operation: Operation, { sent, came }: { readonly sent: Json; readonly came: Json }): void {
  const expected: Record<string, unknown> = { ...sent, model: UPSTREAM_MODEL };
  const isAbsent = (name: string): boolean => sent[name] === undefined || sent[name] === null;
  if (operation === "chat/completions" && isAbsent("max_completion_tokens") && isAbsent("max_tokens"))
    expected["max_completion_tokens"] = OUTPUT_TOKENS_MAX;
  if (operation === "responses" && isAbsent("max_output_tokens")) expected["max_output_tokens"] = OUTPUT_TOKENS_MAX;
  if (operation === "chat/completions" && sent["stream"] === true)
    expected["stream_options"] = { ...Object(sent["stream_options"]), include_usage: true };
  if (!isDeepStrictEqual(came, expected))
    throw new Error(`The model got ${JSON.stringify(came)}, right is ${JSON.stringify(expected)}`);
}

/** Bodies: valid, odd, mutated, cut off, deep, of other bytes than UTF-8. */
export const bodies = createArea({ name: "bodies", runs: 500 }, cases, check);
