import type { StruckFaults } from "./faults.ts";
import { badArgument, formatMessageTime } from "./metering-answers.ts";
import { parseUsageEvent } from "./metering-event.ts";
import type { CallContext, Verdict } from "./metering-store.ts";

const HOUR_MS = 3_600_000;

/** The answer that a fault forces on one item of a batch, and whether the item is booked all the same. */
export function strikeItem(
  item: unknown,
  { call, faults }: { readonly call: CallContext; readonly faults: StruckFaults },
): { readonly answer: Record<string, unknown>; readonly booked: boolean } | undefined {
  const fault = faults.find("ItemStatus");
  if (!fault) return undefined;
  const { echo } = parseUsageEvent(item, call.switches.parsing);
  if (fault.dimension !== undefined && fault.dimension !== echo["dimension"]) return undefined;
  const error = badArgument("usageEventRequest", { target: "usageEvent", message: "Emulated failure of one item." });
  const answer = { status: fault.itemStatus, messageTime: formatMessageTime(call.nowMs), error, ...echo };
  return { answer, booked: fault.booked };
}

/** A Duplicate as no client expects it. */
export function distort(verdict: Verdict, faults: StruckFaults): Verdict {
  const variant = faults.find("StrangeDuplicate")?.variant;
  if (verdict.status !== "Duplicate" || variant === undefined) return verdict;
  if (variant === "NoAcceptedMessage") return { ...verdict, withoutMessage: true };
  const { booked } = verdict;
  if (variant === "OtherDimension")
    return { ...verdict, booked: { ...booked, dimension: `${booked.dimension}_other` } };
  const effectiveMs = booked.effectiveMs - HOUR_MS;
  const effectiveStartTime = `${new Date(effectiveMs).toISOString().slice(0, 19)}Z`;
  return { ...verdict, booked: { ...booked, effectiveMs, effectiveStartTime } };
}

/** Results of a batch in another order, or with some left out. */
export function strikeResults<T>(results: readonly T[], faults: StruckFaults): readonly T[] {
  const missing = faults.find("MissingResults")?.missing ?? 0;
  const kept = results.slice(0, Math.max(0, results.length - missing));
  return faults.find("ShuffledResults") ? kept.toReversed() : kept;
}
