import { API_KEY, chat, type Peer } from "../../../services/gateway/test-world.ts";

/** A request to any route. */
export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly body?: string | object;
  readonly headers?: Record<string, string>;
}

export const CHAT: Ask = { path: "/v1/chat/completions", body: chat("Hello") };
export const RESPONSES: Ask = { path: "/v1/responses", body: { model: "gpt", input: "Hello" } };
export const AGENT_RUN: Ask = { path: "/v1/responses", body: { input: "Hello" } };
export const EMBEDDINGS: Ask = { path: "/v1/embeddings", body: { model: "gpt", input: "Hello" } };
export const STORED: readonly Ask[] = [
  { method: "GET", path: "/v1/responses/resp_1" },
  { method: "GET", path: "/v1/responses/resp_1/input_items" },
  { method: "DELETE", path: "/v1/responses/resp_1" },
  { path: "/v1/responses/resp_1/cancel", body: {} },
];
/** Routes by what they have in common. */
export const OF_MODELS = [CHAT, RESPONSES, EMBEDDINGS];
export const OF_AGENT = [AGENT_RUN, ...STORED];
export const BEGINNING = [...OF_MODELS, AGENT_RUN];
export const WITH_BODY = [...OF_MODELS, ...OF_AGENT].filter(({ body }) => body !== undefined);
export const ALL = [...OF_MODELS, ...OF_AGENT, { method: "GET", path: "/v1/models" }];

export const streamed = ({ path, body }: Ask): Ask => ({ path, body: { ...Object(body), stream: true } });
export const withHeaders = (asks: readonly Ask[], headers: Record<string, string>): Ask[] =>
  asks.map((ask) => ({ ...ask, headers: { ...ask.headers, ...headers } }));
export const bearer = (token: string): Record<string, string> => ({ "api-key": "", authorization: `Bearer ${token}` });

const JSON_TYPE = { "content-type": "application/json" };

/** With the good API key, unless the headers say otherwise. */
export function toInit({ method = "POST", body, headers }: Ask): RequestInit {
  return {
    method,
    headers: { "api-key": API_KEY, ...(body === undefined ? {} : JSON_TYPE), ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  };
}

const USAGE = { prompt_tokens: 4, completion_tokens: 6 };
const event = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
const isStream = (body: string): boolean => body.includes('"stream":true');
const typeOf = (body: string): Record<string, string> => ({
  "content-type": isStream(body) ? "text/event-stream" : "application/json",
});
const HELLO = event({ choices: [{ index: 0, delta: { content: "Hello" }, finish_reason: "stop" }] });
const COMPLETED = event({ type: "response.completed", response: { usage: { input_tokens: 4, output_tokens: 6 } } });

/** How upstreams answer: as each route's clients expect it. */
export const answerWell: Peer["answer"] = (_, response, body) => {
  response.writeHead(200, typeOf(body));
  if (isStream(body)) response.end(`${HELLO}${COMPLETED}${event({ choices: [], usage: USAGE })}data: [DONE]\n\n`);
  else response.end(JSON.stringify({ model: "gpt-5-mini", choices: [], usage: USAGE }));
};
export const answerWith =
  (status: number, body: object = { error: { message: "No" } }): Peer["answer"] =>
  (_, response) =>
    void response.writeHead(status, JSON_TYPE).end(JSON.stringify(body));
export const answerNothing: Peer["answer"] = () => undefined;
/** The beginning of an answer; what follows is the test's. A large one of JSON has reached the client in part. */
export const answerPart =
  (fill = ""): Peer["answer"] =>
  (_, response, body) => {
    response.writeHead(200, typeOf(body));
    response.write(isStream(body) ? HELLO : `{"choices":["${fill}`);
    if (fill !== "") response.write(fill);
  };
export const answerAndDie =
  (fill?: string): Peer["answer"] =>
  (request, response, body) => {
    answerPart(fill)(request, response, body);
    setTimeout(() => response.destroy(), 20);
  };
