import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type Dispatcher, Pool } from "undici";

/** The other processes of the gateway's bench: a model without thought, and a proxy without rules. */

const EVENTS = 21;
/** Between the events of a paced stream, and before its first one: about what models do. */
const PACE_MS = 20;
const FIRST_TOKEN_MS = 100;

const event = (text: string): string =>
  `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content: text }, finish_reason: null }] })}\n\n`;
const STREAM = Array.from({ length: EVENTS }, (_, index) => event(`word ${index} `));
const STREAM_USAGE = `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage: { prompt_tokens: 250, completion_tokens: 22, total_tokens: 272 } })}\n\n`;
const ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "word ".repeat(120) }, finish_reason: "stop" }],
  usage: { prompt_tokens: 250, completion_tokens: 120, total_tokens: 370, prompt_tokens_details: { cached_tokens: 0 } },
});

/**
 * A model that always says the same: about 900 bytes of JSON, or 23 events. `user` says how the events come: `burst` in one segment,
 * `paced` with pauses like a model's, else each as a segment of its own but without a pause.
 */
export function startModel(): void {
  listen((_, response, body) => {
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { "content-type": "application/json", "content-length": ANSWER.length });
      response.end(ANSWER);
      return;
    }
    const events = [...STREAM, ...(body.includes('"include_usage":true') ? [STREAM_USAGE] : []), "data: [DONE]\n\n"];
    const begin = (): void => void response.writeHead(200, { "content-type": "text/event-stream" });
    if (body.includes('"user":"paced"')) {
      setTimeout(() => {
        begin();
        sendOneByOne(response, events, PACE_MS);
      }, FIRST_TOKEN_MS);
      return;
    }
    begin();
    if (!body.includes('"user":"burst"')) {
      sendOneByOne(response, events);
      return;
    }
    for (const each of events) response.write(each);
    response.end();
  });
}

/** Each event as a segment of its own, as a model sends its tokens. */
function sendOneByOne(response: ServerResponse, events: string[], pauseMs?: number): void {
  const next = events.shift();
  if (next === undefined || response.destroyed) {
    response.end();
    return;
  }
  response.write(next, () => {
    if (pauseMs === undefined) setImmediate(sendOneByOne, response, events);
    else setTimeout(sendOneByOne, pauseMs, response, events, pauseMs);
  });
}

/** The least that a proxy can do: node:http in, undici dispatch out, every byte as it comes. The measure of all else. */
export function startRawProxy(modelUrl: string): void {
  const pool = new Pool(modelUrl, { connections: 256, pipelining: 1, allowH2: false, bodyTimeout: 0 });
  listen((request, response, body) => {
    pool.dispatch(
      { method: "POST", path: request.url ?? "/", headers: { "content-type": "application/json" }, body },
      passTo(response),
    );
  });
}

function passTo(response: ServerResponse): Dispatcher.DispatchHandler {
  return {
    onRequestStart: (controller) => {
      response.once("close", () => {
        if (!response.writableFinished) controller.abort(new Error("The client left"));
      });
    },
    onResponseStart: (_, status, headers) => {
      response.writeHead(status, { "content-type": String(headers["content-type"]) });
    },
    onResponseData: (_, chunk) => void response.write(chunk),
    onResponseEnd: () => void response.end(),
    onResponseError: () => void response.destroy(),
  };
}

/** Listens on the port that the environment names. */
function listen(answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void): void {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => answer(request, response, Buffer.concat(chunks)));
  });
  server.listen(Number(process.env["PORT"]), "127.0.0.1");
}
