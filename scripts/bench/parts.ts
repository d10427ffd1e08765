import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type Dispatcher, Pool } from "undici";

/** The other processes of the gateway's bench: a model without thought, a proxy without rules, a client. */

const EVENTS = 22;
const event = (text: string): string =>
  `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: { content: text }, finish_reason: null }] })}\n\n`;
const STREAM = Array.from({ length: EVENTS }, (_, index) => event(`word ${index} `));
const STREAM_USAGE = `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", choices: [], usage: { prompt_tokens: 250, completion_tokens: 22 } })}\n\n`;
const ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: "word ".repeat(120) }, finish_reason: "stop" }],
  usage: { prompt_tokens: 250, completion_tokens: 120, total_tokens: 370, prompt_tokens_details: { cached_tokens: 0 } },
});

/** A model that always says the same: about 900 bytes of JSON, or 23 events back to back. */
export function startModel(): void {
  listen((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      if (!body.includes('"stream":true')) {
        response.writeHead(200, { "content-type": "application/json", "content-length": ANSWER.length });
        response.end(ANSWER);
        return;
      }
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const each of STREAM) response.write(each);
      if (body.includes('"include_usage":true')) response.write(STREAM_USAGE);
      response.end("data: [DONE]\n\n");
    });
  });
}

/** The least that a proxy can do: node:http in, undici dispatch out, every byte as it comes. The measure of all else. */
export function startRawProxy(modelUrl: string): void {
  const pool = new Pool(modelUrl, { connections: 256, pipelining: 1, allowH2: false, bodyTimeout: 0 });
  listen((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      pool.dispatch(
        {
          method: "POST",
          path: request.url ?? "/",
          headers: { "content-type": "application/json" },
          body: Buffer.concat(chunks),
        },
        passTo(response),
      );
    });
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

export interface LoadOptions {
  readonly url: string;
  readonly apiKey: string;
  readonly connections: number;
  readonly durationMs: number;
  readonly stream: boolean;
}

export interface LoadResult {
  readonly requests: number;
  readonly failures: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Sends one request after the other on each connection for a while. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const pool = new Pool(options.url, { connections: options.connections, pipelining: 1 });
  const body = JSON.stringify({
    model: "bench",
    messages: [{ role: "user", content: "a prompt of about one kilobyte ".repeat(32) }],
    ...(options.stream ? { stream: true } : {}),
  });
  const headers = { "content-type": "application/json", authorization: `Bearer ${options.apiKey}` };
  const times: number[] = [];
  let failures = 0;
  const untilMs = performance.now() + options.durationMs;
  const worker = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      const startMs = performance.now();
      const answer = await pool.request({ method: "POST", path: "/v1/chat/completions", headers, body });
      const text = await answer.body.text();
      if (answer.statusCode === 200 && text.length > 500) times.push(performance.now() - startMs);
      else failures += 1;
    }
  };
  await Promise.all(Array.from({ length: options.connections }, worker));
  await pool.close();
  times.sort((a, b) => a - b);
  const at = (share: number): number => Number((times[Math.floor(times.length * share)] ?? 0).toFixed(3));
  return { requests: times.length, failures, p50Ms: at(0.5), p99Ms: at(0.99) };
}

function listen(handler: (request: IncomingMessage, response: ServerResponse) => void): void {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    console.log(JSON.stringify({ port: typeof address === "object" && address ? address.port : 0 }));
  });
}
