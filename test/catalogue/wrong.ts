import { stringify } from "yaml";

/**
 * Where a wrong catalogue is refused first. Operator and reporter refuse every one at their start; the chart refuses
 * before anything is installed what stands in the schema of its values or in its templates. Reader: what Helm's YAML
 * parser lets pass, so that only operator and reporter can say it.
 */
export type Refuser = "Schema" | "Templates" | "Reader";

export interface WrongCatalogue {
  readonly what: string;
  readonly by: Refuser;
  readonly text: string;
  /** The same as a value, where YAML is not what is wrong. */
  readonly value: unknown;
  /** A line for each problem, as operator, reporter and the chart's templates say it. */
  readonly lines: readonly string[];
}

const chats = { id: "chats", from: "workflow_completed", unit: "conversation", divisor: "1" };
const later = { ...chats, id: "chats_t2" };
const tokens = { id: "tokens_1k", from: "output_tokens", unit: "1K tokens", divisor: "1000" };
const fee = { id: "base_fee", from: "billing_period", unit: "month", divisor: "1" };
const month = (quantity: unknown) => ({ quantity, per: "Month" });
const twice = "as chats is counted in workflow_completed too and the same use would be charged twice";
const whole = (least: number) => `must be a whole number in quotes, from "${least}" to "999999999999999999"`;

/** A catalogue with one plan, and what is wrong with it. */
function catalogue(part: { dimensions?: unknown; sold?: unknown; plan?: object; plans?: unknown }): unknown {
  const plan = { id: "pro", displayName: "Pro", billing: "Custom", dimensions: part.sold ?? [{ id: "chats" }] };
  return {
    dimensions: part.dimensions ?? [chats, later, tokens, fee],
    plans: part.plans ?? [{ ...plan, ...part.plan }],
  };
}

type Row = readonly [what: string, value: unknown, ...lines: readonly string[]];

/** One part alone has the wrong shape: the generated JSON Schema says so. */
const SHAPES: readonly Row[] = [
  ["a catalogue that is a list", [], "(root): must be an object of dimensions, plans: current value is []"],
  [
    "no dimensions",
    catalogue({ dimensions: [] }),
    "dimensions: must be a list of 1 to 30 dimensions: current value is []",
  ],
  [
    "a dimension without a unit",
    catalogue({ dimensions: [{ id: "chats", from: "workflow_completed", divisor: "1" }] }),
    "dimensions.0.unit: must be a text of 1 to 64 characters",
  ],
  [
    "an id in capitals",
    catalogue({ dimensions: [{ ...chats, id: "Chats" }] }),
    'dimensions.0.id: must be 1 to 63 lower case letters, digits and _, begin with a letter and end with a letter or digit: current value is "Chats"',
  ],
  [
    "an id that ends in _",
    catalogue({ dimensions: [{ ...chats, id: "chats_" }] }),
    'dimensions.0.id: must be 1 to 63 lower case letters, digits and _, begin with a letter and end with a letter or digit: current value is "chats_"',
  ],
  [
    "a divisor of zero",
    catalogue({ dimensions: [{ ...chats, divisor: "0" }] }),
    `dimensions.0.divisor: ${whole(1)}: current value is "0"`,
  ],
  [
    "a divisor without quotes",
    catalogue({ dimensions: [{ ...chats, divisor: 1000 }] }),
    `dimensions.0.divisor: ${whole(1)}: current value is 1000`,
  ],
  ["no plans", catalogue({ plans: [] }), "plans: must be a list of 1 to 64 plans: current value is []"],
  [
    "plans by name",
    catalogue({ plans: { pro: {} } }),
    'plans: must be a list of 1 to 64 plans: current value is {"pro":{}}',
  ],
  [
    "a plan that is only a name",
    catalogue({ plans: ["pro"] }),
    'plans.0: must be an object of id, displayName, billing, dimensions, features: current value is "pro"',
  ],
  [
    "a billing model that is none",
    catalogue({ plan: { billing: "Metered" } }),
    'plans.0.billing: must be Custom, Predefined, BYOL or Free: current value is "Metered"',
  ],
  [
    "a plan id with a space",
    catalogue({ plan: { id: "pro plan" } }),
    'plans.0.id: must be 1 to 128 lower case letters, digits, - and _, and begin with a letter or digit: current value is "pro plan"',
  ],
  [
    "a key that is a typo",
    catalogue({ plan: { dimension: [] } }),
    'plans.0: may hold id, displayName, billing, dimensions, features only, not dimension: current value is {"id":"pro","displayName":"Pro","billing":"Custom","dimensions":[{"id":"chats...',
  ],
  [
    "a negative included quantity",
    catalogue({ sold: [{ id: "chats", included: month("-1") }] }),
    `plans.0.dimensions.0.included.quantity: ${whole(0)}: current value is "-1"`,
  ],
  [
    "a fraction that is included",
    catalogue({ sold: [{ id: "chats", included: month("1.5") }] }),
    `plans.0.dimensions.0.included.quantity: ${whole(0)}: current value is "1.5"`,
  ],
  [
    "a week",
    catalogue({ sold: [{ id: "chats", included: { quantity: "1", per: "Week" } }] }),
    'plans.0.dimensions.0.included.per: must be Month or Year: current value is "Week"',
  ],
  [
    "a soft limit above 100",
    catalogue({ sold: [{ id: "chats", softPercent: 120 }] }),
    "plans.0.dimensions.0.softPercent: must be a whole number from 1 to 100: current value is 120",
  ],
  [
    "a feature that is a typo",
    catalogue({ plan: { features: { model: ["small"] } } }),
    'plans.0.features: may hold agentsMax, requestsPerMinute, models, routes, tools only, not model: current value is {"model":["small"]}',
  ],
  [
    "no request a minute",
    catalogue({ plan: { features: { requestsPerMinute: 0 } } }),
    "plans.0.features.requestsPerMinute: must be a whole number from 1 to 1000000000: current value is 0",
  ],
  [
    "no model at all",
    catalogue({ plan: { features: { models: [] } } }),
    "plans.0.features.models: must be a list of 1 to 64 names of models: current value is []",
  ],
  [
    "one model without a list",
    catalogue({ plan: { features: { models: "small" } } }),
    'plans.0.features.models: must be a list of 1 to 64 names of models: current value is "small"',
  ],
  [
    "a model in capitals",
    catalogue({ plan: { features: { models: ["small", "GPT"] } } }),
    'plans.0.features.models.1: must be 1 to 63 lower case letters, digits and -, and begin and end with a letter or digit: current value is "GPT"',
  ],
  [
    "a route that is none",
    catalogue({ plan: { features: { routes: ["chat", "models"] } } }),
    'plans.0.features.routes.1: must be chat, responses, embeddings or agent: current value is "models"',
  ],
  [
    "a tool with two functions",
    catalogue({ plan: { features: { tools: ["orders/get/list"] } } }),
    'plans.0.features.tools.0: must be the name of a tool, or tool/function: current value is "orders/get/list"',
  ],
  [
    "several at once",
    catalogue({ plan: { displayName: "", billing: "Metered" }, sold: [{ id: "chats", softPercent: 0.5 }] }),
    'plans.0.displayName: must be a text of 1 to 128 characters: current value is ""',
    'plans.0.billing: must be Custom, Predefined, BYOL or Free: current value is "Metered"',
    "plans.0.dimensions.0.softPercent: must be a whole number from 1 to 100: current value is 0.5",
  ],
];

/** Each part alone is right, but not beside the others. */
const RULES: readonly Row[] = [
  ["no plans at all", { dimensions: [chats] }, "plans: must be a list of 1 to 64 plans"],
  [
    "two dimensions of one id",
    catalogue({ dimensions: [chats, chats] }),
    'dimensions.1.id: must be unique, chats stands twice: current value is "chats"',
  ],
  [
    "two plans of one id",
    catalogue({
      plans: ["Pro", "Plus"].map((displayName) => ({ id: "pro", displayName, billing: "Free", dimensions: [] })),
    }),
    'plans.1.id: must be unique, pro stands twice: current value is "pro"',
  ],
  [
    "a fee that is divided",
    catalogue({ dimensions: [chats, { ...fee, divisor: "2" }] }),
    'dimensions.1.divisor: must be "1", as a billing_period is not divided: current value is "2"',
  ],
  [
    "a plan that sells nothing",
    catalogue({ sold: [] }),
    "plans.0.dimensions: must hold at least one dimension, as billing is Custom: current value is []",
  ],
  [
    "a plan that sells what is not there",
    catalogue({ sold: [{ id: "chat" }] }),
    'plans.0.dimensions.0.id: must be one of dimensions (chats, chats_t2, tokens_1k, base_fee): current value is "chat"',
  ],
  [
    "the same dimension twice in a plan",
    catalogue({ sold: [{ id: "chats" }, { id: "chats" }] }),
    'plans.0.dimensions.1.id: must be unique, chats stands twice: current value is "chats"',
    `plans.0.dimensions.1: must hold included {quantity, per}, as chats must, with the same per, ${twice}: current value is {"id":"chats"}`,
  ],
  [
    "a limit without a period",
    catalogue({ sold: [{ id: "chats", hard: "10" }] }),
    'plans.0.dimensions.0.hard: needs included {quantity, per: Month | Year} beside it, which names the period ("0" includes nothing): current value is "10"',
  ],
  [
    "a tier without a period",
    catalogue({ sold: [{ id: "chats", upTo: "10" }] }),
    'plans.0.dimensions.0.upTo: needs included {quantity, per: Month | Year} beside it, which names the period ("0" includes nothing): current value is "10"',
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
    "a limit that no count can hold",
    catalogue({ sold: [{ id: "tokens_1k", included: month("0"), hard: "1000000000000000" }] }),
    'plans.0.dimensions.0.hard: must be at most 999999999999999, as it is counted times the divisor 1000: current value is "1000000000000000"',
  ],
  [
    "two limits for one use",
    catalogue({
      sold: [
        { id: "chats", included: month("0"), upTo: "5", hard: "9" },
        { id: "chats_t2", included: month("5"), hard: "9" },
      ],
    }),
    'plans.0.dimensions.1.hard: must stand once for what is counted in workflow_completed, and chats has it: current value is "9"',
  ],
  [
    "use that is sold twice",
    catalogue({ sold: [{ id: "chats" }, { id: "chats_t2" }] }),
    `plans.0.dimensions.1: must hold included {quantity, per}, as chats must, with the same per, ${twice}: current value is {"id":"chats_t2"}`,
  ],
  [
    "use that is sold in two units",
    catalogue({ dimensions: [chats, { ...later, divisor: "10" }], sold: [{ id: "chats" }, { id: "chats_t2" }] }),
    `plans.0.dimensions.1.id: must have the divisor 1, ${twice}: current value is "chats_t2"`,
  ],
  [
    "tiers with a gap",
    catalogue({
      sold: [
        { id: "chats_t2", included: month("6") },
        { id: "chats", included: month("0"), upTo: "5" },
      ],
    }),
    `plans.0.dimensions.0.included.quantity: must be the upTo of chats, which is 5, ${twice}: current value is "6"`,
  ],
  [
    "tiers of two periods",
    catalogue({
      sold: [
        { id: "chats", included: month("0"), upTo: "5" },
        { id: "chats_t2", included: { quantity: "5", per: "Year" } },
      ],
    }),
    `plans.0.dimensions.1: must hold included {quantity, per}, as chats must, with the same per, ${twice}: current value is {"id":"chats_t2","included":{"quantity":"5","per":"Year"}}`,
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
  [
    "a fee with a limit",
    catalogue({ sold: [{ id: "base_fee", fee: month("1"), hard: "2" }] }),
    'plans.0.dimensions.0.hard: must be absent beside fee, which is due whole: current value is "2"',
  ],
  [
    "a fee in a free plan",
    catalogue({ plan: { billing: "Free" }, sold: [{ id: "base_fee", fee: month("1") }] }),
    'plans.0.dimensions.0.fee: must be absent, as billing is Free and nothing is posted: current value is {"quantity":"1","per":"Month"}',
  ],
  [
    "a tier that the customer's own licence pays",
    catalogue({ plan: { billing: "BYOL" }, sold: [{ id: "chats", included: month("0"), upTo: "5" }] }),
    'plans.0.dimensions.0.upTo: must be absent, as billing is BYOL and nothing is posted: current value is "5"',
  ],
];

const right = stringify(catalogue({}));

/** What Helm's parser reads without a word: the last of two keys, the first of two documents, a merged key. */
const TEXTS: readonly (readonly [what: string, text: string, line: string])[] = [
  [
    "a key that stands twice",
    `${right}${right}`,
    `(root): must be one YAML document: Map keys must be unique at line ${right.split("\n").length}, column 1`,
  ],
  [
    "two documents",
    `${right}---\n${right}`,
    `(root): must be one YAML document: Source contains multiple documents; please use YAML.parseAllDocuments() at line ${right.split("\n").length}, column 1`,
  ],
  [
    "a merge key, which YAML 1.2 does not have",
    right.replace("- id: chats_t2\n", "- <<: {}\n    id: chats_t2\n"),
    'dimensions.1: may hold id, from, unit, divisor only, not <<: current value is {"<<":{},"id":"chats_t2","from":"workflow_completed","unit":"conversation","d...',
  ],
];

const rows = (by: Refuser, list: readonly Row[]): WrongCatalogue[] =>
  list.map(([what, value, ...lines]) => ({ what, by, value, lines, text: stringify(value) }));

/** Every wrong catalogue that is tested: operator, reporter and chart answer to the same table. */
export const WRONG_CATALOGUES: readonly WrongCatalogue[] = [
  ...rows("Schema", SHAPES),
  ...rows("Templates", RULES),
  ...TEXTS.map(([what, text, line]) => ({ what, by: "Reader" as const, text, value: undefined, lines: [line] })),
];

/** How operator and reporter end their start, and what the chart's templates fail with. */
export function refusalOf({ lines }: WrongCatalogue): string {
  return `Cannot use the catalogue:\n${lines.map((line) => `  - ${line}`).join("\n")}`;
}
