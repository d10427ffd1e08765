import type { Statement } from "./api/usage-statement.ts";
import type { Unreceipted } from "./unreceipted.ts";

/**
 * Receipts as rows for a spreadsheet. A receipt is one Event row, what Azure accepted, followed by the rows that it is made
 * of: a Share per agent, and an Adjustment where another quantity was accepted than was meant. In base units Share and
 * Adjustment rows sum to their Event row exactly; Event rows, and Unreceipted ones of a day where there are any, sum to the
 * invoice, dimension by dimension.
 */
const COLUMNS = [
  "kind",
  "hour",
  "dimension",
  "plan",
  "state",
  "quantity",
  "unit",
  "divisor",
  "base_units",
  "agent",
  "team",
  "attributed_hour",
  "usage_event_id",
  "resolved_by",
] as const;
type Row = Partial<Record<(typeof COLUMNS)[number], string>>;

const LINE_END = "\r\n";

/** The first line of the CSV. */
export const CSV_HEADER = `${COLUMNS.join(",")}${LINE_END}`;

/** The lines of one receipt (RFC 4180). */
export function toCsv(statement: Statement): string {
  return rowsOf(statement).map(toLine).join("");
}

/** The line of a day that holds more than its receipts. */
export function toUnreceiptedCsv({ dimension, day, divisor, quantity, baseUnits }: Unreceipted): string {
  return toLine({ kind: "Unreceipted", hour: day, dimension, quantity, divisor, base_units: baseUnits.toString() });
}

/** The same as JSON. */
export function toUnreceiptedJson({ baseUnits, ...rest }: Unreceipted): object {
  return { ...rest, base_units: baseUnits.toString() };
}

/** One receipt as JSON: the names of the CSV's columns where both have them; null while the slot is open. */
export function toExportJson(statement: Statement): object {
  const { intent } = statement;
  const found = { ...NO_OUTCOME, ...statement.outcome };
  return {
    ...commonOf(statement),
    quantity: found.acceptedQuantity,
    base_units: found.acceptedBaseUnits,
    adjustment_base_units: found.adjustmentBaseUnits,
    shares: intent.shares.map(toShareRow),
    intended_quantity: intent.quantity,
    usage_event_id: found.usageEventId,
    resolved_by: found.resolvedBy,
    note: found.note,
    catalogue_digest: intent.catalogueDigest,
  };
}

const NO_OUTCOME = {
  acceptedQuantity: null,
  acceptedBaseUnits: null,
  adjustmentBaseUnits: null,
  usageEventId: null,
  resolvedBy: null,
  note: null,
} as const;

/** What one dimension of a month comes to. */
export interface DimensionTotal {
  readonly dimension: string;
  readonly unit: string;
  /** Receipts with a quantity above zero. */
  readonly events: number;
  /** Units, exactly: the sum of the accepted events. */
  readonly quantity: string;
  readonly base_units: string;
  /** Receipts without an outcome yet. */
  readonly open: number;
}

/** The total of a receipt's dimension with the receipt added. */
export function addToTotals(totals: ReadonlyMap<string, DimensionTotal>, statement: Statement): DimensionTotal {
  const { intent, outcome } = statement;
  const before = totals.get(intent.dimension) ?? { events: 0, quantity: "0", base_units: "0", open: 0 };
  const next = { ...before, dimension: intent.dimension, unit: intent.unit };
  if (!outcome) return { ...next, open: before.open + 1 };
  return {
    ...next,
    events: before.events + (BigInt(outcome.acceptedBaseUnits) > 0n ? 1 : 0),
    quantity: addDecimals(before.quantity, outcome.acceptedQuantity),
    base_units: (BigInt(before.base_units) + BigInt(outcome.acceptedBaseUnits)).toString(),
  };
}

/** The total of a dimension with what no receipt tells added. */
export function addUnreceipted(totals: ReadonlyMap<string, DimensionTotal>, found: Unreceipted): DimensionTotal {
  const { dimension } = found;
  const none = { dimension, unit: "", events: 0, quantity: "0", base_units: "0", open: 0 };
  const before = totals.get(dimension) ?? none;
  return {
    ...before,
    quantity: addDecimals(before.quantity, found.quantity),
    base_units: (BigInt(before.base_units) + found.baseUnits).toString(),
  };
}

/** The sum of two plain decimals, exactly. */
export function addDecimals(a: string, b: string): string {
  const digits = Math.max(fractionOf(a).length, fractionOf(b).length);
  const sum = scale(a, digits) + scale(b, digits);
  const text = (sum < 0n ? -sum : sum).toString().padStart(digits + 1, "0");
  const fraction = text.slice(text.length - digits).replace(/0+$/, "");
  const whole = `${sum < 0n ? "-" : ""}${text.slice(0, text.length - digits)}`;
  return `${whole}${digits === 0 || fraction === "" ? "" : `.${fraction}`}`;
}

function rowsOf(statement: Statement): Row[] {
  const { intent, outcome } = statement;
  const common = commonOf(statement);
  if (!outcome) return [{ ...common, kind: "Event" }];
  const event: Row = {
    ...common,
    kind: "Event",
    quantity: outcome.acceptedQuantity,
    base_units: outcome.acceptedBaseUnits,
    usage_event_id: outcome.usageEventId ?? "",
    resolved_by: outcome.resolvedBy,
  };
  const shares = intent.shares.map((share): Row => ({ ...common, kind: "Share", ...toShareRow(share) }));
  const adjustment: Row = { ...common, kind: "Adjustment", base_units: outcome.adjustmentBaseUnits };
  return [event, ...shares, ...(outcome.adjustmentBaseUnits === "0" ? [] : [adjustment])];
}

function commonOf({ intent, state }: Statement): Row {
  const { hour, dimension, unit, divisor } = intent;
  return { hour, dimension, plan: intent.planId, state, unit, divisor };
}

function toShareRow(share: Statement["intent"]["shares"][number]): Row {
  return {
    agent: share.agent,
    ...(share.team === undefined ? {} : { team: share.team }),
    attributed_hour: share.attributedHour,
    base_units: share.baseUnits,
  };
}

function toLine(row: Row): string {
  return `${COLUMNS.map((column) => quote(row[column] ?? "")).join(",")}${LINE_END}`;
}

/** RFC 4180: a field with a comma, a quote or a line end is quoted, quotes are doubled. */
function quote(field: string): string {
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

function fractionOf(decimal: string): string {
  return decimal.split(".")[1] ?? "";
}

function scale(decimal: string, digits: number): bigint {
  return BigInt(`${decimal.split(".")[0] ?? "0"}${fractionOf(decimal).padEnd(digits, "0")}`);
}
