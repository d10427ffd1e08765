import { z } from "zod";
import type { Switches } from "./switches.ts";

/** One usage event whose shape is right; nothing is said yet about its resource, dimension or time. */
export interface UsageEvent {
  readonly resourceUri: string;
  readonly quantity: number;
  readonly dimension: string;
  /** As sent; answers echo it. */
  readonly effectiveStartTime: string;
  readonly effectiveMs: number;
  readonly planId: string;
}

/** The fields of a malformed item that answers can still echo. */
export type Echo = Readonly<Record<string, unknown>>;

export type ParsedEvent =
  | { readonly ok: true; readonly event: UsageEvent; readonly echo: Echo }
  | { readonly ok: false; readonly target: string; readonly message: string; readonly echo: Echo };

const FIELDS = ["resourceId", "resourceUri", "quantity", "dimension", "effectiveStartTime", "planId"] as const;
const TEXT_MAX = 1024;
const text = z.string().min(1).max(TEXT_MAX);
const STRICT_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,7})?Z$/;
/** A time without a zone, or with a blank for the T, as public clients send it; read as UTC. */
const LOOSE_TIME = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?)\s*(Z|[+-]\d{2}:?\d{2})?$/i;

/** Reads one item of a request. Checks shape only, in the order of the fields. */
export function parseUsageEvent(raw: unknown, parsing: Switches["parsing"]): ParsedEvent {
  const echo = pickFields(raw, parsing);
  const refuse = (target: string, message: string): ParsedEvent => ({ ok: false, target, message, echo });
  const resourceUri = text.safeParse(echo["resourceUri"]);
  if (!resourceUri.success) return refuse("ResourceUri", "The resourceUri is required.");
  if (echo["resourceId"] !== undefined)
    return refuse("ResourceUri", "Only one of resourceId and resourceUri is allowed.");
  const quantity = z.number().safeParse(echo["quantity"]);
  if (!quantity.success) return refuse("quantity", "The quantity is required and must be a number.");
  const dimension = text.safeParse(echo["dimension"]);
  if (!dimension.success) return refuse("dimension", "The dimension is required.");
  const effectiveStartTime = text.safeParse(echo["effectiveStartTime"]);
  const effectiveMs = effectiveStartTime.success ? parseTime(effectiveStartTime.data, parsing) : undefined;
  if (!effectiveStartTime.success || effectiveMs === undefined)
    return refuse("effectiveStartTime", "The effectiveStartTime is required and must be a UTC date and time.");
  const planId = text.safeParse(echo["planId"]);
  if (!planId.success) return refuse("planId", "The planId is required.");
  const event = {
    resourceUri: resourceUri.data,
    quantity: quantity.data,
    dimension: dimension.data,
    effectiveStartTime: effectiveStartTime.data,
    effectiveMs,
    planId: planId.data,
  };
  return { ok: true, event, echo };
}

/** An instant in ms since the epoch, or nothing when the text is no time in the given parsing. */
export function parseTime(value: string, parsing: Switches["parsing"]): number | undefined {
  const loose = LOOSE_TIME.exec(value);
  if (!loose || (parsing === "Strict" && !STRICT_TIME.test(value))) return undefined;
  const instant = Date.parse(`${loose[1]}T${loose[2]}${loose[3]?.toUpperCase() ?? "Z"}`);
  return Number.isFinite(instant) ? instant : undefined;
}

/** Known fields under their camelCase names; Lenient finds them in any case. */
function pickFields(raw: unknown, parsing: Switches["parsing"]): Echo {
  const picked: Record<string, unknown> = {};
  if (typeof raw !== "object" || raw === null) return picked;
  for (const [key, value] of Object.entries(raw)) {
    const name = FIELDS.find((field) => field === key || (parsing === "Lenient" && sameWord(field, key)));
    if (name && value !== null) picked[name] = value;
  }
  return picked;
}

function sameWord(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
