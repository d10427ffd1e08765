import type { Catalogue } from "#core/plan.ts";
import type { Switches } from "../../services/emulator/switches.ts";
import { CATALOGUE } from "./catalogues.ts";
import { createRandom, type Random } from "./random.ts";

export const RESOURCE =
  "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/providers/Microsoft.KubernetesConfiguration/extensions/app1";

/** K and S of every simulated pod, in seconds. */
export const CHECKPOINT_SECONDS = 60;
export const SCRAPE_SECONDS = 5;

/**
 * Ordinary: everything that may happen to a healthy installation, after which accepted must equal due. Foreign: another
 * writer takes slots. Disaster: money objects are deleted or restored. The last two may bill less, never more. Steady: days
 * of work with natural faults at natural density (steady.ts), which show how much is lost; only when asked for.
 */
export type Profile = "Ordinary" | "Foreign" | "Disaster" | "Steady";
const PROFILES = ["Ordinary", "Foreign", "Disaster", "Steady"] as const;

/** All that is fixed for one history. */
export interface Setup {
  readonly profile: Profile;
  /** The ledger's birth, from which periods count; never after the start. */
  readonly anchorMs: number;
  readonly startMs: number;
  readonly catalogue: Catalogue;
  /** Bought first. */
  readonly planId: string;
  /** The customer changes to other plans, of those that limit nothing. */
  readonly changesPlan: boolean;
  readonly switches: Partial<Switches>;
  readonly reconcileRequired: boolean;
  /** One leader that never fails: then even a foreign writer's quantity is credited to the unit. */
  readonly calm: boolean;
  readonly lateUsage: "Carry" | "Drop";
  /** Two leaders may take turns with old memories; else whoever loses the lease forgets. */
  readonly splitBrain: boolean;
  /** Whole: the product's sidecar with its files. Fold: its fold alone, ten times as fast. */
  readonly sidecars: "Whole" | "Fold";
  /** Parse and freeze what is stored. */
  readonly strict: boolean;
}

/**
 * When the ledger was born, and when the history begins: hours before an edge of a period, or before one that there is only
 * by the wrong arithmetic.
 */
const STARTS = [
  [Date.UTC(2026, 10, 22, 8, 10), Date.UTC(2026, 10, 22, 8, 10)],
  [Date.UTC(2026, 10, 22, 23, 58, 57), Date.UTC(2026, 10, 22, 23, 58, 57)],
  [Date.UTC(2027, 0, 31, 10), Date.UTC(2027, 2, 31, 6, 20)],
  [Date.UTC(2027, 0, 31, 10), Date.UTC(2027, 2, 28, 6, 20)],
  [Date.UTC(2027, 0, 31, 10), Date.UTC(2027, 1, 28, 6, 20)],
  [Date.UTC(2028, 1, 29, 12), Date.UTC(2032, 1, 28, 9, 5)],
  [Date.UTC(2028, 1, 29, 12), Date.UTC(2029, 1, 28, 8, 0, 1)],
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
  const [anchorMs, startMs] = random.pick(STARTS);
  const planId = random.weighted([
    [6, "starter"],
    [3, "tiers"],
    [2, "hybrid"],
    [2, "capped"],
    [1, "bounded"],
  ] as const);
  const setup: Setup = {
    profile,
    anchorMs,
    startMs,
    catalogue: CATALOGUE,
    planId,
    changesPlan: planId !== "capped" && planId !== "bounded" && random.chance(0.25),
    calm: profile === "Foreign" && random.chance(0.5),
    switches: makeSwitches(random),
    reconcileRequired: !random.chance(0.06),
    lateUsage: random.chance(0.12) ? "Drop" : "Carry",
    splitBrain: profile !== "Disaster" && random.chance(0.3),
    sidecars: random.chance(0.15) ? "Whole" : "Fold",
    strict: index % 64 === 0,
  };
  return profile === "Steady" ? calmed(setup) : setup;
}

/** For days of work: no plan that refuses any, an Azure that can be believed, and what a million turns can afford. */
function calmed(setup: Setup): Setup {
  const planId = setup.planId === "hybrid" || setup.planId === "tiers" ? setup.planId : "starter";
  const believed = { listAllowed: true, listDayOf: "EffectiveStartTime", listCountsRepeats: false } as const;
  const switches = { ...setup.switches, ...believed, slotHasDimension: true };
  const settings = { reconcileRequired: true, lateUsage: "Carry" } as const;
  return { ...setup, ...settings, planId, switches, splitBrain: false, sidecars: "Fold", strict: false };
}

/** Each unconfirmed point of the service on either side. */
function makeSwitches(random: Random): Partial<Switches> {
  const rarely = <T>(probability: number, [value, usual]: readonly [T, T]): T =>
    random.chance(probability) ? value : usual;
  return {
    afterExpiry: random.pick(["Expired", "Duplicate"]),
    expiryComparedTo: random.pick(["EffectiveStartTime", "StartOfHour", "EndOfHour"]),
    checkOrder: random.pick(["ResourceFirst", "TimeFirst"]),
    unconfirmedBodies: random.pick(["Envelope", "Bare"]),
    listDelaySeconds: random.pick([0, 0, 1200, 3000]),
    answersCarryResourceId: random.chance(0.7),
    answersUriCase: random.pick(["AsSent", "Lower"]),
    duplicateMessageTime: random.pick(["Now", "Zero"]),
    slotHasPlan: random.chance(0.2),
    formerPlan: random.pick(["EarlierHours", "Refused", "Accepted"]),
    slotHasDimension: rarely(0.03, [false, true]),
    dimensionIgnoresCase: random.chance(0.1),
    uriIgnoresCase: random.chance(0.9),
    quantityDecimals: rarely<Switches["quantityDecimals"]>(0.1, [0, "All"]),
    futureToleranceSeconds: rarely(0.1, [300, 0]),
    parsing: random.pick(["Strict", "Lenient"]),
    malformedInBatch: random.pick(["Item", "WholeCall"]),
    sameHourInBatch: random.weighted([
      [0.9, "Accepted"],
      [0.05, "Item"],
      [0.05, "WholeCall"],
    ] as const),
    sameSlotInBatch: random.pick(["Duplicate", "Item", "WholeCall"]),
    recreatedStatus: random.pick(["BadArgument", "Error"]),
    recreatedWaitSeconds: random.pick([3600, 86_400]),
    ...makeListSwitches(random),
  };
}

function makeListSwitches(random: Random): Partial<Switches> {
  return {
    listAllowed: !random.chance(0.02),
    listShows: random.pick(["OwnResources", "AllResources"]),
    listStartCutsDay: random.chance(0.5),
    listDayOf: random.chance(0.06) ? "MessageTime" : "EffectiveStartTime",
    listCountsRepeats: random.chance(0.06),
    listCountIs: random.pick(["Events", "Quantity"]),
    listOfferType: random.pick(["", "KubernetesApp"]),
    reconDelaySeconds: random.pick([0, 86_400]),
    reconOutcome: random.pick(["Accepted", "Rejected", "Mismatch", "TestHeaders", "DryRun"]),
  };
}

/** The profile of a name, in any case of letters. Throws for an unknown one. */
export function profileOf(name: string): Profile {
  const found = PROFILES.find((profile) => profile.toLowerCase() === name.toLowerCase());
  if (found) return found;
  throw new Error(`Cannot play as --profile must be one of ${PROFILES.join(", ")}: current value is ${name}`);
}
