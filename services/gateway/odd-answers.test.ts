import { createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GatewayConfig } from "#core/api/pod-config.ts";
import {
  chat,
  deployment,
  eventually,
  type GatewayWorld,
  type Peer,
  startGatewayWorld,
  startPeer,
} from "./test-world.ts";

const JSON_BODY = '{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}';
const USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}\n\n';
const DELTA = 'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n';
const HEAD = "HTTP/1.1 200 OK\r\n";
const AS_JSON = `${HEAD}content-type: application/json\r\n`;
const AS_STREAM = `${HEAD}content-type: text/event-stream\r\n`;
const CHUNKED = "transfer-encoding: chunked\r\n\r\n";
const COUNTED = { input_tokens: 2, output_tokens: 1, model_requests: 1 };

/** Writes as the row says; what it leaves open is the gateway's to close. */
type Speak = (socket: Socket) => void | Promise<void>;

const say =
  (...parts: readonly string[]): Speak =>
  (socket) =>
    void socket.write(parts.join(""));
const sayAndEnd =
  (...parts: readonly string[]): Speak =>
  (socket) =>
    void socket.end(parts.join(""));
const sized = (body: string, length = body.length): string => `content-length: ${length}\r\n\r\n${body}`;
const LARGE = `data: {"choices":[{"index":0,"delta":{"content":"${"x".repeat(1024 * 1024)}"}}]}\n\n`;

const drip: Speak = async (socket) => {
  socket.write(`${AS_STREAM}connection: close\r\n\r\n`);
  for (const byte of `${DELTA}${USAGE}data: [DONE]\n\n`) {
    socket.write(byte);
    await sleep(1);
  }
  socket.end();
};

interface Row {
  readonly name: string;
  readonly speaks: Speak;
  /** What the client gets of it; nothing where another deployment must answer. */
  readonly text?: string;
  readonly isStream?: boolean;
}

/** Nothing of these may reach the client: another deployment answers, and the connection is given up. */
const NO_ANSWER: readonly Row[] = [
  { name: "a head and nothing behind it", speaks: say(AS_JSON, sized("", 100)) },
  { name: "a length that is longer than the answer", speaks: sayAndEnd(AS_JSON, sized(JSON_BODY, 900)) },
  { name: "a length that is shorter than the answer", speaks: say(AS_JSON, sized(JSON_BODY, 20)) },
  { name: "an empty body", speaks: say(AS_JSON, sized("")) },
  { name: "nothing, as the connection ends", speaks: sayAndEnd(AS_JSON, "\r\n") },
  { name: "half a body, as the connection ends", speaks: sayAndEnd(AS_JSON, "\r\n", JSON_BODY.slice(0, 30)) },
  { name: "a page for people", speaks: say(HEAD, "content-type: text/html\r\n", sized("<html>Log in</html>")) },
  { name: "a page that ends as an object does", speaks: say(HEAD, "content-type: text/html\r\n", sized("<style>a{}")) },
  { name: "an object that says it is a page", speaks: say(HEAD, "content-type: text/html\r\n", sized(JSON_BODY)) },
  { name: "chunks that are none", speaks: say(AS_JSON, CHUNKED, "ZZZ\r\n{}\r\n") },
  { name: "a chunk longer than it says", speaks: say(AS_JSON, CHUNKED, "2\r\n{{{{{{}\r\n0\r\n\r\n") },
  { name: "two lengths", speaks: say(AS_JSON, "content-length: 2\r\n", sized(JSON_BODY)) },
  { name: "a length and chunks", speaks: say(AS_JSON, "transfer-encoding: chunked\r\n", sized("0\r\n\r\n")) },
  { name: "a head of 40 KiB", speaks: say(AS_JSON, `x-long: ${"y".repeat(40 * 1024)}\r\n`, sized(JSON_BODY)) },
  { name: "a status that is none", speaks: say("HTTP/1.1 2x0 OK\r\n", sized(JSON_BODY)) },
  { name: "another protocol", speaks: say("220 mail.example.com ESMTP\r\n") },
  { name: "a change of protocol", speaks: say("HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n") },
  {
    name: "leave to go on that nobody asked for",
    speaks: say("HTTP/1.1 100 Continue\r\n\r\n", AS_JSON, sized(JSON_BODY)),
  },
  { name: "early hints and then nothing", speaks: say("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n") },
  { name: "a redirect", speaks: say("HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:9/\r\n", sized("")) },
  { name: "gzip that nobody asked for", speaks: say(AS_JSON, "content-encoding: gzip\r\n", sized("zipped")) },
  { name: "a stream with no event", speaks: sayAndEnd(AS_STREAM, "\r\n"), isStream: true },
  { name: "a stream of half an event", speaks: sayAndEnd(AS_STREAM, "\r\n", DELTA.slice(0, 20)), isStream: true },
];

/** These are whole answers, however they come. */
const ANSWERS: readonly Row[] = [
  {
    name: "hints before the head",
    speaks: say("HTTP/1.1 103 Early Hints\r\n\r\n", AS_JSON, sized(JSON_BODY)),
    text: JSON_BODY,
  },
  {
    name: "the end of the connection as its end",
    speaks: sayAndEnd("HTTP/1.0 200 OK\r\n\r\n", JSON_BODY),
    text: JSON_BODY,
  },
  { name: "blanks behind it", speaks: say(AS_JSON, sized(`${JSON_BODY}\r\n `)), text: `${JSON_BODY}\r\n ` },
  {
    name: "a stream without its last empty line",
    speaks: sayAndEnd(AS_STREAM, "\r\n", DELTA, USAGE, "data: [DONE]"),
    text: `${DELTA}data: [DONE]`,
    isStream: true,
  },
  { name: "a stream, byte by byte", speaks: drip, text: `${DELTA}data: [DONE]\n\n`, isStream: true },
  {
    name: "an event of 1 MiB",
    speaks: sayAndEnd(AS_STREAM, "\r\n", LARGE, USAGE, "data: [DONE]\n\n"),
    text: `${LARGE}data: [DONE]\n\n`,
    isStream: true,
  },
];

/** Of an empty body, three pages, a redirect, gzip; of hints, blanks and two answers to come. */
const REUSABLE = 10;

let bare: Server;
let good: Peer;
let world: GatewayWorld;
/** What the next connection hears, and all connections so far. */
let speak: Speak = () => {};
const sockets: Socket[] = [];

/** Each row has an alias of its own, so that no row's breaker knows of another one. */
const aliases = new Map([...NO_ANSWER, ...ANSWERS].map(({ name }, at) => [name, `row-${at}`]));

function modelOf(name: string, url: string): GatewayConfig["models"][number] {
  return {
    name,
    outputTokensMax: 64,
    firstByteTimeoutMs: 700,
    deployments: [deployment("odd", { modelUrl: url }), { ...deployment("good", { modelUrl: good.url }), priority: 1 }],
  };
}

beforeAll(async () => {
  good = await startPeer((_, response, body) => {
    const isStream = body.includes('"stream":true');
    response.writeHead(200, { "content-type": isStream ? "text/event-stream" : "application/json" });
    response.end(isStream ? `${USAGE}data: [DONE]\n\n` : JSON_BODY);
  });
  bare = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", () => void speak(socket));
  });
  await new Promise<void>((resolve) => bare.listen(0, "127.0.0.1", resolve));
  const address = bare.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  const names = [...aliases.values(), "injected", "well"];
  world = await startGatewayWorld({ modelUrl: good.url, models: names.map((name) => modelOf(name, url)) });
});
afterAll(async () => {
  await world?.stop();
  await good?.stop();
  for (const socket of sockets) socket.destroy();
  bare?.close();
});

const ask = (alias: string, isStream = false): Promise<Response> =>
  world.post("/v1/chat/completions", { ...chat("x", { stream: isStream }), model: alias });
const deploymentOf = async (answer: Response): Promise<unknown> => {
  const id = answer.headers.get("x-request-id");
  return (await eventually(() => world.gateway.audit().find((line) => line["requestId"] === id)))["deployment"];
};

/** At most a fifth of all requests is tried again: these are the other ones. */
async function askWell(): Promise<void> {
  speak = say(AS_JSON, "connection: close\r\n", sized(JSON_BODY));
  for (let count = 0; count < 6; count += 1) expect((await ask("well")).status).toBe(200);
}

describe("an upstream that answers with", () => {
  beforeEach(askWell);

  it.each(NO_ANSWER)(
    "$name is left for another one, and nothing of it is counted",
    async ({ name, speaks, isStream }) => {
      speak = speaks;
      const added = await world.counted(async () => {
        const answer = await ask(aliases.get(name) ?? "", isStream);
        expect([answer.status, await answer.text()]).toEqual([200, isStream ? "data: [DONE]\n\n" : JSON_BODY]);
        expect(await deploymentOf(answer)).toBe("good");
      });
      expect(added).toEqual(COUNTED);
    },
  );

  it.each(ANSWERS)("$name is understood", async ({ name, speaks, text, isStream }) => {
    speak = speaks;
    const added = await world.counted(async () => {
      const answer = await ask(aliases.get(name) ?? "", isStream);
      expect([answer.status, await answer.text()]).toEqual([200, text]);
      expect(await deploymentOf(answer)).toBe("odd");
    });
    expect(added).toEqual(COUNTED);
  });

  it("a second answer behind the first never answers somebody else's question", async () => {
    const answerOf = (id: string): string => `${AS_JSON}${sized(`{"id":"${id}"}`)}`;
    speak = say(answerOf("first"), answerOf("injected"));
    expect(await (await ask("injected")).text()).toBe('{"id":"first"}');
    speak = say(answerOf("second"));
    expect(await (await ask("injected")).text()).toBe('{"id":"second"}');
  });

  it("all of it leaves no request, no hold and no connection behind that is not good for another request", async () => {
    const ready = await world.gateway.ready();
    expect([ready.status, world.gateway.child.exitCode]).toEqual([200, null]);
    await eventually(async () =>
      (await world.gateway.metrics()).includes("supercargo_gateway_in_flight_requests 0\n") ? true : undefined,
    );
    // One for each row whose answer had an end that both sides know; none that was given up.
    await eventually(() => (sockets.filter((socket) => !socket.destroyed).length <= REUSABLE ? true : undefined));
  });
});
