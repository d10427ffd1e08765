import type { Outcome } from "./api/usage-statement.ts";
import { COUNT_MAX } from "./ledger.ts";
import { HOUR_MS } from "./time.ts";
import { isInvalidUsageState } from "./usage-resource.ts";

/** The event that Azure says it holds; a foreign writer may have chosen quantity, plan and time. */
export interface AcceptedEvent {
  readonly quantity?: number | undefined;
  readonly usageEventId?: string | undefined;
  readonly resourceId?: string | undefined;
  readonly dimension?: string | undefined;
  readonly effectiveStartTime?: string | undefined;
}

/** One answer for one intent, as the adapter read it. `status` is Azure's word, or the adapter's where there was none. */
export interface PostAnswer extends AcceptedEvent {
  readonly requestId: string;
  /** 0: no answer came. */
  readonly httpStatus: number;
  readonly status: string;
  readonly acceptedMessage?: AcceptedEvent | undefined;
  /** `message (target)` of the error and its details. */
  readonly reasons: readonly string[];
  readonly retryAfterMs?: number | undefined;
  /** Azure's clock as it answered. */
  readonly dateMs?: number | undefined;
}

/** The part of an intent that judging an answer needs. */
export interface SentIntent {
  readonly dimension: string;
  readonly quantity: bigint;
  readonly divisor: bigint;
  readonly slotStartMs: number;
}

export type Alarm = "ForeignWriter" | "ClockFault" | "Refused" | "UnclearDuplicate";

export type Verdict =
  | {
      readonly next: "credit";
      readonly state: Outcome["state"];
      readonly acceptedQuantity: string;
      readonly acceptedBaseUnits: bigint;
      readonly usageEventId: string | undefined;
      readonly usageResourceId: string | undefined;
      readonly alarm?: Alarm;
    }
  | { readonly next: "retry"; readonly alarm?: Alarm }
  | { readonly next: "park"; readonly reason: string; readonly message: string }
  | { readonly next: "expire" };

export interface JudgedAt {
  readonly nowMs: number;
  /** A young resource is unknown to Azure for a while (marketplace.md §3.4). */
  readonly ledgerAgeMs: number;
}

const YOUNG_LEDGER_MS = 6 * HOUR_MS;
/** Azure refuses what is older than this; we believe it when our clock is within five minutes of the same opinion. */
const EXPIRED_MS = 24 * HOUR_MS - 5 * 60_000;

const PARKING = new Set(["InvalidDimension", "InvalidQuantity", "BadArgument", "ResourceNotFound"]);
const HOLDING = new Set(["ResourceNotActive", "ResourceNotAuthorized"]);

/**
 * R5: the outcome machine of docs/metering.md, what one answer means for its intent. A 400 is never success, a 409 never a
 * failure; whatever is not a definite answer is retried with the same intent.
 */
export function decideOutcome(intent: SentIntent, answer: PostAnswer, at: JudgedAt): Verdict {
  if (answer.reasons.some(isInvalidUsageState)) return { next: "retry", alarm: "Refused" };
  if (answer.status === "Accepted") return acceptedVerdict(intent, answer);
  if (answer.status === "Duplicate") return duplicateVerdict(intent, answer);
  if (answer.status === "Expired") return expiredVerdict(intent, at);
  if (isHeld(answer, at)) return { next: "retry", alarm: "Refused" };
  if (PARKING.has(answer.status))
    return { next: "park", reason: answer.status, message: answer.reasons.join("; ").slice(0, 512) };
  return { next: "retry" };
}

/** Refused now, owed all the same: suspended, identity not accepted, or a resource that Azure does not know yet. */
function isHeld(answer: PostAnswer, at: JudgedAt): boolean {
  const isYoung = answer.status === "ResourceNotFound" && at.ledgerAgeMs < YOUNG_LEDGER_MS;
  return isYoung || HOLDING.has(answer.status) || answer.httpStatus === 401 || answer.httpStatus === 403;
}

function acceptedVerdict(intent: SentIntent, answer: PostAnswer): Verdict {
  const quantity = answer.quantity === undefined ? intent.quantity.toString() : decimalText(answer.quantity);
  return {
    next: "credit",
    state: "Accepted",
    acceptedQuantity: quantity,
    acceptedBaseUnits: toBaseUnits(quantity, intent.divisor),
    usageEventId: answer.usageEventId,
    usageResourceId: answer.resourceId,
  };
}

function duplicateVerdict(intent: SentIntent, answer: PostAnswer): Verdict {
  const booked = answer.acceptedMessage;
  if (booked?.quantity === undefined || !isSameSlot(intent, booked))
    return { next: "retry", alarm: "UnclearDuplicate" };
  const quantity = decimalText(booked.quantity);
  const acceptedBaseUnits = toBaseUnits(quantity, intent.divisor);
  const same = quantity === intent.quantity.toString();
  return {
    next: "credit",
    state: same ? "DuplicateSame" : "DuplicateOther",
    acceptedQuantity: quantity,
    acceptedBaseUnits,
    usageEventId: booked.usageEventId,
    usageResourceId: booked.resourceId,
    ...(same ? {} : { alarm: "ForeignWriter" as const }),
  };
}

function expiredVerdict(intent: SentIntent, at: JudgedAt): Verdict {
  return at.nowMs - intent.slotStartMs >= EXPIRED_MS ? { next: "expire" } : { next: "retry", alarm: "ClockFault" };
}

/** Azure's slot is the calendar hour: the booked event may carry any minute of it. */
function isSameSlot(intent: SentIntent, booked: AcceptedEvent): boolean {
  if (booked.dimension !== undefined && booked.dimension.toLowerCase() !== intent.dimension.toLowerCase()) return false;
  if (booked.effectiveStartTime === undefined) return true;
  const offsetMs = Date.parse(booked.effectiveStartTime) - intent.slotStartMs;
  return offsetMs >= 0 && offsetMs < HOUR_MS;
}

/** A JSON number as plain decimal digits, as Azure wrote it: never in exponent form. Negative or broken is 0. */
export function decimalText(value: number): string {
  if (!Number.isFinite(value) || value <= 0) return "0";
  if (value >= 1e18) return BigInt(Math.round(value)).toString().slice(0, 40);
  const text = String(value);
  return text.includes("e") ? value.toFixed(20).replace(/\.?0+$/, "") || "0" : text;
}

/** Decimal units in base units, a fraction exactly and rounded up: in the customer's favour, for it is credited. */
export function toBaseUnits(quantity: string, divisor: bigint): bigint {
  const [whole = "0", fraction = ""] = quantity.split(".");
  const scale = 10n ** BigInt(fraction.length);
  const scaled = (BigInt(whole) * scale + BigInt(fraction || "0")) * divisor;
  const base = (scaled + scale - 1n) / scale;
  return base > COUNT_MAX ? COUNT_MAX : base;
}
