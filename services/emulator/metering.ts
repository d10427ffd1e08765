import { Router } from "@koa/router";
import type { Context, Middleware } from "koa";
import { z } from "zod";
import { bearerToken, dropConnection, readJson, toMiddleware, type Endpoint } from "./endpoint.ts";
import type { StruckFaults } from "./faults.ts";
import { badArgument, forbidden, type HttpAnswer } from "./metering-answers.ts";
import { answerUsage, landDelayed, refuse, type UsageCall } from "./metering-call.ts";
import { parseTime } from "./metering-event.ts";
import { listUsage, type ListQuery } from "./metering-list.ts";
import type { CallContext } from "./metering-store.ts";
import type { World } from "./world.ts";

/** The audience of every token for the metering API. */
export const METERING_AUDIENCE = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
const API_VERSION = "2018-08-31";
/** Ample for 25 events; what a fault delays is kept as it came. */
const BODY_BYTES_MAX = 256 * 1024;
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

interface Post {
  readonly route: UsageCall["route"];
  readonly call: CallContext;
  readonly faults: StruckFaults;
}

/** Of requests being answered: what they sent, and whose token it was. */
const bodies = new WeakMap<Context, unknown>();
const callers = new WeakMap<Context, string>();

type Answer = (context: Context, call: CallContext, faults: StruckFaults) => Promise<HttpAnswer> | HttpAnswer;

/** The Marketplace metering API under `/api`. Bodies and rules: docs/emulator.md. */
export function createMeteringRouter(world: World): Router {
  const router = new Router({ prefix: "/api" });
  router.use(noteExchanges(world));
  const at = (route: string, answer: Answer) => toMiddleware(world, meteringEndpoint(world, route, answer));
  for (const route of ["usageEvent", "batchUsageEvent"] as const)
    router.post(
      `/${route}`,
      at(route, (context, call, faults) => answerPost(world, context, { route, call, faults })),
    );
  router.get(
    "/usageEvents",
    at("usageEvents", (context, call) => answerList(world, context, call)),
  );
  return router;
}

/** Keeps request and answer for the control API. */
function noteExchanges(world: World): Middleware {
  return async (context, next) => {
    await next();
    const { response } = context;
    const isAnswered = context.respond !== false;
    world.exchanges.add({
      at: new Date(world.time.now()).toISOString(),
      method: context.method,
      url: context.url,
      requestId: response.get("x-ms-requestid"),
      callerClientId: callers.get(context),
      request: bodies.get(context),
      status: isAnswered ? context.status : 0,
      reason: response.get("x-emulator-reason") || undefined,
      answer: isAnswered ? context.body : undefined,
    });
  };
}

function meteringEndpoint(world: World, route: string, answer: Answer): Endpoint {
  return {
    standIn: "metering",
    route,
    // No body of a 429 or 5xx is documented: plain text, so that no client leans on one.
    faultBody: (status) => `Emulated status ${status}`,
    async answer(context, faults) {
      setRequestIds(world, context);
      // As any server's, it is the clock that judges: here the emulated one.
      context.set("date", new Date(world.time.now()).toUTCString());
      landDelayed(world);
      const { status, body } = await answerCaller(world, context, { answer, faults });
      if (context.respond === false) return;
      context.status = status;
      context.body = body;
    },
  };
}

/** Request ids are echoed; when both are absent both get the same new GUID, as recorded. */
function setRequestIds(world: World, context: Context): void {
  const made = world.newId();
  for (const header of ["x-ms-requestid", "x-ms-correlationid"]) {
    const sent = context.get(header);
    context.set(header, GUID.test(sent) ? sent : made);
  }
}

/** Token first, then the version of the API, then the rest. */
async function answerCaller(
  world: World,
  context: Context,
  how: { readonly answer: Answer; readonly faults: StruckFaults },
): Promise<HttpAnswer> {
  const caller = await checkToken(world, context);
  if (!caller.ok) {
    // The answer of Azure does not say why; the log and this header do.
    context.set("x-emulator-reason", caller.reason);
    world.log.warn({ reason: caller.reason }, "Refused metering token");
    const message = "The token is missing, invalid or expired.";
    return { status: world.switches.tokenRefusalStatus, body: forbidden(message) };
  }
  if (context.query["api-version"] !== API_VERSION)
    return refuse({ target: "api-version", message: `The api-version must be ${API_VERSION}.` });
  callers.set(context, caller.clientId);
  const limited = checkRate(world, context, caller.clientId);
  if (limited) return limited;
  const { switches, newId } = world;
  return how.answer(context, { callerClientId: caller.clientId, nowMs: world.time.now(), switches, newId }, how.faults);
}

type Caller = { readonly ok: true; readonly clientId: string } | { readonly ok: false; readonly reason: string };

async function checkToken(world: World, context: Context): Promise<Caller> {
  const token = bearerToken(context);
  if (token === undefined) return { ok: false, reason: "no bearer token" };
  // Tokens live in real time: their clients cache them by their own clocks, which know no offset.
  const checked = await world.keys.verify(token, { audience: METERING_AUDIENCE, nowMs: world.clock.now() });
  if (!checked.ok) return checked;
  const clientId = z
    .string()
    .min(1)
    .safeParse(checked.claims["appid"] ?? checked.claims["azp"]);
  return clientId.success ? { ok: true, clientId: clientId.data } : { ok: false, reason: "no appid claim" };
}

/** 429 for an identity that asks too often, by switch. */
function checkRate(world: World, context: Context, clientId: string): HttpAnswer | undefined {
  const { requestsPerMinuteMax, rateLimitRetryAfterSeconds } = world.switches;
  const isWithin = world.rate.take(clientId, world.clock.now()) <= requestsPerMinuteMax;
  if (isWithin || requestsPerMinuteMax === 0) return undefined;
  if (rateLimitRetryAfterSeconds > 0) context.set("retry-after", String(rateLimitRetryAfterSeconds));
  return { status: 429, body: "Emulated status 429" };
}

/** A POST of usage: answered, or held back when a fault delays it. */
async function answerPost(world: World, context: Context, { route, call, faults }: Post): Promise<HttpAnswer> {
  const body = await readJson(context, BODY_BYTES_MAX);
  if (!body.ok)
    return { status: body.status, body: badArgument("usageEventRequest", { target: "body", message: body.message }) };
  bodies.set(context, body.value);
  const delay = faults.find("DelayedRequest");
  if (!delay) {
    const answer = answerUsage(world, { route, body: body.value, call, faults });
    await world.keeper.saved();
    return answer;
  }
  const landsAt = new Date(call.nowMs + delay.afterSeconds * 1000).toISOString();
  const { callerClientId } = call;
  const held = world.delayed.hold({ id: world.newId(), route, callerClientId, landsAt, body: body.value });
  if (!held) world.log.warn({ route }, "Lost a delayed request as too many are on their way");
  await world.keeper.saved();
  dropConnection(context);
  return { status: 0, body: undefined };
}

function answerList(world: World, context: Context, call: CallContext): HttpAnswer {
  const query = readListQuery(context);
  if ("target" in query) return refuse(query);
  if (!call.switches.listAllowed) return { status: 403, body: forbidden("Client is not authorized for this call.") };
  return { status: 200, body: listUsage(world.metering, query, call) };
}

/** Names of query parameters are read in any case: documents write `usageStartDate` beside `UsageEndDate`. */
function readListQuery(context: Context): ListQuery | { readonly target: string; readonly message: string } {
  const given = new Map(Object.entries(context.query).map(([name, value]) => [name.toLowerCase(), String(value)]));
  const startMs = parseDay(given.get("usagestartdate"));
  if (startMs === undefined)
    return { target: "usageStartDate", message: "The usageStartDate is required and must be a date." };
  const endText = given.get("usageenddate");
  const endMs = parseDay(endText);
  if (endText !== undefined && endMs === undefined)
    return { target: "UsageEndDate", message: "The UsageEndDate must be a date." };
  const text = (name: string): string | undefined => given.get(name.toLowerCase());
  const filters = ["offerId", "planId", "dimension", "azureSubscriptionId", "reconStatus"].flatMap((name) => {
    const value = text(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  return { startMs, ...(endMs === undefined ? {} : { endMs }), ...Object.fromEntries(filters) };
}

function parseDay(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return parseTime(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text, "Lenient");
}
