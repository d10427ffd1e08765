import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { readEnvironment, readTerms } from "./config.ts";

const environment = readEnvironment({ SUPERCARGO_POD_NAME: "reporter-0", SUPERCARGO_POD_NAMESPACE: "supercargo" });

const chats = { id: "chats", from: "workflow_completed", unit: "conversation", divisor: "1" };
const later = { ...chats, id: "chats_t2" };
const fee = { id: "base_fee", from: "billing_period", unit: "month", divisor: "1" };
const month = (quantity: unknown) => ({ quantity, per: "Month" });

/** A catalogue with one plan, and what is wrong with it. */
function catalogue(part: { dimensions?: unknown; sold?: unknown; plan?: object; plans?: unknown }): unknown {
  const plan = { id: "pro", displayName: "Pro", billing: "Custom", dimensions: part.sold ?? [{ id: "chats" }] };
  return { dimensions: part.dimensions ?? [chats, later, fee], plans: part.plans ?? [{ ...plan, ...part.plan }] };
}

function refusalOf(text: string): string {
  try {
    readTerms(environment, text);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "accepted";
}

const WRONG: [string, unknown, string][] = [
  ["a catalogue that is a list", [], "(root): must be an object of dimensions, plans: current value is []"],
  [
    "no dimensions",
    catalogue({ dimensions: [] }),
    "dimensions: Too small: expected array to have >=1 items: current value is []",
  ],
  [
    "a dimension without a unit",
    catalogue({ dimensions: [{ id: "chats", from: "workflow_completed", divisor: "1" }] }),
    "dimensions.0.unit: must be a text of 1 to 64 characters",
  ],
  [
    "an id in capitals",
    catalogue({ dimensions: [{ ...chats, id: "Chats" }] }),
    'dimensions.0.id: must be 1 to 63 lower case letters, digits and _, and begin with a letter: current value is "Chats"',
  ],
  [
    "an id that ends in _",
    catalogue({ dimensions: [{ ...chats, id: "chats_" }] }),
    'dimensions.0.id: must end in a letter or digit: current value is "chats_"',
  ],
  [
    "a divisor of zero",
    catalogue({ dimensions: [{ ...chats, divisor: "0" }] }),
    'dimensions.0.divisor: must be a whole number in quotes, from "1" to "999999999999999999": current value is "0"',
  ],
  [
    "a divisor without quotes",
    catalogue({ dimensions: [{ ...chats, divisor: 1000 }] }),
    'dimensions.0.divisor: must be a whole number in quotes, from "1" to "999999999999999999": current value is 1000',
  ],
  [
    "two dimensions of one id",
    catalogue({ dimensions: [chats, chats] }),
    'dimensions.1.id: must be unique, chats stands twice: current value is "chats"',
  ],
  [
    "a fee that is divided",
    catalogue({ dimensions: [chats, { ...fee, divisor: "2" }] }),
    'dimensions.1.divisor: must be "1", as a billing_period is not divided: current value is "2"',
  ],
  ["no plans", catalogue({ plans: [] }), "plans: Too small: expected array to have >=1 items: current value is []"],
  [
    "a billing model that is none",
    catalogue({ plan: { billing: "Metered" } }),
    'plans.0.billing: Invalid option: expected one of "Custom"|"Predefined"|"BYOL"|"Free": current value is "Metered"',
  ],
  [
    "a plan id with a space",
    catalogue({ plan: { id: "pro plan" } }),
    'plans.0.id: must be 1 to 128 lower case letters, digits, - and _: current value is "pro plan"',
  ],
  [
    "a key that is a typo",
    catalogue({ plan: { dimension: [] } }),
    'plans.0: may hold id, displayName, billing, dimensions, features only, not dimension: current value is {"id":"pro","displayName":"Pro","billing":"Custom","dimensions":[{"id":"chats...',
  ],
  [
    "a plan that sells nothing",
    catalogue({ sold: [] }),
    "plans.0.dimensions: must hold at least one dimension, as billing is Custom: current value is []",
  ],
  [
    "a plan that sells what is not there",
    catalogue({ sold: [{ id: "chat" }] }),
    'plans.0.dimensions.0.id: must be one of dimensions (chats, chats_t2, base_fee): current value is "chat"',
  ],
  [
    "the same dimension twice in a plan",
    catalogue({ sold: [{ id: "chats" }, { id: "chats" }] }),
    'plans.0.dimensions.1.id: must be unique, chats stands twice: current value is "chats"\n  - plans.0.dimensions.1: must hold included {quantity, per}, as chats must, with the same per, as chats is counted in workflow_completed too and the same use would be charged twice: current value is {"id":"chats"}',
  ],
  [
    "a negative included quantity",
    catalogue({ sold: [{ id: "chats", included: month("-1") }] }),
    'plans.0.dimensions.0.included.quantity: must be a whole number in quotes, from "0" to "999999999999999999": current value is "-1"',
  ],
  [
    "a fraction that is included",
    catalogue({ sold: [{ id: "chats", included: month("1.5") }] }),
    'plans.0.dimensions.0.included.quantity: must be a whole number in quotes, from "0" to "999999999999999999": current value is "1.5"',
  ],
  [
    "a week",
    catalogue({ sold: [{ id: "chats", included: { quantity: "1", per: "Week" } }] }),
    'plans.0.dimensions.0.included.per: Invalid option: expected one of "Month"|"Year": current value is "Week"',
  ],
  [
    "a soft limit above 100",
    catalogue({ sold: [{ id: "chats", softPercent: 120 }] }),
    "plans.0.dimensions.0.softPercent: Too big: expected number to be <=100: current value is 120",
  ],
  [
    "a limit without a period",
    catalogue({ sold: [{ id: "chats", hard: "10" }] }),
    'plans.0.dimensions.0.hard: needs included {quantity, per: Month | Year} beside it, which names the period ("0" includes nothing): current value is "10"',
  ],
  [
    "a tier that ends where it begins",
    catalogue({ sold: [{ id: "chats", included: month("5"), upTo: "5" }] }),
    'plans.0.dimensions.0.upTo: must be above included.quantity, which is 5: current value is "5"',
  ],
  [
    "a limit below what is included",
    catalogue({ sold: [{ id: "chats", included: month("5"), hard: "4" }] }),
    'plans.0.dimensions.0.hard: must be at least included.quantity, which is 5: current value is "4"',
  ],
  [
    "use that is sold twice",
    catalogue({ sold: [{ id: "chats" }, { id: "chats_t2" }] }),
    'plans.0.dimensions.1: must hold included {quantity, per}, as chats must, with the same per, as chats is counted in workflow_completed too and the same use would be charged twice: current value is {"id":"chats_t2"}',
  ],
  [
    "tiers with a gap",
    catalogue({
      sold: [
        { id: "chats", included: month("0"), upTo: "5" },
        { id: "chats_t2", included: month("6") },
      ],
    }),
    'plans.0.dimensions.1.included.quantity: must be the upTo of chats, which is 5, as chats is counted in workflow_completed too and the same use would be charged twice: current value is "6"',
  ],
  [
    "tiers of two periods",
    catalogue({
      sold: [
        { id: "chats", included: month("0"), upTo: "5" },
        { id: "chats_t2", included: { quantity: "5", per: "Year" } },
      ],
    }),
    'plans.0.dimensions.1: must hold included {quantity, per}, as chats must, with the same per, as chats is counted in workflow_completed too and the same use would be charged twice: current value is {"id":"chats_t2","included":{"quantity":"5","per":"Year"}}',
  ],
  [
    "a fee of what is counted",
    catalogue({ sold: [{ id: "chats", fee: month("1") }] }),
    'plans.0.dimensions.0.fee: must be absent, as chats is counted in workflow_completed and a fee in billing_period: current value is {"quantity":"1","per":"Month"}',
  ],
  [
    "a period that has no fee",
    catalogue({ sold: [{ id: "base_fee" }] }),
    'plans.0.dimensions.0: must hold fee {quantity, per: Day | Month | Year}, as base_fee is counted in billing_period: current value is {"id":"base_fee"}',
  ],
];

describe("a wrong catalogue is refused before anything runs", () => {
  it.each(WRONG)("%s", (_name, wrong, expected) => {
    expect(refusalOf(stringify(wrong))).toBe(`Cannot use the catalogue:\n  - ${expected}`);
  });
});
