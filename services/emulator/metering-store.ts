import { parseUsageEvent, type Echo, type UsageEvent } from "./metering-event.ts";
import type { Switches } from "./switches.ts";

type ResourceState = "PendingActivation" | "Active" | "Suspended" | "Deleted";

/** One extension instance as the Marketplace knows it. */
export interface Resource {
  readonly resourceUri: string;
  /** The GUID that answers carry and that the list names; a re-created resource gets a new one. */
  readonly resourceId: string;
  /** The identity that owns it: the only one that may send its usage. */
  readonly ownerClientId: string;
  readonly offerId: string;
  readonly state: ResourceState;
  /** When it was created again under a URI that was known before, in ms of the emulator's clock. */
  readonly recreatedMs?: number;
  /** The plan bought; events of a plan never bought are refused. Absent: any plan of the offer. */
  readonly planId?: string | undefined;
  /** Plans bought before, and until when. */
  readonly formerPlans?: readonly { readonly planId: string; readonly untilMs: number }[];
  readonly plans: readonly { readonly planId: string; readonly dimensions: readonly string[] }[];
}

/** An event that is booked: what the customer pays. */
export interface BookedEvent extends UsageEvent {
  readonly usageEventId: string;
  readonly resourceId: string;
  readonly offerId: string;
  readonly bookedMs: number;
  /** The client id that booked it, or `foreign` for the writer of a fault. */
  readonly writer: string;
}

/** All that the metering API remembers: plain values, so that `structuredClone` is a snapshot. */
export interface MeteringState {
  /** By lower-cased URI. */
  readonly resources: Map<string, Resource>;
  /** By lower-cased URI and UTC hour; a slot is searched inside. */
  readonly hours: Map<string, BookedEvent[]>;
  /** By usageEventId: the sum of the quantities refused because its slot was taken. */
  readonly repeated: Map<string, number>;
  /** How many events are booked. */
  bookedCount: number;
}

/** The call around an item: who, when, and by which switches. */
export interface CallContext {
  readonly callerClientId: string;
  readonly nowMs: number;
  readonly switches: Switches;
  readonly newId: () => string;
}

type RefusalStatus =
  | "Expired"
  | "InvalidDimension"
  | "InvalidQuantity"
  | "ResourceNotFound"
  | "ResourceNotActive"
  | "ResourceNotAuthorized"
  | "BadArgument"
  | "Error";

/** Why an item is not booked; `target` and `message` stand in the answer. */
export interface Refusal {
  readonly status: RefusalStatus;
  readonly target: string;
  readonly message: string;
  /** Refused by its shape alone. */
  readonly malformed?: true;
}

export type Verdict =
  | { readonly status: "Accepted"; readonly booked: BookedEvent; readonly echo: Echo }
  | {
      readonly status: "Duplicate";
      readonly booked: BookedEvent;
      readonly echo: Echo;
      /** A fault keeps back what is booked. */
      readonly withoutMessage?: true;
    }
  | { readonly status: "Refused"; readonly refusal: Refusal; readonly echo: Echo; readonly resourceId?: string };

const HOUR_MS = 3_600_000;
const WINDOW_MS = 24 * HOUR_MS;
const TIME_TEXT = "The effective time provided is has expired or is in future.";
const RESOURCE_TEXT = "The resourceId value provided cannot be found or this resource is not active.";

export function createMeteringState(): MeteringState {
  return { resources: new Map(), hours: new Map(), repeated: new Map(), bookedCount: 0 };
}

export function findResource(state: MeteringState, resourceUri: string): Resource | undefined {
  return state.resources.get(resourceUri.toLowerCase());
}

export function putResource(state: MeteringState, resource: Resource): void {
  state.resources.set(resource.resourceUri.toLowerCase(), resource);
}

/** Every booked event, oldest hour first within a resource. */
export function listBooked(state: MeteringState): BookedEvent[] {
  return [...state.hours.values()].flat();
}

/** Judges one raw item without booking it. The order of checks is ours: no document fixes it. */
export function judgeItem(state: MeteringState, raw: unknown, call: CallContext): Verdict {
  const parsed = parseUsageEvent(raw, call.switches.parsing);
  if (!parsed.ok) {
    const refusal = { status: "BadArgument", target: parsed.target, message: parsed.message, malformed: true } as const;
    return { status: "Refused", refusal, echo: parsed.echo };
  }
  const { event, echo } = parsed;
  const resource = findResource(state, event.resourceUri);
  if (!resource || !isSameUri(resource, event, call.switches))
    return { status: "Refused", refusal: refuse("ResourceNotFound", "resourceId", RESOURCE_TEXT), echo };
  const taken = findSlot(state, event, call.switches);
  const late = taken && call.switches.afterExpiry === "Duplicate" ? undefined : checkTime(event, call);
  const refusal = firstRefusal({ late, rest: checkRest(event, resource, call) }, call.switches);
  if (refusal) return { status: "Refused", refusal, echo, resourceId: resource.resourceId };
  if (taken) return { status: "Duplicate", booked: taken, echo };
  return { status: "Accepted", booked: toBooked(event, resource, call), echo };
}

/** Judges one raw item and books it when it is accepted. */
export function submitItem(state: MeteringState, raw: unknown, call: CallContext): Verdict {
  const verdict = judgeItem(state, raw, call);
  if (verdict.status === "Accepted") book(state, verdict.booked);
  if (verdict.status === "Duplicate") noteRepeat(state, verdict);
  return verdict;
}

/** Books another writer's quantity into the slot of a raw item, if that slot exists and is free. */
export function bookForeign(
  state: MeteringState,
  raw: unknown,
  foreign: { quantity: number; call: CallContext },
): void {
  const verdict = judgeItem(state, raw, foreign.call);
  if (verdict.status === "Accepted") book(state, { ...verdict.booked, quantity: foreign.quantity, writer: "foreign" });
}

/** Puts an event into its slot, unasked. */
export function book(state: MeteringState, event: BookedEvent): void {
  state.bookedCount += 1;
  const key = hourKey(event);
  const hour = state.hours.get(key);
  if (hour) hour.push(event);
  else state.hours.set(key, [event]);
}

function noteRepeat(state: MeteringState, { booked, echo }: Extract<Verdict, { status: "Duplicate" }>): void {
  const { usageEventId } = booked;
  state.repeated.set(usageEventId, (state.repeated.get(usageEventId) ?? 0) + Number(echo["quantity"]));
}

function firstRefusal(
  { late, rest }: { readonly late: Refusal | undefined; readonly rest: Refusal | undefined },
  { checkOrder }: Switches,
): Refusal | undefined {
  return checkOrder === "TimeFirst" ? (late ?? rest) : (rest ?? late);
}

/** The first refusal of what has nothing to do with time. */
function checkRest(event: UsageEvent, resource: Resource, call: CallContext): Refusal | undefined {
  return (
    checkOwner(resource, call) ??
    checkState(resource, call) ??
    checkDimension(event, resource, call) ??
    checkQuantity(event, call)
  );
}

function checkOwner(resource: Resource, call: CallContext): Refusal | undefined {
  if (resource.ownerClientId.toLowerCase() === call.callerClientId.toLowerCase()) return undefined;
  return refuse("ResourceNotAuthorized", "resourceUri", "Client is not authorized for this usage resource.");
}

function checkState(resource: Resource, call: CallContext): Refusal | undefined {
  if (resource.state !== "Active") return refuse("ResourceNotActive", "resourceId", RESOURCE_TEXT);
  const { recreatedWaitSeconds, recreatedStatus } = call.switches;
  const waits = resource.recreatedMs !== undefined && call.nowMs < resource.recreatedMs + recreatedWaitSeconds * 1000;
  return waits ? refuse(recreatedStatus, "ResourceUri", "Invalid usage state.") : undefined;
}

function checkDimension(event: UsageEvent, resource: Resource, call: CallContext): Refusal | undefined {
  const dimensions = isBought(event, resource, call.switches)
    ? (resource.plans.find((plan) => plan.planId === event.planId)?.dimensions ?? [])
    : [];
  const wanted = foldDimension(event.dimension, call.switches);
  const known = dimensions.some((dimension) => foldDimension(dimension, call.switches) === wanted);
  return known ? undefined : refuse("InvalidDimension", "dimension", "The payload dimension is invalid.");
}

/** Whether the event's plan is the resource's, or was it in the event's hour. */
function isBought(event: UsageEvent, resource: Resource, switches: Switches): boolean {
  if (resource.planId === undefined || resource.planId === event.planId) return true;
  const former = resource.formerPlans?.find((plan) => plan.planId === event.planId);
  if (!former || switches.formerPlan === "Refused") return false;
  const hourStartMs = Math.floor(event.effectiveMs / HOUR_MS) * HOUR_MS;
  return switches.formerPlan === "Accepted" || hourStartMs < former.untilMs;
}

function checkQuantity(event: UsageEvent, call: CallContext): Refusal | undefined {
  if (bookedQuantity(event.quantity, call.switches) > 0) return undefined;
  return refuse("InvalidQuantity", "quantity", "The quantity provided is invalid.");
}

function checkTime(event: UsageEvent, call: CallContext): Refusal | undefined {
  const { expiryComparedTo, futureToleranceSeconds } = call.switches;
  const hourEndMs = (Math.floor(event.effectiveMs / HOUR_MS) + 1) * HOUR_MS;
  const compared = { EffectiveStartTime: event.effectiveMs, StartOfHour: hourEndMs - HOUR_MS, EndOfHour: hourEndMs };
  const comparedMs = compared[expiryComparedTo];
  const expired = call.nowMs - comparedMs > WINDOW_MS;
  const inFuture = event.effectiveMs > call.nowMs + futureToleranceSeconds * 1000;
  return expired || inFuture ? refuse("Expired", "effectiveStartTime", TIME_TEXT) : undefined;
}

function findSlot(state: MeteringState, event: UsageEvent, switches: Switches): BookedEvent | undefined {
  return state.hours.get(hourKey(event))?.find((booked) => {
    const sameDimension =
      !switches.slotHasDimension ||
      foldDimension(booked.dimension, switches) === foldDimension(event.dimension, switches);
    return sameDimension && (!switches.slotHasPlan || booked.planId === event.planId);
  });
}

function toBooked(event: UsageEvent, resource: Resource, call: CallContext): BookedEvent {
  return {
    ...event,
    quantity: bookedQuantity(event.quantity, call.switches),
    usageEventId: call.newId(),
    resourceId: resource.resourceId,
    offerId: resource.offerId,
    bookedMs: call.nowMs,
    writer: call.callerClientId,
  };
}

function isSameUri(resource: Resource, event: UsageEvent, { uriIgnoresCase }: Switches): boolean {
  return uriIgnoresCase || resource.resourceUri === event.resourceUri;
}

function bookedQuantity(quantity: number, { quantityDecimals }: Switches): number {
  return quantityDecimals === "All" ? quantity : Number(quantity.toFixed(quantityDecimals));
}

function hourKey(event: UsageEvent): string {
  return `${Math.floor(event.effectiveMs / HOUR_MS)} ${event.resourceUri.toLowerCase()}`;
}

function foldDimension(dimension: string, switches: Switches): string {
  return switches.dimensionIgnoresCase ? dimension.toLowerCase() : dimension;
}

function refuse(status: RefusalStatus, target: string, message: string): Refusal {
  return { status, target, message };
}
