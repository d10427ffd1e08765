import { z } from "zod";
import { badArgument, forbidden, type HttpAnswer } from "./metering-answers.ts";
import { parseUsageEvent } from "./metering-event.ts";
import { judgeItem, type CallContext, type MeteringState, type Refusal } from "./metering-store.ts";
import type { Switches } from "./switches.ts";

export const BATCH_MAX = 25;
const HOUR_MS = 3_600_000;
const NOT_AUTHORIZED = "Client is not authorized for this usage resource.";

/** The 1 to 25 items of a batch body, or nothing when it holds something else. */
export function readItems(body: unknown, parsing: Switches["parsing"]): readonly unknown[] | undefined {
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

/** What fails the whole batch by switch; nothing of it is booked then. */
export function refuseWhole(
  state: MeteringState,
  items: readonly unknown[],
  call: CallContext,
): HttpAnswer | undefined {
  const { switches } = call;
  for (const [index, item] of items.entries()) {
    const clash = findClash(items.slice(0, index), item, switches);
    if (clash?.refuses === "WholeCall") return { status: 400, body: badArgument("usageEventRequest", clash.refusal) };
    const verdict = judgeItem(state, item, call);
    if (verdict.status !== "Refused") continue;
    if (verdict.refusal.malformed && switches.malformedInBatch === "WholeCall")
      return { status: 400, body: badArgument("usageEventRequest", verdict.refusal) };
    if (verdict.refusal.status === "ResourceNotAuthorized" && switches.notOwnedInBatch === "WholeCall")
      return { status: 403, body: forbidden(NOT_AUTHORIZED) };
  }
  return undefined;
}

/** Whether a switch forbids an item beside those before it in one batch. */
export function findClash(
  before: readonly unknown[],
  item: unknown,
  switches: Switches,
): { readonly refuses: "Item" | "WholeCall"; readonly refusal: Refusal } | undefined {
  const place = placeOf(item, switches);
  if (!place) return undefined;
  const neighbours = before.map((one) => placeOf(one, switches)).filter((one) => one?.hour === place.hour);
  if (neighbours.length === 0) return undefined;
  const isSameSlot = neighbours.some((one) => one?.dimension === place.dimension);
  const refuses = isSameSlot ? switches.sameSlotInBatch : switches.sameHourInBatch;
  if (refuses === "Accepted" || refuses === "Duplicate") return undefined;
  const message = `Only one usage event per ${isSameSlot ? "dimension and hour" : "hour"} is allowed in a batch.`;
  return { refuses, refusal: { status: "BadArgument", target: "effectiveStartTime", message } };
}

function placeOf(item: unknown, switches: Switches): { readonly hour: string; readonly dimension: string } | undefined {
  const parsed = parseUsageEvent(item, switches.parsing);
  if (!parsed.ok) return undefined;
  const { resourceUri, effectiveMs, dimension } = parsed.event;
  return {
    hour: `${Math.floor(effectiveMs / HOUR_MS)} ${resourceUri.toLowerCase()}`,
    dimension: switches.dimensionIgnoresCase ? dimension.toLowerCase() : dimension,
  };
}
