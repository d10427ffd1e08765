import type { IncomingMessage, RequestListener, Server } from "node:http";
import type { Socket } from "node:net";
import { getBuiltinModule } from "node:process";
import type { Clock } from "./clock.ts";
import { createServer } from "./node-http.ts";

export interface ServerOptions {
  /** For Koa: `app.callback()`. */
  readonly handler: RequestListener;
  readonly port: number;
  /** @default "0.0.0.0" */
  readonly host?: string;
  /** Longer than the idle time of a load balancer in front, or it reuses a connection we just closed. @default 75000 */
  readonly keepAliveTimeoutMs?: number;
  /** Time for a whole request to arrive; 0 for none (long uploads are bounded by their own route). @default 60000 */
  readonly requestTimeoutMs?: number;
  /** A connection on which nothing moves for so long is closed, whatever it waits for; 0 for never. @default 0 */
  readonly silentMs?: number;
  /** Node itself answers 400 without a body to a request without `host`; false: the handler sees to it. @default true */
  readonly requiresHost?: boolean;
  /** Connections at once; at the limit those that ask nothing are closed, to make room. @default 2048 */
  readonly connectionsMax?: number;
  /** HTTPS with this certificate and key, both PEM. @default plain HTTP */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly clock: Clock;
}

/** Each costs some ten kilobytes. */
const CONNECTIONS_MAX = 2_048;

export interface RunningServer {
  readonly port: number;
  readonly url: string;
  readonly server: Server;
  /** Stops listening, lets requests in flight end for `deadlineMs`, then closes what is left. Resolves when closed. */
  stop(deadlineMs: number): Promise<void>;
}

/** Listens and resolves with the real port (0 asks for a free one). Rejects with a clear error when it cannot listen. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const host = options.host ?? "0.0.0.0";
  const { tls, handler } = options;
  const settings = { maxHeaderSize: 32 * 1024, requireHostHeader: options.requiresHost !== false };
  const server = tls
    ? getBuiltinModule("node:https").createServer({ ...settings, ...tls }, handler)
    : createServer(settings, handler);
  server.keepAliveTimeout = options.keepAliveTimeoutMs ?? 75_000;
  server.headersTimeout = server.keepAliveTimeout + 1_000;
  server.requestTimeout = options.requestTimeoutMs ?? 60_000;
  server.timeout = options.silentMs ?? 0;
  boundConnections(server, options);
  await listen(server, { port: options.port, host });
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : options.port;
  return {
    port,
    url: `${tls ? "https" : "http"}://${host === "0.0.0.0" ? "127.0.0.1" : host}:${port}`,
    server,
    stop: (deadlineMs) => stopServer(server, deadlineMs, options.clock),
  };
}

/** A request body that is larger than allowed; `limitBytes` says what is. */
export class BodyTooLargeError extends Error {
  readonly limitBytes: number;
  constructor(limitBytes: number) {
    super(`Cannot accept the request body as it must be at most ${limitBytes} bytes`);
    this.name = "BodyTooLargeError";
    this.limitBytes = limitBytes;
  }
}

/** Reads a whole body of at most `limitBytes`. Throws BodyTooLargeError, by `content-length` before a byte is read. */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > limitBytes) throw new BodyTooLargeError(limitBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    size += bytes.length;
    if (size > limitBytes) throw new BodyTooLargeError(limitBytes);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks, size);
}

function listen(server: Server, address: { port: number; host: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(new Error(`Cannot listen on ${address.host}:${address.port}`, { cause: error })),
    );
    server.listen(address, () => resolve());
  });
}

/** Who comes at the limit is turned away, and finds room when he comes again: strangers who only connect keep nobody out. */
function boundConnections(server: Server, { connectionsMax = CONNECTIONS_MAX }: ServerOptions): void {
  /** Those that have not sent the head of a request, oldest first. */
  const silent = new Set<Socket>();
  server.maxConnections = connectionsMax;
  server.on("connection", (socket: Socket) => {
    silent.add(socket);
    socket.once("close", () => silent.delete(socket));
  });
  server.on("request", ({ socket }) => silent.delete(socket));
  server.on("drop", () => {
    server.closeIdleConnections();
    let left = Math.ceil(silent.size / 2);
    for (const socket of silent) {
      if (left === 0) return;
      left -= 1;
      socket.destroy();
    }
  });
}

function stopServer(server: Server, deadlineMs: number, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(deadlineMs, () => server.closeAllConnections());
    server.close(() => {
      cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}
