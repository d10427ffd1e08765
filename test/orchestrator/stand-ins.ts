import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { z } from "zod";
import { ACTING_FOR_HEADER } from "#core/pod-paths.ts";
import { parseJson } from "./process.ts";

/** What a test may hold back or change on the way. */
export interface Hooks {
  /** Asked before a model call is passed on. */
  beforeModel: (call: number) => Promise<void> | void;
  /** Asked when a tool has done its work, before its answer goes back. */
  beforeToolAnswer: (name: string) => Promise<void> | void;
  /** Answered instead of the model. */
  modelRefusal: { status: number; body: unknown } | undefined;
}

export interface ModelCall {
  readonly headers: Record<string, unknown>;
  readonly body: Record<string, unknown>;
}

export interface ToolCall {
  readonly name: string;
  readonly key: string;
  readonly actingFor: string;
  readonly traceparent: string;
  /** `_meta` of the request, as far as it tells of a trace. */
  readonly meta: { readonly traceparent?: string | undefined; readonly tracestate?: string | undefined };
}

/** A server of a test on a free port. */
export interface Listening {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts a listener on a free port of the loopback address. */
export async function listen(handler: RequestListener): Promise<Listening> {
  const server: Server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Checks what the orchestrator must present, then lets the emulator's model answer. */
export function gatewayStandIn(parts: {
  /** Base of the emulator's model. */
  readonly modelUrl: string;
  readonly modelCalls: ModelCall[];
  readonly hooks: Hooks;
}): RequestListener {
  const { modelUrl, modelCalls, hooks } = parts;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = z.record(z.string(), z.unknown()).parse(JSON.parse(await readText(request)));
    const refusal = refusalOf(request, hooks);
    if (refusal) {
      response.writeHead(refusal.status, { "content-type": "application/json" });
      response.end(JSON.stringify(refusal.body));
      return;
    }
    modelCalls.push({ headers: { ...request.headers }, body });
    await hooks.beforeModel(modelCalls.length);
    const upstream = await fetch(`${modelUrl}${request.url}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer model-key" },
      body: JSON.stringify(body),
    });
    response.writeHead(upstream.status, { "content-type": upstream.headers.get("content-type") ?? "" });
    for await (const chunk of upstream.body ?? []) response.write(chunk);
    response.end();
  };
  return (request, response) => void answer(request, response).catch(() => response.destroy());
}

function refusalOf(request: IncomingMessage, hooks: Hooks): Hooks["modelRefusal"] {
  if (hooks.modelRefusal) return hooks.modelRefusal;
  const authorized = request.headers.authorization === "Bearer service-token" && request.headers[ACTING_FOR_HEADER];
  return authorized ? undefined : { status: 401, body: { error: { code: "invalid_token", message: "no token" } } };
}

const metaSchema = z.object({ traceparent: z.string().optional(), tracestate: z.string().optional() });
const toolCallSchema = z.object({
  method: z.literal("tools/call"),
  params: z.object({ name: z.string(), _meta: metaSchema.default({}) }),
});

/** The sample's server, watched: an answer to a tool call is held until the hook lets it go. */
export function toolsServer(
  next: RequestListener,
  { toolCalls, hooks }: { readonly toolCalls: ToolCall[]; readonly hooks: Hooks },
): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    const push = request.emit.bind(request);
    let name = "";
    request.emit = (event: string, ...values: unknown[]): boolean => {
      const [chunk] = values;
      if (event === "data" && Buffer.isBuffer(chunk)) chunks.push(chunk);
      const call = event === "end" ? toolCallSchema.safeParse(parseJson(Buffer.concat(chunks).toString())) : undefined;
      if (call?.success) {
        const { _meta: meta } = call.data.params;
        ({ name } = call.data.params);
        const header = (key: string): string => String(request.headers[key] ?? "");
        const traceparent = header("traceparent");
        toolCalls.push({
          name,
          key: header("idempotency-key"),
          actingFor: header(ACTING_FOR_HEADER),
          traceparent,
          meta,
        });
      }
      return push(event, ...values);
    };
    const end = response.end.bind(response);
    response.end = (...values: unknown[]): ServerResponse => {
      const [chunk] = values;
      const finish = (): void => void (typeof chunk === "string" || chunk instanceof Uint8Array ? end(chunk) : end());
      if (name === "") finish();
      else void Promise.resolve(hooks.beforeToolAnswer(name)).then(finish);
      return response;
    };
    next(request, response);
  };
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}
