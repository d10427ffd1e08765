import { catalogueSchema, type Catalogue } from "#core/plan.ts";
import type { Switches } from "../../services/emulator/switches.ts";
import { createRandom, type Random } from "./random.ts";

export const RESOURCE =
  "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/providers/Microsoft.KubernetesConfiguration/extensions/app1";

/** K and S of every simulated pod, in seconds. */
export const CHECKPOINT_SECONDS = 60;
export const SCRAPE_SECONDS = 5;

/**
 * Ordinary: everything that may happen to a healthy installation, after which accepted must equal due. Foreign: another
 * writer takes slots. Disaster: money objects are deleted or restored. The last two may bill less, never more.
 */
export type Profile = "Ordinary" | "Foreign" | "Disaster";

/** All that is fixed for one history. */
export interface Setup {
  readonly profile: Profile;
  readonly startMs: number;
  readonly catalogue: Catalogue;
  readonly planId: string;
  readonly switches: Partial<Switches>;
  readonly reconcileRequired: boolean;
  readonly lateUsage: "Carry" | "Drop";
  /** Two leaders may take turns with old memories; else whoever loses the lease forgets. */
  readonly splitBrain: boolean;
  /** Whole: the product's sidecar with its files. Fold: its fold alone, ten times as fast. */
  readonly sidecars: "Whole" | "Fold";
  /** Parse and freeze what is stored. */
  readonly strict: boolean;
}

/** Base dimensions that pods use; how many base units a use may bring at most. */
export const USED = [
  ["tool_action", 8],
  ["input_tokens", 4000],
  ["workflow_completed", 12],
] as const;

const catalogue = catalogueSchema.parse({
  dimensions: [
    { id: "tool_action", from: "tool_action", unit: "action", divisor: "1" },
    { id: "tokens_1k_in", from: "input_tokens", unit: "1K tokens", divisor: "1000" },
    { id: "chats", from: "workflow_completed", unit: "conversation", divisor: "1" },
  ],
  plans: [
    {
      id: "starter",
      displayName: "Starter",
      billing: "Custom",
      dimensions: [
        { id: "tool_action" },
        { id: "tokens_1k_in" },
        { id: "chats", included: { quantity: "10", per: "Month" } },
      ],
    },
    { id: "gratis", displayName: "Gratis", billing: "Free", dimensions: [{ id: "tool_action" }] },
  ],
});

/** Starts that lie before an edge: of a month, of a short month, of a leap day, of nothing. */
const STARTS = [
  Date.UTC(2026, 10, 22, 8, 10),
  Date.UTC(2026, 10, 22, 23, 58, 57),
  Date.UTC(2027, 0, 30, 21, 20),
  Date.UTC(2028, 1, 28, 20, 0, 1),
] as const;

/** The setup of history `index` under `seed`. */
export function makeSetup(seed: number, index: number, only?: Profile): Setup {
  const random = createRandom(seed, 2 * index);
  const profile =
    only ??
    random.weighted([
      [6, "Ordinary"],
      [1, "Foreign"],
      [3, "Disaster"],
    ] as const);
  return {
    profile,
    startMs: random.pick(STARTS),
    catalogue,
    planId: "starter",
    switches: makeSwitches(random),
    reconcileRequired: true,
    lateUsage: "Carry",
    splitBrain: profile !== "Disaster" && random.chance(0.3),
    sidecars: random.chance(0.15) ? "Whole" : "Fold",
    strict: index % 64 === 0,
  };
}

/** Each unconfirmed point of the service on either side. */
function makeSwitches(random: Random): Partial<Switches> {
  return {
    afterExpiry: random.pick(["Expired", "Duplicate"]),
    expiryComparedTo: random.pick(["EffectiveStartTime", "EndOfHour"]),
    listDelaySeconds: random.pick([0, 0, 1200, 3000]),
    answersCarryResourceId: random.chance(0.7),
    duplicateMessageTime: random.pick(["Now", "Zero"]),
    slotHasPlan: random.chance(0.2),
    parsing: random.pick(["Strict", "Lenient"]),
    recreatedStatus: random.pick(["BadArgument", "Error"]),
    listShows: random.pick(["OwnResources", "AllResources"]),
  };
}

/** The profile of a name. Throws for an unknown one. */
export function profileOf(name: string): Profile {
  if (name === "Ordinary" || name === "Foreign" || name === "Disaster") return name;
  throw new Error(`Cannot play as --profile must be Ordinary, Foreign or Disaster: current value is ${name}`);
}
