import { z } from "zod";
import type { Resource } from "./metering-store.ts";
import { defaultSwitches, switchesSchema } from "./switches.ts";

/** Ids of plans, offers, dimensions, identities. */
export const name = z.string().min(1).max(256);
/** How many resources an emulator keeps. */
export const RESOURCES_MAX = 1000;
export const IDENTITIES_MAX = 2000;

/** A resource as people register it. */
export const resourceSchema = z.strictObject({
  resourceUri: z
    .string()
    .max(1024)
    .regex(/^\/subscriptions\/[^/]+\/.+/, "must be an ARM id that starts with /subscriptions/<id>/"),
  /** The identity that owns it and sends its usage. */
  ownerClientId: name,
  offerId: name.default("emulated-offer"),
  state: z.enum(["PendingActivation", "Active", "Suspended", "Deleted"]).default("Active"),
  /** The plan bought, if only its events are to be accepted. */
  planId: name.optional(),
  /** Dimensions of each plan: at most 30, as in an offer. */
  plans: z
    .array(z.strictObject({ planId: name, dimensions: z.array(name).max(30, "must hold at most 30 dimensions") }))
    .min(1, "must name at least one plan")
    .max(100),
});

/** A resource as it stands: what was registered and what happened since. Times are instants of the emulator's clock. */
export const resourceStateSchema = resourceSchema.extend({
  resourceId: name,
  recreatedAt: z.iso.datetime().optional(),
  formerPlans: z
    .array(z.strictObject({ planId: name, until: z.iso.datetime() }))
    .max(100)
    .optional(),
});

type ResourceState = z.output<typeof resourceStateSchema>;

export type ResourceInput = z.output<typeof resourceSchema>;

/** What an emulator knows when it starts, and after a reset: the content of RESOURCES_FILE. */
export const seedSchema = z.strictObject({
  /** Identities of the node beside the owners of resources. */
  identities: z
    .array(z.strictObject({ clientId: name }))
    .max(IDENTITIES_MAX)
    .default([]),
  resources: z.array(resourceSchema).max(RESOURCES_MAX).default([]),
  switches: switchesSchema.default(defaultSwitches),
});

export type Seed = z.output<typeof seedSchema>;

export const emptySeed: Seed = seedSchema.parse({});

export function toResource(input: ResourceInput, resourceId: string): Resource {
  return { ...input, resourceId };
}

/** A resource as the control API shows it. */
export function fromResource({ recreatedMs, formerPlans, ...resource }: Resource): Record<string, unknown> {
  return {
    ...resource,
    ...(recreatedMs === undefined ? {} : { recreatedAt: new Date(recreatedMs).toISOString() }),
    ...(formerPlans === undefined
      ? {}
      : {
          formerPlans: formerPlans.map(({ planId, untilMs }) => ({ planId, until: new Date(untilMs).toISOString() })),
        }),
  };
}

/** The opposite of fromResource. */
export function toStoredResource({ recreatedAt, formerPlans, ...resource }: ResourceState): Resource {
  return {
    ...resource,
    ...(recreatedAt === undefined ? {} : { recreatedMs: Date.parse(recreatedAt) }),
    ...(formerPlans === undefined
      ? {}
      : { formerPlans: formerPlans.map(({ planId, until }) => ({ planId, untilMs: Date.parse(until) })) }),
  };
}
