import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from "node:https";
import type { Socket } from "node:net";
import { Agent as HttpAgent, request as httpRequest } from "../node-http.ts";

/** Connections of one kind; watches hold theirs for minutes and must not starve calls. */
const SOCKETS_MAX = 32;
/** TCP keep-alive finds a peer that died without a word. */
const KEEP_ALIVE_MS = 30_000;
/** Larger than a page of 500 objects; a bound, not an aim. */
const BODY_BYTES_MAX = 256 * 1024 * 1024;

export interface ConnectionOptions {
  /** `https://host:port`; plain http only for tests and a local proxy. */
  readonly server: string;
  /** PEM; a function is asked again for each call, and a change closes the old connections. */
  readonly ca?: string | (() => string | undefined) | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Bearer token, asked for each call: the kubelet renews it. */
  readonly token?: (() => string | undefined) | undefined;
  readonly userAgent?: string;
}

export interface RequestSpec {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly contentType?: string;
  readonly body?: string;
}

export interface Connection {
  /** Sends one request; resolves when the head of the answer is here. Rejects when there is none. */
  send(spec: RequestSpec, signal: AbortSignal): Promise<IncomingMessage>;
  close(): void;
}

/** Requests over one pool of kept-alive HTTP/1.1 connections. */
export function openConnection(options: ConnectionOptions): Connection {
  const url = new URL(options.server);
  const secure = url.protocol === "https:";
  let ca = readCa(options);
  let agent = createAgent(secure);

  const refreshCa = (): void => {
    const next = readCa(options);
    if (next === ca) return;
    ca = next;
    agent.destroy();
    agent = createAgent(secure);
  };

  return {
    send(spec, signal) {
      refreshCa();
      const settings: RequestOptions = {
        method: spec.method,
        host: url.hostname,
        port: url.port === "" ? (secure ? 443 : 80) : url.port,
        path: spec.path,
        headers: headersOf(spec, options),
        agent,
        signal,
        ...(ca === undefined ? {} : { ca }),
        ...(options.cert === undefined ? {} : { cert: options.cert }),
        ...(options.key === undefined ? {} : { key: options.key }),
      };
      return exchange(secure ? httpsRequest(settings) : httpRequest(settings), spec.body);
    },
    close: () => agent.destroy(),
  };
}

/** Reads a whole answer as JSON; an empty or non-JSON body becomes its text. */
export async function readJson(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    size += bytes.length;
    if (size > BODY_BYTES_MAX) throw new Error(`Cannot read the answer as it must be at most ${BODY_BYTES_MAX} bytes`);
    chunks.push(bytes);
  }
  const text = Buffer.concat(chunks, size).toString("utf8");
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function createAgent(secure: boolean): Agent | HttpsAgent {
  const settings = { keepAlive: true, maxSockets: SOCKETS_MAX, keepAliveMsecs: KEEP_ALIVE_MS };
  return secure ? new HttpsAgent(settings) : new HttpAgent(settings);
}

function readCa(options: ConnectionOptions): string | undefined {
  return typeof options.ca === "function" ? options.ca() : options.ca;
}

function headersOf(spec: RequestSpec, options: ConnectionOptions): Record<string, string> {
  const token = options.token?.();
  return {
    // /openid/v1/jwks refuses plain JSON with 406.
    accept: "application/json, application/jwk-set+json",
    "user-agent": options.userAgent ?? "supercargo",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    // node:https sends a DELETE body without Content-Length, and the API server then ignores it: preconditions are lost.
    ...(spec.body === undefined
      ? {}
      : {
          "content-type": spec.contentType ?? "application/json",
          "content-length": String(Buffer.byteLength(spec.body)),
        }),
  };
}

function exchange(request: ClientRequest, body: string | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on("response", resolve);
    request.on("error", reject);
    request.on("socket", (socket: Socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
    request.end(body);
  });
}
