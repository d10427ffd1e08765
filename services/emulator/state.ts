import { z } from "zod";
import { contentRulesSchema, defaultContentRules } from "./content-safety-rules.ts";
import { DELAYED_REQUESTS_MAX, delayedRequestSchema } from "./delayed.ts";
import { OFFSET_SECONDS_MAX, SPEED_MAX } from "./emulated-clock.ts";
import { faultSchema } from "./faults.ts";
import { parseTime } from "./metering-event.ts";
import { book, createMeteringState, listBooked, putResource, type BookedEvent } from "./metering-store.ts";
import { modelStateSchema } from "./model-memory.ts";
import { requestCountSchema } from "./requests.ts";
import { fromResource, IDENTITIES_MAX, name, resourceStateSchema, RESOURCES_MAX, toStoredResource } from "./seed.ts";
import { switchesSchema } from "./switches.ts";
import type { World } from "./world.ts";

/** How many booked events an emulator keeps unless told otherwise: they fit a container of 256 MiB. */
export const EVENTS_DEFAULT = 20_000;
/** The most it can be told to keep; they need about 1 GiB. */
export const EVENTS_MAX = 100_000;
/** The largest state: all events and delayed requests at their largest. */
export const STATE_BYTES_MAX = 128 * 1024 * 1024;

/** A booked event as the control API shows it. */
const eventSchema = z.strictObject({
  usageEventId: name,
  resourceUri: z.string().min(1).max(1024),
  resourceId: name,
  offerId: name,
  planId: z.string().min(1).max(1024),
  dimension: z.string().min(1).max(1024),
  quantity: z.number().positive(),
  effectiveStartTime: z
    .string()
    .max(64)
    .refine((text) => parseTime(text, "Lenient") !== undefined, "must be a date and time"),
  bookedAt: z.iso.datetime(),
  writer: name,
  /** The sum of the quantities that were refused because the slot was taken. */
  repeatedQuantity: z.number().positive().optional(),
});

/** All that an emulator remembers: what `GET /control/state` shows and `PUT /control/state` takes. */
export const stateSchema = z
  .strictObject({
    version: z.literal(1),
    clock: z.strictObject({
      offsetSeconds: z.int().min(0).max(OFFSET_SECONDS_MAX),
      speed: z.number().min(1).max(SPEED_MAX).default(1),
      /** System time of the snapshot: a faster clock ran on since. */
      systemTime: z.iso.datetime().optional(),
    }),
    tokenLifetimeSeconds: z.int().min(1).max(604_800).default(86_400),
    switches: switchesSchema,
    identities: z.array(z.strictObject({ clientId: name, objectId: name })).max(IDENTITIES_MAX),
    resources: z.array(resourceStateSchema).max(RESOURCES_MAX),
    events: z.array(eventSchema).max(EVENTS_MAX),
    delayed: z.array(delayedRequestSchema).max(DELAYED_REQUESTS_MAX).default([]),
    faults: z.array(faultSchema).max(1000).default([]),
    requests: z.array(requestCountSchema).max(1000).default([]),
    model: modelStateSchema.default({ tallies: [], scripts: [] }),
    contentSafety: contentRulesSchema.default(defaultContentRules),
  })
  .superRefine((state, context) => {
    const uris = state.resources.map((resource) => resource.resourceUri.toLowerCase());
    const known = new Set(uris);
    const slots = new Set<string>();
    uris.forEach((uri, index) => {
      if (uris.indexOf(uri) === index) return;
      context.addIssue({ code: "custom", path: ["resources", index, "resourceUri"], message: "must be there once" });
    });
    state.events.forEach((event, index) => {
      const path = ["events", index, "resourceUri"];
      const uri = event.resourceUri.toLowerCase();
      if (!known.has(uri)) context.addIssue({ code: "custom", path, message: "must be one of resources" });
      const slot = JSON.stringify([uri, hourOf(event.effectiveStartTime), event.dimension, event.planId]);
      const message = "must be the only event of its resource, hour, dimension and plan";
      if (slots.has(slot)) context.addIssue({ code: "custom", path, message });
      slots.add(slot);
    });
  });

type State = z.output<typeof stateSchema>;

/** Everything that a restart would lose, in a form that people can read and edit, and that stateSchema takes. */
export function takeState(world: World): Record<string, unknown> {
  const { repeated } = world.metering;
  return {
    version: 1,
    clock: {
      offsetSeconds: world.time.offsetSeconds(),
      speed: world.time.speed(),
      systemTime: new Date(world.clock.now()).toISOString(),
    },
    tokenLifetimeSeconds: world.tokenLifetimeSeconds,
    switches: world.switches,
    identities: [...world.identities.values()],
    resources: [...world.metering.resources.values()].map(fromResource),
    events: listBooked(world.metering).map((event) => ({
      ...fromEvent(event),
      ...(repeated.has(event.usageEventId) ? { repeatedQuantity: repeated.get(event.usageEventId) } : {}),
    })),
    delayed: [...world.delayed.waiting()],
    faults: [...world.faults.list(world.time.now())],
    requests: [...world.requests.list()],
    model: world.model.state(),
    contentSafety: world.contentRules,
  };
}

/** Puts a state in place of the present one. The clock is raised to the state's if it is behind, and never falls. */
export function restoreState(world: World, state: State): void {
  const metering = createMeteringState();
  for (const resource of state.resources) putResource(metering, toStoredResource(resource));
  for (const { bookedAt, repeatedQuantity, ...event } of state.events) {
    const effectiveMs = parseTime(event.effectiveStartTime, "Lenient") ?? 0;
    book(metering, { ...event, effectiveMs, bookedMs: Date.parse(bookedAt) });
    if (repeatedQuantity !== undefined) metering.repeated.set(event.usageEventId, repeatedQuantity);
  }
  world.metering = metering;
  world.switches = state.switches;
  world.tokenLifetimeSeconds = state.tokenLifetimeSeconds;
  world.identities.clear();
  for (const identity of state.identities) world.identities.set(identity.clientId.toLowerCase(), identity);
  world.time.setSpeed(state.clock.speed);
  world.time.advanceTo(offsetNow(state.clock, world.clock.now()));
  world.delayed.load(state.delayed);
  world.faults.load(state.faults);
  world.requests.load(state.requests);
  world.model.load(state.model);
  world.contentRules = state.contentSafety;
}

/** The offset that a clock has reached when it ran on since its snapshot. */
function offsetNow({ offsetSeconds, speed, systemTime }: State["clock"], nowMs: number): number {
  const passedMs = systemTime === undefined ? 0 : Math.max(0, nowMs - Date.parse(systemTime));
  return Math.min(OFFSET_SECONDS_MAX, offsetSeconds + Math.ceil((passedMs / 1000) * (speed - 1)));
}

/** An event as the control API shows it, with instants as text. */
export function fromEvent({ effectiveMs: _derived, bookedMs, ...event }: BookedEvent) {
  return { ...event, bookedAt: new Date(bookedMs).toISOString() };
}

function hourOf(text: string): number {
  return Math.floor((parseTime(text, "Lenient") ?? 0) / 3_600_000);
}
