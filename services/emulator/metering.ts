import { Router } from "@koa/router";
import type { Context } from "koa";
import { z } from "zod";
import { bearerToken, readJson, toMiddleware, type Endpoint } from "./endpoint.ts";
import type { StruckFaults } from "./faults.ts";
import { badArgument, forbidden, toBatchItem, toSingleAnswer, type HttpAnswer } from "./metering-answers.ts";
import { parseTime } from "./metering-event.ts";
import { listUsage, type ListQuery } from "./metering-list.ts";
import { bookForeign, judgeItem, submitItem, type CallContext, type Verdict } from "./metering-store.ts";
import { meteringNow, type World } from "./world.ts";

/** The audience of every token for the metering API. */
export const METERING_AUDIENCE = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
const API_VERSION = "2018-08-31";
const BATCH_MAX = 25;
const BODY_BYTES_MAX = 1024 * 1024;
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NOT_AUTHORIZED = "Client is not authorized for this usage resource.";

type Answer = (context: Context, call: CallContext, faults: StruckFaults) => Promise<HttpAnswer> | HttpAnswer;

/** The Marketplace metering API under `/api`. Bodies and rules: docs/emulator.md. */
export function createMeteringRouter(world: World): Router {
  const router = new Router({ prefix: "/api" });
  const at = (route: string, answer: Answer) => toMiddleware(world, meteringEndpoint(world, route, answer));
  router.post(
    "/usageEvent",
    at("usageEvent", (context, call, faults) => answerSingle(world, context, { call, faults })),
  );
  router.post(
    "/batchUsageEvent",
    at("batchUsageEvent", (context, call, faults) => answerBatch(world, context, { call, faults })),
  );
  router.get(
    "/usageEvents",
    at("usageEvents", (context, call) => answerList(world, context, call)),
  );
  return router;
}

function meteringEndpoint(world: World, route: string, answer: Answer): Endpoint {
  return {
    standIn: "metering",
    route,
    // No body of a 429 or 5xx is documented: plain text, so that no client leans on one.
    faultBody: (status) => `Emulated status ${status}`,
    async answer(context, faults) {
      setRequestIds(world, context);
      const { status, body } = await answerCaller(world, context, { answer, faults });
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
  const { switches, newId } = world;
  return how.answer(
    context,
    { callerClientId: caller.clientId, nowMs: meteringNow(world), switches, newId },
    how.faults,
  );
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

interface Call {
  readonly call: CallContext;
  readonly faults: StruckFaults;
}

async function answerSingle(world: World, context: Context, { call, faults }: Call): Promise<HttpAnswer> {
  const body = await readJson(context, BODY_BYTES_MAX);
  if (!body.ok)
    return { status: body.status, body: badArgument("usageEventRequest", { target: "body", message: body.message }) };
  const foreign = faults.find("ForeignWriter");
  if (foreign) bookForeign(world.metering, body.value, { quantity: foreign.quantity, call });
  const verdict = submitItem(world.metering, body.value, call);
  logVerdict(world, verdict);
  return toSingleAnswer(verdict, call);
}

async function answerBatch(world: World, context: Context, { call, faults }: Call): Promise<HttpAnswer> {
  const body = await readJson(context, BODY_BYTES_MAX);
  if (!body.ok)
    return { status: body.status, body: badArgument("usageEventRequest", { target: "body", message: body.message }) };
  const items = readItems(body.value, world.switches.parsing);
  if (!items)
    return refuse({ target: "request", message: `The request must be a list of 1 to ${BATCH_MAX} usage events.` });
  const whole = refuseWhole(world, items, call);
  if (whole) return whole;
  const foreign = faults.find("ForeignWriter");
  if (foreign) bookForeign(world.metering, items[0], { quantity: foreign.quantity, call });
  const verdicts = items.map((item) => submitItem(world.metering, item, call));
  for (const verdict of verdicts) logVerdict(world, verdict);
  const result = strikeResults(
    verdicts.map((verdict) => toBatchItem(verdict, call)),
    faults,
  );
  return { status: 200, body: { result, count: result.length } };
}

function strikeResults<T>(results: readonly T[], faults: StruckFaults): readonly T[] {
  const missing = faults.find("MissingResults")?.missing ?? 0;
  const kept = results.slice(0, Math.max(0, results.length - missing));
  return faults.find("ShuffledResults") ? kept.toReversed() : kept;
}

/** Switches that let one item refuse the whole call; nothing is booked then. */
function refuseWhole(world: World, items: readonly unknown[], call: CallContext): HttpAnswer | undefined {
  for (const item of items) {
    const verdict = judgeItem(world.metering, item, call);
    if (verdict.status !== "Refused") continue;
    if (verdict.refusal.malformed && call.switches.malformedInBatch === "WholeCall")
      return { status: 400, body: badArgument("usageEventRequest", verdict.refusal) };
    if (verdict.refusal.status === "ResourceNotAuthorized" && call.switches.notOwnedInBatch === "WholeCall")
      return { status: 403, body: forbidden(NOT_AUTHORIZED) };
  }
  return undefined;
}

function readItems(body: unknown, parsing: "Strict" | "Lenient"): readonly unknown[] | undefined {
  const fields = z.record(z.string(), z.unknown()).safeParse(body);
  if (!fields.success) return undefined;
  const key = Object.keys(fields.data).find((name) => (parsing === "Strict" ? name : name.toLowerCase()) === "request");
  const items = z
    .array(z.unknown())
    .min(1)
    .max(BATCH_MAX)
    .safeParse(key === undefined ? undefined : fields.data[key]);
  return items.success ? items.data : undefined;
}

function answerList(world: World, context: Context, call: CallContext): HttpAnswer {
  const query = readListQuery(context);
  if ("target" in query) return refuse(query);
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

function refuse(detail: { target: string; message: string }): HttpAnswer {
  return { status: 400, body: badArgument("usageEventRequest", detail) };
}

function logVerdict(world: World, verdict: Verdict): void {
  if (verdict.status === "Refused") {
    const { status, target } = verdict.refusal;
    world.log.info({ code: status, target }, "Refused UsageEvent");
    return;
  }
  const { usageEventId, dimension, quantity, effectiveStartTime, planId } = verdict.booked;
  const message = verdict.status === "Accepted" ? "Booked UsageEvent" : "Found UsageEvent booked before";
  world.log.info({ usageEventId, dimension, quantity, effectiveStartTime, planId }, message);
}
