import fc from "fast-check";
import { API_KEY } from "../../../services/gateway/test-world.ts";
import { createArea } from "./area.ts";
import { JSON_ANSWER, modelAnswer } from "./model.ts";
import { type Answer, sendRaw } from "./raw.ts";
import { verdictOf } from "./shape.ts";
import { type FuzzWorld, UPSTREAM_MODEL } from "./world.ts";

/** A header as bytes; `isHarmless`: whoever sends it gets the same answer as without it. */
interface Header {
  readonly line: string;
  readonly isHarmless: boolean;
}

const TOKEN = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+-.^_`|~".split("");
const VISIBLE = Array.from({ length: 94 }, (_, index) => String.fromCharCode(0x21 + index));
const value = fc.oneof(
  fc.string({ unit: fc.constantFrom(...VISIBLE, " ", "\t"), maxLength: 60 }),
  fc.string({ unit: fc.constantFrom(...VISIBLE), minLength: 1_000, maxLength: 3_000 }),
);
/** Of names that nobody gives a meaning: they begin with x-z. */
const harmless = fc
  .tuple(fc.string({ unit: fc.constantFrom(...TOKEN), maxLength: 30 }), value)
  .map(([name, text]): Header => ({ line: `x-z${name}: ${text}`, isHarmless: true }));
const known = fc
  .tuple(
    fc.constantFrom(
      "user-agent",
      "accept",
      "x-request-id",
      "traceparent",
      "tracestate",
      "cookie",
      "x-supercargo-acting-for",
    ),
    value,
  )
  .map(([name, text]): Header => ({ line: `${name}: ${text}`, isHarmless: true }));
/** Stands for a request that has no host of its own. */
const NO_HOST = "x-without: host";
const pair = fc
  .constantFrom(
    `api-key: ${API_KEY}`,
    "api-key: other",
    `authorization: Bearer ${API_KEY}`,
    "authorization: Basic eDp5",
    "content-length: 0",
    "content-length: 5",
    "content-length: -1",
    "content-length: 99999999999999999999",
    "transfer-encoding: chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: xchunked",
    "content-encoding: gzip",
    "content-encoding: identity",
    "content-type: text/plain",
    "content-type: application/json; charset=utf-16",
    "expect: 100-continue",
    "expect: 200-ok",
    "connection: upgrade",
    "upgrade: websocket",
    "upgrade: h2c",
    "http2-settings: AAMAAABkAAQAAP__",
    "host: y",
    "host: a b",
    "te: trailers",
    NO_HOST,
    "trailer: x-end",
    "x-http-method-override: DELETE",
    "x-forwarded-for: 127.0.0.1",
    "forwarded: for=127.0.0.1",
    "range: bytes=0-1",
    "if-none-match: *",
    "idempotency-key: one",
  )
  .map((line): Header => ({ line, isHarmless: false }));
/** No header at all, by RFC 9110. */
const broken = fc
  .oneof(
    fc.string({ maxLength: 20 }),
    fc.string({ unit: "binary", maxLength: 20 }).map((text) => `x-binary: ${text}`),
    fc.constantFrom(
      " folded",
      "x-a : b",
      ": b",
      "x-b",
      "x-c: \0",
      "x-d: a\rb",
      "x-e: a\nx-f: b",
      "x-g: \u00e9\u00ff",
      "x-ä: b",
    ),
    fc.integer({ min: 20_000, max: 40_000 }).map((length) => `x-long: ${"l".repeat(length)}`),
  )
  .map((line): Header => ({ line, isHarmless: false }));

const cases = fc.oneof(
  { weight: 3, arbitrary: fc.array(fc.oneof(harmless, known), { maxLength: 8 }) },
  {
    weight: 3,
    arbitrary: fc.array(fc.oneof({ weight: 2, arbitrary: harmless }, pair), { minLength: 1, maxLength: 4 }),
  },
  fc.array(fc.oneof(harmless, broken), { minLength: 1, maxLength: 3 }),
  fc.array(harmless, { minLength: 60, maxLength: 150 }).map((headers) => headers.map(shorten)),
);

function shorten({ line, isHarmless }: Header): Header {
  return { line: line.slice(0, 60), isHarmless };
}

async function check(world: FuzzWorld, headers: readonly Header[]): Promise<string> {
  world.model.answer = (_, response, asked) => modelAnswer(response, asked);
  world.model.requests.length = 0;
  const body = JSON.stringify({ model: "gpt", messages: [] });
  const host = headers.some(({ line }) => line === NO_HOST) ? "x-a: b" : "host: x";
  const own = `${host}\r\napi-key: ${API_KEY}\r\ncontent-length: ${body.length}\r\nconnection: close`;
  const head = `POST /v1/chat/completions HTTP/1.1\r\n${own}\r\n${headers.map(({ line }) => `${line}\r\n`).join("")}\r\n`;
  // A head that announces more than comes leaves the gateway waiting, and rightly so.
  const mayWait = headers.some(({ line, isHarmless }) => !isHarmless && !line.startsWith("x-long"));
  const answer = await sendRaw(Buffer.from(head + body, "latin1"), { port: world.port, waitMs: mayWait ? 300 : 5_000 });
  if (answer.end === "none" && mayWait) return "waits";
  const isHarmless = headers.every((header) => header.isHarmless);
  const verdict = verdictOf(answer);
  if (isHarmless && verdict !== "ok") throw new Error(`Harmless headers came to ${verdict}`);
  if (verdict === "ok") checkPassed(world, answer);
  return verdict;
}

const UPSTREAM_HEADERS = new Set([
  "host",
  "connection",
  "content-length",
  "content-type",
  "accept",
  "accept-encoding",
  "x-request-id",
]);

/** The model's answer, and a request of ours: nothing that a client may write into its head goes on. */
function checkPassed({ model }: FuzzWorld, answer: Answer): void {
  if (answer.body.toString("utf8") !== JSON_ANSWER)
    throw new Error(`The answer became ${answer.body.toString("latin1")}`);
  const [asked, ...more] = model.requests;
  if (asked === undefined || more.length > 0) throw new Error(`The model was asked ${more.length + 1} times`);
  const strange = Object.keys(asked.headers).filter((name) => !UPSTREAM_HEADERS.has(name));
  if (strange.length > 0) throw new Error(`The model got ${strange.join(", ")}`);
  if (JSON.stringify(asked.headers).includes(API_KEY)) throw new Error("The model got the client's key");
  const id = asked.headers["x-request-id"];
  if (typeof id !== "string" || !/^[\w.-]{1,128}$/.test(id) || id !== answer.headers["x-request-id"])
    throw new Error(`The model got the id ${String(id)}, the client ${answer.headers["x-request-id"]}`);
  if (JSON.parse(asked.body).model !== UPSTREAM_MODEL) throw new Error(`The model got ${asked.body}`);
}

/** Heads: names, values, sizes, doubles, and what is no header. */
export const headers = createArea({ name: "headers", runs: 300 }, cases, check);
