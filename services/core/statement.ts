import { INSTALLATION, type Ledger, type Reservation, type Share } from "./api/usage-ledger.ts";
import type { Attempt, Outcome, Statement } from "./api/usage-statement.ts";
import { baseUnitsOf } from "./ledger.ts";
import type { PostAnswer, Verdict } from "./outcome.ts";
import type { Catalogue } from "./plan.ts";
import { parseHourKey, toIso } from "./time.ts";

const FIRST_ATTEMPTS = 3;
const LAST_ATTEMPTS = 5;
const COUNT_ATTEMPTS_MAX = 2_000_000_000;

/** R4: the statement of a reservation, before the first byte is sent. Its intent is never edited. */
export function toStatement(
  ledger: Ledger,
  reservation: Reservation & { readonly dimension: string },
  catalogue: Catalogue,
): Statement {
  const shares = reservation.shares ?? [ownerless(reservation)];
  return {
    intent: {
      offerResourceId: ledger.offerResourceId,
      hour: reservation.hour,
      effectiveStartTime: toIso(parseHourKey(reservation.hour)),
      dimension: reservation.dimension,
      planId: reservation.planId,
      quantity: reservation.quantity,
      unit: catalogue.dimensions.find((entry) => entry.id === reservation.dimension)?.unit ?? "unit",
      divisor: reservation.divisor,
      baseUnits: baseUnitsOf(reservation).toString(),
      agents: describeAgents(shares.map((share) => share.agent)),
      catalogueDigest: ledger.catalogueDigest,
      shares: [...shares],
    },
    state: "Planned",
    attempts: { count: 0, first: [], last: [] },
  };
}

/** The statement after one answer. The intent stays as it is; an outcome, once there, stays too. */
export function recordAnswer(
  statement: Statement,
  answer: PostAnswer,
  judged: { readonly verdict: Verdict; readonly nowMs: number },
): Statement {
  const attempt: Attempt = {
    at: toIso(judged.nowMs),
    requestId: answer.requestId.slice(0, 64),
    httpStatus: answer.httpStatus,
    status: answer.status.slice(0, 64),
    ...(answer.reasons.length > 0 ? { message: answer.reasons.join("; ").slice(0, 256) } : {}),
  };
  const { first, last, count } = statement.attempts;
  const attempts = {
    count: Math.min(count + 1, COUNT_ATTEMPTS_MAX),
    first: first.length < FIRST_ATTEMPTS ? [...first, attempt] : first,
    last: [...last, attempt].slice(-LAST_ATTEMPTS),
  };
  if (statement.outcome) return { ...statement, attempts };
  const { verdict } = judged;
  if (verdict.next !== "credit") return { ...statement, attempts, state: STATES[verdict.next] };
  return {
    ...statement,
    attempts,
    state: verdict.state,
    outcome: {
      state: verdict.state,
      acceptedQuantity: verdict.acceptedQuantity,
      acceptedBaseUnits: verdict.acceptedBaseUnits.toString(),
      adjustmentBaseUnits: (verdict.acceptedBaseUnits - BigInt(statement.intent.baseUnits)).toString(),
      ...(verdict.usageEventId === undefined ? {} : { usageEventId: verdict.usageEventId.slice(0, 128) }),
      ...(verdict.usageResourceId === undefined ? {} : { usageResourceId: verdict.usageResourceId.slice(0, 128) }),
      resolvedBy: "Answer",
      at: toIso(answer.dateMs ?? judged.nowMs),
    },
  };
}

/** How a slot ended that no answer closed. */
export interface Ending {
  readonly state: "Reconciled" | "Unknown" | "Dropped" | "Settled";
  readonly acceptedBaseUnits: bigint;
  readonly nowMs: number;
  /** Who decided, and why. */
  readonly note?: string;
}

const NOTES = {
  Reconciled: "Compared with Azure's list of the day; what it does not hold is carried to later hours",
  Unknown: "No answer, and Azure's list cannot be asked: assumed accepted, in the customer's favour",
  Dropped: "Compared with Azure's list of the day; what it does not hold is written off",
  Settled: "Settled by command",
} as const;

/** The statement of a slot that is closed without an answer. An outcome that is there already stays. */
export function recordEnding(statement: Statement, ending: Ending): Statement {
  if (statement.outcome) return statement;
  const outcome: Outcome = {
    state: ending.state,
    acceptedQuantity: toUnits(ending.acceptedBaseUnits, BigInt(statement.intent.divisor)),
    acceptedBaseUnits: ending.acceptedBaseUnits.toString(),
    adjustmentBaseUnits: (ending.acceptedBaseUnits - BigInt(statement.intent.baseUnits)).toString(),
    resolvedBy: ending.state === "Settled" ? "Command" : "Reconciliation",
    at: toIso(ending.nowMs),
    note: (ending.note ?? NOTES[ending.state]).slice(0, 512),
  };
  return { ...statement, state: ending.state, outcome };
}

/** Shares that are lost with a statement that somebody deleted: a receipt must add up all the same. */
function ownerless(reservation: Reservation): Share {
  return { agent: INSTALLATION, attributedHour: reservation.hour, baseUnits: baseUnitsOf(reservation).toString() };
}

const STATES = { retry: "Retrying", park: "Parked", expire: "Expired" } as const;

function describeAgents(agents: readonly string[]): string {
  const [first, ...rest] = agents;
  if (first === undefined) return "-";
  return rest.length === 0 ? first : `${first} +${rest.length}`;
}

/** Base units as decimal units, at most 18 digits behind the point, cut. */
export function toUnits(baseUnits: bigint, divisor: bigint): string {
  const digits = ((baseUnits % divisor) * 10n ** 18n) / divisor;
  const fraction = digits.toString().padStart(18, "0").replace(/0+$/, "");
  return `${baseUnits / divisor}${fraction === "" ? "" : `.${fraction}`}`;
}
