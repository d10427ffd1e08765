import type { Context, Middleware } from "koa";
import { BodyTooLargeError, readBody } from "#runtime/server.ts";
import type { StandIn, StruckFaults } from "./faults.ts";
import type { World } from "./world.ts";

/** One route of a stand-in. */
export interface Endpoint {
  readonly standIn: StandIn;
  /** One of the routes in faults.ts. */
  readonly route: string;
  /** The body of a status that a fault asks for, in the stand-in's own shape. */
  readonly faultBody: (status: number) => unknown;
  readonly answer: (context: Context, faults: StruckFaults) => Promise<void> | void;
}

/** Answers a route under its waiting faults, counts and logs it: route and status, no query, no body, no headers. */
export function toMiddleware(world: World, endpoint: Endpoint): Middleware {
  return async (context) => {
    const { standIn, route } = endpoint;
    const startMs = world.clock.monotonic();
    let status = 500;
    try {
      await answerUnderFaults(world, endpoint, context);
      status = context.req.socket.destroyed && !context.res.headersSent ? 0 : context.status;
    } finally {
      world.requests.add({ standIn, route, status });
      world.keeper.touch();
      const durationMs = Math.round(world.clock.monotonic() - startMs);
      world.log.info({ standIn, route, status, durationMs }, "Answered request");
    }
  };
}

async function answerUnderFaults(world: World, endpoint: Endpoint, context: Context): Promise<void> {
  const faults = world.faults.take({ ...endpoint, nowMs: world.time.now() });
  const latency = faults.find("Latency");
  if (latency && !(await sleepUnlessGone(world, context, latency.delayMs))) return;
  if (faults.find("DropRequest")) return dropConnection(context);
  const status = faults.find("Status");
  if (status) {
    context.status = status.status;
    if (status.retryAfterSeconds !== undefined) context.set("retry-after", String(status.retryAfterSeconds));
    context.body = endpoint.faultBody(status.status);
    return;
  }
  await endpoint.answer(context, faults);
  if (faults.find("DropAnswer")) return dropConnection(context);
  if (faults.find("TruncatedJson")) truncateBody(context);
  if (faults.find("CutAnswer")) cutAnswer(context);
}

/** Closes the connection without an answer: the client cannot know what was done. */
export function dropConnection(context: Context): void {
  context.respond = false;
  context.req.socket.destroy();
}

/** A signal that aborts when the client leaves before the answer ended. */
export function goneSignal(context: Context): AbortSignal {
  const gone = new AbortController();
  context.res.once("close", () => {
    if (!context.res.writableEnded) gone.abort(new Error("The client left"));
  });
  if (context.req.socket.destroyed) gone.abort(new Error("The client left"));
  return gone.signal;
}

export type BodyResult =
  | { readonly ok: true; readonly value: unknown; readonly bytes: number }
  | { readonly ok: false; readonly status: 400 | 413; readonly message: string };

/** The JSON body of a request of at most `limitBytes`. */
export async function readJson(context: Context, limitBytes: number): Promise<BodyResult> {
  try {
    const bytes = await readBody(context.req, limitBytes);
    return { ok: true, value: JSON.parse(bytes.toString("utf8")), bytes: bytes.length };
  } catch (error) {
    if (error instanceof BodyTooLargeError) {
      context.set("connection", "close");
      return { ok: false, status: 413, message: error.message };
    }
    if (error instanceof SyntaxError) return { ok: false, status: 400, message: "Cannot parse the body as JSON" };
    throw error;
  }
}

/** The token of `Authorization: Bearer …`, or nothing. */
export function bearerToken(context: Context): string | undefined {
  return /^Bearer\s+(\S+)$/i.exec(context.get("authorization"))?.[1];
}

async function sleepUnlessGone(world: World, context: Context, delayMs: number): Promise<boolean> {
  const signal = goneSignal(context);
  try {
    await world.clock.sleep(delayMs, signal);
    return true;
  } catch {
    context.respond = false;
    return false;
  }
}

/** Half of the body, well-formed as an answer. A stream has been sent by its stand-in and stays as it is. */
function truncateBody(context: Context): void {
  if (context.respond === false) return;
  const whole = JSON.stringify(context.body);
  context.body = whole.slice(0, Math.floor(whole.length / 2));
  context.type = "application/json";
}

/** Half of the body under the length of the whole, then the end of the connection. */
function cutAnswer(context: Context): void {
  if (context.respond === false) return;
  const whole = Buffer.from(typeof context.body === "string" ? context.body : JSON.stringify(context.body));
  context.respond = false;
  context.res.writeHead(context.status, { "content-type": "application/json", "content-length": whole.length });
  context.res.write(whole.subarray(0, Math.floor(whole.length / 2)), () => context.req.socket.destroy());
}
