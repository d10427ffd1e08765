import type { CatalogueDimension, Plan, PlanDimension } from "./plan.ts";
import { BILLING_PERIOD } from "./usage.ts";

/** A count must fit its string: 18 digits. */
const COUNT_MAX = 999_999_999_999_999_999n;
const NEEDS_PERIOD =
  'needs included {quantity, per: Month | Year} beside it, which names the period ("0" includes nothing)';

/** Where something is wrong, and what is allowed there. The value is added by who reports it. */
interface Flaw {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What a plan sells under an id, in the terms of the plan and of the catalogue. */
interface Sold {
  readonly index: number;
  readonly terms: PlanDimension;
  readonly dimension: CatalogueDimension;
}

/** What the parts of a catalogue say against each other; each alone has its shape already. */
export function catalogueFlaws(catalogue: {
  readonly dimensions: readonly CatalogueDimension[];
  readonly plans: readonly Plan[];
}): Flaw[] {
  const known = new Map(catalogue.dimensions.map((entry) => [entry.id, entry]));
  return [
    ...duplicates(catalogue.dimensions, ["dimensions"]),
    ...duplicates(catalogue.plans, ["plans"]),
    ...catalogue.dimensions.flatMap(({ from, divisor }, index) =>
      from === BILLING_PERIOD && divisor !== "1"
        ? [{ path: ["dimensions", index, "divisor"], message: `must be "1", as a ${BILLING_PERIOD} is not divided` }]
        : [],
    ),
    ...catalogue.plans.flatMap((plan, index) => under(["plans", index], planFlaws(plan, known))),
  ];
}

function planFlaws(plan: Plan, known: ReadonlyMap<string, CatalogueDimension>): Flaw[] {
  if (plan.billing === "Custom" && plan.dimensions.length === 0)
    return [{ path: ["dimensions"], message: "must hold at least one dimension, as billing is Custom" }];
  const unknown: Flaw[] = [];
  const sold: Sold[] = [];
  plan.dimensions.forEach((terms, index) => {
    const dimension = known.get(terms.id);
    if (dimension) sold.push({ index, terms, dimension });
    else
      unknown.push({
        path: ["dimensions", index, "id"],
        message: `must be one of dimensions (${[...known.keys()].join(", ")})`,
      });
  });
  const single = sold.flatMap((one) =>
    under(
      ["dimensions", one.index],
      SINGLE_RULES.flatMap((rule) => rule(one, plan) ?? []),
    ),
  );
  const grouped = groupByBase(sold).flatMap((group) => [
    ...hardFlaws(group),
    ...(plan.billing === "Custom" ? tierFlaws(group) : []),
  ]);
  return [...duplicates(plan.dimensions, ["dimensions"]), ...unknown, ...single, ...grouped];
}

type Rule = (sold: Sold, plan: Plan) => Flaw | readonly Flaw[] | undefined;

/** What one dimension of a plan says against itself, against what it is counted in and against the billing model. */
const SINGLE_RULES: readonly Rule[] = [
  ({ terms, dimension: { id, from } }) =>
    from === BILLING_PERIOD && !terms.fee
      ? at("", `must hold fee {quantity, per: Day | Month | Year}, as ${id} is counted in ${BILLING_PERIOD}`)
      : undefined,
  ({ terms, dimension: { id, from } }) =>
    from !== BILLING_PERIOD && terms.fee
      ? at("fee", `must be absent, as ${id} is counted in ${from} and a fee in ${BILLING_PERIOD}`)
      : undefined,
  ({ terms }) =>
    (["included", "upTo", "hard"] as const).flatMap((name) =>
      terms.fee && terms[name] !== undefined ? [at(name, "must be absent beside fee, which is due whole")] : [],
    ),
  ({ terms }, { billing }) =>
    (["fee", "upTo"] as const).flatMap((name) =>
      billing !== "Custom" && terms[name] !== undefined
        ? [at(name, `must be absent, as billing is ${billing} and nothing is posted`)]
        : [],
    ),
  ({ terms }) =>
    (["upTo", "hard"] as const).flatMap((name) =>
      terms[name] !== undefined && !terms.included && !terms.fee ? [at(name, NEEDS_PERIOD)] : [],
    ),
  ({ terms: { included, upTo } }) =>
    included && upTo !== undefined && BigInt(upTo) <= BigInt(included.quantity)
      ? at("upTo", `must be above included.quantity, which is ${included.quantity}`)
      : undefined,
  ({ terms: { included, hard } }) =>
    included && hard !== undefined && BigInt(hard) < BigInt(included.quantity)
      ? at("hard", `must be at least included.quantity, which is ${included.quantity}`)
      : undefined,
  ({ terms: { included, upTo, hard }, dimension: { divisor } }) =>
    Object.entries({ "included.quantity": included?.quantity, upTo, hard }).flatMap(([name, units]) =>
      units !== undefined && BigInt(units) * BigInt(divisor) > COUNT_MAX
        ? [at(name, `must be at most ${COUNT_MAX / BigInt(divisor)}, as it is counted times the divisor ${divisor}`)]
        : [],
    ),
];

function hardFlaws(group: readonly Sold[]): Flaw[] {
  const [first, ...others] = group.filter(({ terms }) => terms.hard !== undefined);
  return others.map(({ index, dimension: { from } }) => ({
    path: ["dimensions", index, "hard"],
    message: `must stand once for what is counted in ${from}, and ${first?.terms.id} has it`,
  }));
}

/** Two dimensions of one base would charge the same use twice, unless one ends where the next begins. */
function tierFlaws(group: readonly Sold[]): Flaw[] {
  const included = ({ terms }: Sold): bigint => BigInt(terms.included?.quantity ?? "0");
  const tiers = group.toSorted((a, b) => (included(a) < included(b) ? -1 : 1));
  return tiers.flatMap((tier, index) => {
    const before = tiers[index - 1];
    const flaw = before && tierFlaw(before, tier);
    return flaw ? under(["dimensions", tier.index], [flaw]) : [];
  });
}

function tierFlaw(before: Sold, tier: Sold): Flaw | undefined {
  const { id, upTo, included } = before.terms;
  const why = `as ${id} is counted in ${tier.dimension.from} too and the same use would be charged twice`;
  if (tier.dimension.divisor !== before.dimension.divisor)
    return at("id", `must have the divisor ${before.dimension.divisor}, ${why}`);
  if (tier.terms.included === undefined || tier.terms.included.per !== included?.per)
    return at("", `must hold included {quantity, per}, as ${id} must, with the same per, ${why}`);
  if (tier.terms.included.quantity !== upTo)
    return at("included.quantity", `must be the upTo of ${id}, which is ${upTo ?? "absent"}, ${why}`);
  return undefined;
}

/** Fees are left out: several charge nothing twice. */
function groupByBase(sold: readonly Sold[]): Sold[][] {
  const bases = Map.groupBy(sold, ({ dimension: { from } }) => from);
  bases.delete(BILLING_PERIOD);
  return [...bases.values()];
}

function duplicates(list: readonly { readonly id: string }[], path: readonly string[]): Flaw[] {
  const ids = list.map(({ id }) => id);
  return ids.flatMap((id, index) =>
    ids.indexOf(id) === index ? [] : [{ path: [...path, index, "id"], message: `must be unique, ${id} stands twice` }],
  );
}

/** A flaw at a dotted path below the dimension. */
function at(field: string, message: string): Flaw {
  return { path: field === "" ? [] : field.split("."), message };
}

function under(path: readonly (string | number)[], flaws: readonly Flaw[]): Flaw[] {
  return flaws.map((flaw) => ({ ...flaw, path: [...path, ...flaw.path] }));
}
