import fc from "fast-check";
import { API_KEY } from "../../../services/gateway/test-world.ts";
import { createArea } from "./area.ts";
import { JSON_ANSWER, modelAnswer } from "./model.ts";
import { type Answer, sendRaw } from "./raw.ts";
import { verdictOf } from "./shape.ts";
import type { FuzzWorld } from "./world.ts";

interface PathCase {
  readonly method: string;
  readonly target: string;
  readonly query: string;
}

const segment = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      "v1",
      "chat",
      "completions",
      "responses",
      "embeddings",
      "models",
      "cancel",
      "input_items",
    ),
  },
  fc.constantFrom(
    "",
    ".",
    "..",
    "%2e%2e",
    "%2f",
    "%00",
    "V1",
    "resp_1",
    "resp-2",
    "metrics",
    "livez",
    "admin",
    "*",
    "a;b=c",
  ),
  fc.string({ unit: fc.constantFrom(..."abcXYZ019-_~!$&'()*+,=:@%|^`{}<>\"\\[]".split("")), maxLength: 140 }),
  // As bytes: no client may send them, and servers see them.
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }).map((text) => text.replace(/[\s?#\p{Cc}]/gu, "x")),
);
const known = fc.constantFrom(
  "/v1/chat/completions",
  "/v1/responses",
  "/v1/embeddings",
  "/v1/models",
  "/v1/responses/resp_1",
  "/v1/responses/resp_1/input_items",
  "/v1/responses/resp_1/cancel",
);
const target = fc.oneof(
  { weight: 3, arbitrary: known },
  { weight: 3, arbitrary: fc.array(segment, { maxLength: 6 }).map((segments) => `/${segments.join("/")}`) },
  fc.tuple(known, segment).map(([path, more]) => `${path}${more}`),
  fc.constantFrom(
    "*",
    "http://other/v1/models",
    "//v1/models",
    "/v1//models",
    "/v1/models/",
    "/./v1/models",
    "v1/models",
  ),
);
const query = fc.oneof(
  { weight: 3, arbitrary: fc.constant("") },
  fc.constantFrom("?", "??", "?a=b&a=c", "?stream=true", "?/../../metrics", "?include[]=x", "?a=%zz", "#x"),
  fc.string({ unit: fc.constantFrom(..."ab=&%?/#0".split("")), maxLength: 2_000 }).map((text) => `?${text}`),
);
const cases: fc.Arbitrary<PathCase> = fc.record({
  // CONNECT is for tunnels: Node ends such a connection before there is a request.
  method: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom("GET", "POST") },
    fc.constantFrom(
      "DELETE",
      "PUT",
      "PATCH",
      "HEAD",
      "OPTIONS",
      "TRACE",
      "PROPFIND",
      "PURGE",
      "QUERY",
      "get",
      "FOO",
      "G T",
    ),
  ),
  target,
  query,
});

/** The routes, as docs/gateway.md lists them. */
const ROUTES: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^\/v1\/(chat\/completions|responses|embeddings)$/, ["POST"]],
  [/^\/v1\/models$/, ["GET"]],
  [/^\/v1\/responses\/[\w-]{1,128}$/, ["GET", "DELETE"]],
  [/^\/v1\/responses\/[\w-]{1,128}\/input_items$/, ["GET"]],
  [/^\/v1\/responses\/[\w-]{1,128}\/cancel$/, ["POST"]],
];

async function check(world: FuzzWorld, one: PathCase): Promise<string> {
  world.model.answer = (_, response, asked) => modelAnswer(response, asked);
  world.gateway.orchestrator.requests.length = 0;
  const body = JSON.stringify({ model: "gpt", messages: [] });
  const own = `host: x\r\napi-key: ${API_KEY}\r\ncontent-type: application/json\r\nconnection: close`;
  const head = `${one.method} ${one.target}${one.query} HTTP/1.1\r\n${own}\r\ncontent-length: ${body.length}\r\n\r\n`;
  const isHead = one.method === "HEAD";
  const answer = await sendRaw(Buffer.from(head + body), { port: world.port, isHead });
  const methods = ROUTES.find(([pattern]) => pattern.test(`${one.target}${one.query}`.split("?", 1)[0] ?? ""))?.[1];
  return isHead ? checkHead(answer, methods !== undefined) : checkWhole(world, one, { answer, methods });
}

function checkHead(answer: Answer, isPath: boolean): string {
  // 400: no HTTP.
  if (![isPath ? 405 : 404, 400].includes(answer.status)) throw new Error(`HEAD came to ${answer.status}`);
  return String(answer.status);
}

function checkWhole(
  world: FuzzWorld,
  { method, target: path, query: rest }: PathCase,
  { answer, methods }: { readonly answer: Answer; readonly methods: readonly string[] | undefined },
): string {
  const verdict = verdictOf(answer);
  const isRoute = methods?.includes(method) ?? false;
  const right = isRoute ? ["ok"] : refusalsOf(methods);
  if (!right.includes(verdict)) throw new Error(`It came to ${verdict}, right is ${right.join(" or ")}`);
  if (verdict === "ok") checkAnswer(path, answer.body.toString("utf8"));
  const asked = world.gateway.orchestrator.requests.at(-1)?.url;
  const isStored = isRoute && path.startsWith("/v1/responses/");
  if (asked !== (isStored ? `${path}${rest}` : undefined)) throw new Error(`The orchestrator was asked ${asked}`);
  return verdict;
}

/** A line that is no HTTP never becomes a request. */
function refusalsOf(methods: readonly string[] | undefined): readonly string[] {
  return [methods ? "method_not_allowed" : "not_found", "invalid_value"];
}

function checkAnswer(path: string, text: string): void {
  const isModel = /^\/v1\/(chat\/completions|responses|embeddings)$/.test(path);
  if (isModel && text !== JSON_ANSWER) throw new Error(`The model's answer became ${text}`);
  if (path === "/v1/models" && !text.includes('"id":"gpt"')) throw new Error(`The list of models became ${text}`);
}

/** Request lines: methods, paths and queries, as bytes. */
export const paths = createArea({ name: "paths", runs: 400 }, cases, check);
