import { z } from "zod";
import type { StruckFaults } from "./faults.ts";
import { badArgument, forbidden, toBatchItem, toSingleAnswer, type HttpAnswer } from "./metering-answers.ts";
import { bookForeign, judgeItem, submitItem, type CallContext, type Verdict } from "./metering-store.ts";
import { distort, strikeItem, strikeResults } from "./metering-strikes.ts";
import type { World } from "./world.ts";

const BATCH_MAX = 25;
const NOT_AUTHORIZED = "Client is not authorized for this usage resource.";

/** A POST of usage, its token checked and its JSON read. */
export interface UsageCall {
  readonly route: "usageEvent" | "batchUsageEvent";
  readonly body: unknown;
  readonly call: CallContext;
  readonly faults: StruckFaults;
}

/** Judges, books and answers a POST of usage, now or when a delayed one lands. */
export function answerUsage(world: World, usage: UsageCall): HttpAnswer {
  return usage.route === "usageEvent" ? answerSingle(world, usage) : answerBatch(world, usage);
}

/** Lands every delayed request whose time has come, each at its own instant, earliest first. */
export function landDelayed(world: World): void {
  for (const request of world.delayed.takeDue(world.time.now())) {
    const { id, route, body, callerClientId, landsAt } = request;
    const nowMs = Date.parse(landsAt);
    const call = { callerClientId, nowMs, switches: world.switches, newId: world.newId };
    const answer = answerUsage(world, { route, body, call, faults: { find: () => undefined } });
    world.delayed.noteLanded({ id, landedAt: landsAt, ...answer });
    world.log.info({ requestId: id, route, code: answer.status }, "Landed delayed request");
  }
}

function answerSingle(world: World, { body, call, faults }: UsageCall): HttpAnswer {
  const foreign = faults.find("ForeignWriter");
  if (foreign) bookForeign(world.metering, body, { quantity: foreign.quantity, call });
  const verdict = submitItem(world.metering, body, call);
  logVerdict(world, verdict);
  return toSingleAnswer(distort(verdict, faults), call);
}

function answerBatch(world: World, { body, call, faults }: UsageCall): HttpAnswer {
  const items = readItems(body, call.switches.parsing);
  if (!items)
    return refuse({ target: "request", message: `The request must be a list of 1 to ${BATCH_MAX} usage events.` });
  const whole = refuseWhole(world, items, call);
  if (whole) return whole;
  const foreign = faults.find("ForeignWriter");
  if (foreign) bookForeign(world.metering, items[0], { quantity: foreign.quantity, call });
  const results = items.map((item) => answerItem(world, item, { call, faults }));
  const result = strikeResults(results, faults);
  return { status: 200, body: { result, count: result.length } };
}

function answerItem(
  world: World,
  item: unknown,
  { call, faults }: { call: CallContext; faults: StruckFaults },
): Record<string, unknown> {
  const struck = strikeItem(item, { call, faults });
  if (struck && !struck.booked) return struck.answer;
  const verdict = submitItem(world.metering, item, call);
  logVerdict(world, verdict);
  return struck?.answer ?? toBatchItem(distort(verdict, faults), call);
}

/** What fails the whole batch by switch; nothing of it is booked then. */
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

/** A 400 in the envelope of the metering API. */
export function refuse(detail: { target: string; message: string }): HttpAnswer {
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
