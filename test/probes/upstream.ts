import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** One request as the model's side saw it. Times are of `performance.now()`. */
export interface SeenRequest {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly atMs: number;
  /** Events that have been written for it. */
  sentEvents: number;
  /** When its connection closed before its answer had ended. */
  cutAtMs: number | undefined;
}

type Answer = (response: ServerResponse, seen: SeenRequest) => void | Promise<void>;

/** A model that does what a probe says, and remembers what it was asked. */
export interface ScriptedModel {
  readonly url: string;
  readonly requests: SeenRequest[];
  answer: Answer;
  stop(): Promise<void>;
}

const SSE = { "content-type": "text/event-stream" };

export const CHAT_ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
});

const RESPONSES_ANSWER = JSON.stringify({
  id: "resp_1",
  object: "response",
  created_at: 1,
  model: "m",
  status: "completed",
  output: [
    {
      id: "msg_1",
      type: "message",
      role: "assistant",
      status: "completed",
      content: [{ type: "output_text", text: "Hello", annotations: [] }],
    },
  ],
  usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 },
});

/** The first event of a stream of Responses. */
const RESPONSES_BEGUN =
  'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1,"model":"m","status":"in_progress","output":[]}}\n\n';

/** One token of text as a chat's event. */
export function deltaEvent(text: string): string {
  const choice = { index: 0, delta: { content: text }, finish_reason: null };
  const chunk = { id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [choice] };
  return `data: ${JSON.stringify(chunk)}\n\n`;
}

/** A whole answer of five tokens, in the form of the interface that was asked. */
export const answerWhole: Answer = (response, { url }) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(url.endsWith("/responses") ? RESPONSES_ANSWER : CHAT_ANSWER);
};

/** Begins a stream and dies. */
export const die: Answer = (response, { url }) => {
  response.writeHead(200, SSE);
  const begun = url.endsWith("/responses") ? RESPONSES_BEGUN : deltaEvent("Hel");
  response.write(begun, () => setImmediate(() => response.destroy()));
};

/** Sends events with a pause before each, until all are sent or its connection is closed. */
export async function sendEvents(
  response: ServerResponse,
  seen: SeenRequest,
  events: { readonly texts: readonly string[]; readonly pauseMs: number },
): Promise<void> {
  response.writeHead(200, SSE);
  for (const text of events.texts) {
    await sleep(events.pauseMs);
    if (response.destroyed) return;
    response.write(text);
    seen.sentEvents += 1;
  }
}

export async function startScriptedModel(): Promise<ScriptedModel> {
  const requests: SeenRequest[] = [];
  const server = createServer((request, response) => {
    void readBody(request).then(async (body) => {
      if (body === undefined) return;
      const seen: SeenRequest = {
        url: request.url ?? "",
        headers: request.headers,
        body,
        atMs: performance.now(),
        sentEvents: 0,
        cutAtMs: undefined,
      };
      response.on("close", () => {
        if (!response.writableFinished) seen.cutAtMs = performance.now();
      });
      requests.push(seen);
      await model.answer(response, seen);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const model: ScriptedModel = {
    url: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    requests,
    answer: answerWhole,
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return model;
}

/** Nothing when the connection closes first. */
function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
    request.on("close", () => resolve(undefined));
  });
}
