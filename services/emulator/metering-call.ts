import type { StruckFaults } from "./faults.ts";
import { badArgument, toBatchItem, toSingleAnswer, type HttpAnswer } from "./metering-answers.ts";
import { BATCH_MAX, findClash, readItems, refuseWhole } from "./metering-batch.ts";
import { parseUsageEvent } from "./metering-event.ts";
import { bookForeign, submitItem, type CallContext, type Verdict } from "./metering-store.ts";
import { distort, strikeItem, strikeResults } from "./metering-strikes.ts";
import type { World } from "./world.ts";

/** A POST of usage, its token checked and its JSON read. */
export interface UsageCall {
  readonly route: "usageEvent" | "batchUsageEvent";
  readonly body: unknown;
  readonly call: CallContext;
  readonly faults: StruckFaults;
}

/** Judges, books and answers a POST of usage, now or when a delayed one lands. */
export function answerUsage(world: World, usage: UsageCall): HttpAnswer {
  if (world.metering.bookedCount + BATCH_MAX > world.eventsMax) {
    world.log.error({ eventsMax: world.eventsMax }, "Refused usage as the emulator is full of booked events");
    return { status: 503, body: `The emulator keeps at most ${world.eventsMax} booked events: reset it` };
  }
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
  const whole = refuseWhole(world.metering, items, call);
  if (whole) return whole;
  const foreign = faults.find("ForeignWriter");
  if (foreign) bookForeign(world.metering, items[0], { quantity: foreign.quantity, call });
  const results = items.map((item, index) => answerItem(world, item, { before: items.slice(0, index), call, faults }));
  const result = strikeResults(results, faults);
  return { status: 200, body: { result, count: result.length } };
}

function answerItem(
  world: World,
  item: unknown,
  how: { readonly before: readonly unknown[]; readonly call: CallContext; readonly faults: StruckFaults },
): Record<string, unknown> {
  const { before, call, faults } = how;
  const struck = strikeItem(item, { call, faults });
  if (struck && !struck.booked) return struck.answer;
  const clash = findClash(before, item, call.switches);
  if (clash) {
    const { echo } = parseUsageEvent(item, call.switches.parsing);
    return toBatchItem({ status: "Refused", refusal: clash.refusal, echo }, call);
  }
  const verdict = submitItem(world.metering, item, call);
  logVerdict(world, verdict);
  return struck?.answer ?? toBatchItem(distort(verdict, faults), call);
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
