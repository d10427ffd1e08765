import { z } from "zod";
import type { Resource } from "./metering-store.ts";
import { defaultSwitches, switchesSchema } from "./switches.ts";

const name = z.string().min(1).max(256);

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

export type ResourceInput = z.output<typeof resourceSchema>;

/** What an emulator knows when it starts, and after a reset: the content of RESOURCES_FILE. */
export const seedSchema = z.strictObject({
  /** Identities of the node beside the owners of resources. */
  identities: z
    .array(z.strictObject({ clientId: name }))
    .max(1000)
    .default([]),
  resources: z.array(resourceSchema).max(1000).default([]),
  switches: switchesSchema.default(defaultSwitches),
});

export type Seed = z.output<typeof seedSchema>;

export const emptySeed: Seed = seedSchema.parse({});

export function toResource(input: ResourceInput, resourceId: string): Resource {
  return { ...input, resourceId };
}
