import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import Koa from "koa";
import { type ErrorCode, Refusal } from "#core/errors.ts";
import { act } from "./act.ts";
import { auditTurn, CLIENT_GONE, refused } from "./telemetry/audit.ts";
import { receiveBody, refuseUnreadBody } from "./wire/body.ts";
import { checkEntitlement } from "./entitle.ts";
import type { Gateway } from "./gateway.ts";
import { toRefusal, writeRefusal } from "./wire/refuse.ts";
import { allowedMethods, matchRoute } from "./wire/routes.ts";
import { endSpans } from "./telemetry/spans.ts";
import { openTurn, type Turn } from "./turn.ts";

/** One step on the way of a request; it adds to the turn or throws a Refusal. */
type Step = (gateway: Gateway, turn: Turn) => Promise<void> | void;

/** The order of all routes: nothing is read of a body before its sender is known and the agent may serve. */
const STEPS: readonly Step[] = [admit, findRoute, authenticate, entitle, takeBody, act];

/** Requests in flight at once; each may hold a body. */
const IN_FLIGHT_MAX = 512;
/** Refusals whose cause is ours to mend; the client is not told it. */
const LOGGED: ReadonlySet<ErrorCode> = new Set(["internal_error", "upstream_refused_credential"]);
/** Up to here an unread body is left to Node, which drops it and keeps the connection. */
const SMALL_BODY_BYTES = 64 * 1024;

/**
 * The gateway's public face. A Koa app, past which calls of models and agents go: its context and its watch of the response
 * cost a tenth of what such a call costs (docs/benchmarks.md).
 */
export function createHandler(gateway: Gateway): RequestListener {
  const others = createApp(gateway).callback();
  return (request, response) => {
    void (request.method === "POST" ? serve(gateway, request, response) : others(request, response));
  };
}

/** The steps own the response. */
function createApp(gateway: Gateway): Koa {
  const app = new Koa();
  app.silent = true;
  app.use(async (context) => {
    context.respond = false;
    await serve(gateway, context.req, context.res);
  });
  return app;
}

/**
 * One request from its head to its last byte. A plain loop: as a middleware of its own each step would cost a microsecond and
 * a promise, on a path that has a hundred of them.
 */
async function serve(gateway: Gateway, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const turn = openTurn(request, response, gateway);
  gateway.turns.add(turn);
  gateway.metrics.inFlight.inc();
  response.on("close", () => closeTurn(gateway, turn));
  try {
    for (const step of STEPS) {
      const waiting = step(gateway, turn);
      if (waiting !== undefined) await waiting;
    }
  } catch (error) {
    refuseTurn(gateway, turn, error);
  }
}

/** The connection has done with the request: whole or not, its books are closed. */
function closeTurn(gateway: Gateway, turn: Turn): void {
  if (!turn.response.writableFinished) turn.cutter.cut("client");
  gateway.turns.delete(turn);
  gateway.metrics.inFlight.dec();
  noteEnd(gateway, turn);
  if (turn.trace === undefined) return;
  turn.trace.isClosed = true;
  endSpans(gateway, turn);
}

function refuseTurn(gateway: Gateway, turn: Turn, error: unknown): void {
  if (turn.cutter.cutBy() === "client") {
    noteClientGone(gateway, turn);
    return;
  }
  const refusal = toRefusal(error);
  if (LOGGED.has(refusal.code)) gateway.log.error({ err: error, requestId: turn.requestId }, "Failed to answer");
  auditTurn(gateway, turn, refused(refusal));
  if (hasUnreadBody(turn)) {
    // Its place is free: strangers who send without end would else keep out everybody.
    gateway.turns.delete(turn);
    refuseUnreadBody(turn, refusal, gateway.clock);
  } else writeRefusal(turn.response, refusal, refusalHeaders(turn, refusal));
}

function admit(gateway: Gateway, { request }: Turn): void {
  if (gateway.isClosed) throw new Refusal("draining", "Cannot take the request as the pod is being replaced");
  if (gateway.turns.size > IN_FLIGHT_MAX)
    throw new Refusal("overloaded", `Cannot take the request as at most ${IN_FLIGHT_MAX} may be in flight`);
  // RFC 9112, 3.2.
  if (request.headers.host === undefined && request.httpVersionMinor > 0)
    throw new Refusal("invalid_value", "Cannot take the request as its header host must be set");
}

function findRoute(_: Gateway, turn: Turn): void {
  turn.route = matchRoute(turn.request.method ?? "", turn.request.url ?? "");
}

async function authenticate(gateway: Gateway, turn: Turn): Promise<void> {
  const snapshot = gateway.live.snapshot();
  const authenticator = gateway.live.authenticator();
  if (snapshot === undefined || authenticator === undefined)
    throw new Refusal("not_ready", "Cannot serve before a configuration has arrived");
  turn.snapshot = snapshot;
  turn.caller = await authenticator.authenticate(turn.request.headers, gateway.clock.now());
}

function entitle(gateway: Gateway, turn: Turn): void {
  const control = gateway.live.control();
  if (control) turn.planId = control.entitlement.planId;
  checkEntitlement(control, { kind: "other", nowMs: gateway.clock.now() });
  gateway.meter.check();
}

async function takeBody(gateway: Gateway, turn: Turn): Promise<void> {
  if (!turn.route?.hasBody) return;
  const startMs = gateway.clock.monotonic();
  turn.body = await receiveBody(turn.request, gateway.bodyLimitBytes);
  turn.waitedMs += gateway.clock.monotonic() - startMs;
}

function hasUnreadBody(turn: Turn): boolean {
  const { request } = turn;
  if (request.readableEnded || turn.response.headersSent) return false;
  if (request.headers["transfer-encoding"] !== undefined) return true;
  return Number(request.headers["content-length"] ?? 0) > SMALL_BODY_BYTES;
}

function refusalHeaders(turn: Turn, refusal: Refusal): Record<string, string> {
  const allow = refusal.code === "method_not_allowed" ? allowedMethods(turn.request.url ?? "") : undefined;
  return { "x-request-id": turn.requestId, ...turn.rateHeaders, ...(allow === undefined ? {} : { allow }) };
}

/** The client left before anything was sent: nothing to answer, but a decision had been taken. */
function noteClientGone(gateway: Gateway, turn: Turn): void {
  turn.outcome.cutBy = "client";
  gateway.metrics.streamsCut.inc({ side: "client" });
  auditTurn(gateway, turn, { status: CLIENT_GONE });
}

function noteEnd(gateway: Gateway, turn: Turn): void {
  const { metrics, clock } = gateway;
  const totalMs = clock.monotonic() - turn.startMs;
  const route = turn.route?.name ?? "unknown";
  const { statusCode } = turn.response;
  metrics.requests.inc({ route, code: `${Math.floor(statusCode / 100)}xx`, reason: reasonOf(turn) });
  metrics.overheadSeconds.observe(Math.max(0, totalMs - turn.waitedMs) / 1000);
  if (turn.model !== undefined)
    metrics.requestDuration.observe({ gen_ai_request_model: turn.model, gen_ai_operation_name: route }, totalMs / 1000);
}

function reasonOf(turn: Turn): string {
  if (turn.outcome.cutBy !== undefined) return `cut_by_${turn.outcome.cutBy}`;
  return turn.reason ?? (turn.response.statusCode < 400 ? "ok" : "upstream_status");
}
