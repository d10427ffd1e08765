import type { Echo } from "./metering-event.ts";
import type { BookedEvent, Refusal, Verdict } from "./metering-store.ts";
import type { Switches } from "./switches.ts";

/** What the answers of one call share. */
export interface AnswerContext {
  readonly nowMs: number;
  readonly switches: Switches;
}

/** HTTP status and JSON body of an answer. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** The answer to a single event. */
export function toSingleAnswer(verdict: Verdict, context: AnswerContext): HttpAnswer {
  if (verdict.status === "Accepted") return { status: 200, body: acceptedBody(verdict.booked, context) };
  if (verdict.status === "Duplicate") return { status: 409, body: conflict(verdict, context) };
  if (verdict.refusal.status === "ResourceNotAuthorized")
    return { status: 403, body: forbidden(verdict.refusal.message) };
  return { status: 400, body: badArgument("usageEventRequest", verdict.refusal) };
}

/** One item of a batch answer. Key order varies at Azure; clients must not lean on it. */
export function toBatchItem(verdict: Verdict, context: AnswerContext): Record<string, unknown> {
  const messageTime = formatMessageTime(context.nowMs);
  if (verdict.status === "Accepted") return acceptedBody(verdict.booked, context);
  if (verdict.status === "Duplicate") {
    const zero = context.switches.duplicateMessageTime === "Zero";
    const time = zero ? "0001-01-01T00:00:00" : messageTime;
    const error = conflict(verdict, context);
    return { status: "Duplicate", messageTime: time, error, ...echoOf(verdict.echo, context) };
  }
  const { refusal, resourceId, echo } = verdict;
  const id = resourceId !== undefined && context.switches.answersCarryResourceId ? { resourceId } : {};
  const isBare = context.switches.unconfirmedBodies === "Bare" && !CONFIRMED.has(refusal.status);
  const error = isBare ? {} : { error: badArgument("usageEventRequest", refusal) };
  return { status: refusal.status, messageTime, ...error, ...id, ...echoOf(echo, context) };
}

/** Refusals whose batch body was recorded. */
const CONFIRMED: ReadonlySet<string> = new Set(["Expired", "InvalidDimension", "ResourceNotFound"]);

function echoOf(echo: Echo, { switches }: AnswerContext): Echo {
  const { resourceUri } = echo;
  if (switches.answersUriCase === "AsSent" || typeof resourceUri !== "string") return echo;
  return { ...echo, resourceUri: resourceUri.toLowerCase() };
}

/** The envelope of every 400, and of `error` in a refused item. */
export function badArgument(target: string, detail: Pick<Refusal, "message" | "target">): Record<string, unknown> {
  return {
    message: "One or more errors have occurred.",
    target,
    details: [{ message: detail.message, target: detail.target, code: "BadArgument" }],
    code: "BadArgument",
  };
}

/** The body of a 403. */
export function forbidden(message: string): Record<string, unknown> {
  return { message, code: "Forbidden" };
}

/** A UTC time with up to seven fractional digits, trailing zeros cut, as Azure writes them. */
export function formatMessageTime(ms: number): string {
  const whole = new Date(ms).toISOString().slice(0, 19);
  const millis = ((Math.floor(ms) % 1000) + 1000) % 1000;
  // Our clock has no ticks of 100 ns: the last four digits are made of the time itself, so that clients meet all lengths.
  const ticks = String((Math.floor(ms / 1000) * 7919 + millis * 104_729) % 10_000).padStart(4, "0");
  const fraction = `${String(millis).padStart(3, "0")}${ticks}`.replace(/0+$/, "");
  return fraction === "" ? `${whole}Z` : `${whole}.${fraction}Z`;
}

function acceptedBody(booked: BookedEvent, context: AnswerContext): Record<string, unknown> {
  return eventBody(booked, "Accepted", context.switches);
}

function conflict(
  { booked, withoutMessage }: Extract<Verdict, { status: "Duplicate" }>,
  context: AnswerContext,
): Record<string, unknown> {
  const acceptedMessage = eventBody(booked, "Duplicate", context.switches);
  return {
    ...(withoutMessage ? {} : { additionalInfo: { acceptedMessage } }),
    message: "This usage event already exist.",
    code: "Conflict",
  };
}

function eventBody(booked: BookedEvent, status: string, switches: Switches): Record<string, unknown> {
  return {
    usageEventId: booked.usageEventId,
    status,
    messageTime: formatMessageTime(booked.bookedMs),
    ...(switches.answersCarryResourceId ? { resourceId: booked.resourceId } : {}),
    resourceUri: switches.answersUriCase === "Lower" ? booked.resourceUri.toLowerCase() : booked.resourceUri,
    quantity: booked.quantity,
    dimension: booked.dimension,
    effectiveStartTime: booked.effectiveStartTime,
    planId: booked.planId,
  };
}
