import fc from "fast-check";
import { VALID_CATALOGUES } from "./valid.ts";

const counted = fc.constantFrom("x", "x", "x", "y");
const per = fc.constantFrom("Month", "Month", "Month", "Year");
const quantity = fc.constantFrom("0", "5", "5", "10", "999999999999999999");
const above = fc.constantFrom("5", "10", "10", "20", "999999999999999999");

const use = fc.record({
  id: fc.constantFrom("a", "b", "c"),
  from: counted,
  unit: fc.constantFrom("call", "1K tokens & <more>"),
  divisor: fc.constantFrom("1", "1", "1", "10", "999999999999999999"),
});
const period = fc.record({
  id: fc.constantFrom("fee", "fee", "fee", "a"),
  from: fc.constant("billing_period"),
  unit: fc.constant("month"),
  divisor: fc.constantFrom("1", "1", "1", "2"),
});

const id = fc.constantFrom("a", "a", "b", "b", "c", "fee", "nobody");
const parts = {
  id,
  included: fc.record({ quantity, per }),
  upTo: above,
  fee: fc.record({ quantity: fc.constantFrom("1", "2"), per: fc.constantFrom("Day", "Month", "Year") }),
  softPercent: fc.constantFrom(1, 80, 100),
  hard: above,
};
const terms = fc.oneof(
  fc.record({ id }),
  fc.record({ id: fc.constant("fee"), fee: parts.fee }),
  fc.record({ id, included: parts.included }),
  fc.record({ id, included: parts.included, hard: above }),
  fc.record({ id: fc.constant("a"), included: fc.constant({ quantity: "0", per: "Month" }), upTo: above }),
  fc.record(parts, { requiredKeys: ["id"] }),
);
/** Ids stand twice at times. */
const listOf = <T extends { readonly id: string }>(entry: fc.Arbitrary<T>, minLength: number) =>
  fc.oneof(
    { weight: 4, arbitrary: fc.uniqueArray(entry, { minLength, maxLength: 3, selector: (one) => one.id }) },
    { weight: 1, arbitrary: fc.array(entry, { minLength, maxLength: 3 }) },
  );

/** Well-formed, and often wrong in how its parts fit. */
const wellFormed = fc.record({
  dimensions: fc.tuple(listOf(use, 2), fc.array(period, { minLength: 1, maxLength: 1 })).map((lists) => lists.flat()),
  plans: listOf(
    fc.record({
      id: fc.constantFrom("p", "q", "r", "s"),
      displayName: fc.constantFrom("P", "Ünïcödé ✓"),
      billing: fc.constantFrom("Custom", "Custom", "Custom", "Free", "BYOL", "Predefined"),
      dimensions: listOf(terms, 0),
    }),
    1,
  ),
});

const junk = fc.oneof(
  fc.constantFrom<unknown>("", "Year", "5", "5000", "9000", "20000", 50),
  fc.constantFrom<unknown>("1.0", "01", "-1", 0, 1.5, 101, true, [], {}, { x: 1 }, null, "A".repeat(200)),
);
const written = fc.oneof(wellFormed, fc.constantFrom(...VALID_CATALOGUES.map(({ value }) => value)));

/** A catalogue as a person may write it: any one value may be replaced by anything, or stand under a key that is a typo. */
export const randomCatalogue: fc.Arbitrary<unknown> = fc.oneof(
  wellFormed,
  fc.tuple(written, fc.nat(), junk, fc.integer({ min: 0, max: 9 })).map(([catalogue, at, value, chance]) => {
    const places = placesOf(catalogue);
    return replaceAt(catalogue, places[at % places.length] ?? [], { value, isTypo: chance === 0 });
  }),
);

type Place = readonly (string | number)[];

function placesOf(value: unknown, path: Place = []): Place[] {
  if (typeof value !== "object" || value === null) return [path];
  const below = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return [path, ...below.flatMap(([key, child]) => placesOf(child, [...path, key]))];
}

function replaceAt(
  value: unknown,
  [key, ...rest]: Place,
  by: { readonly value: unknown; readonly isTypo: boolean },
): unknown {
  if (key === undefined) return by.value;
  if (Array.isArray(value)) return value.map((item, index) => (index === key ? replaceAt(item, rest, by) : item));
  const entries = Object.entries(typeof value === "object" && value !== null ? value : {});
  return Object.fromEntries(
    entries.map(([name, child]) => {
      const isLast = name === key && rest.length === 0;
      return [isLast && by.isTypo ? `${name}s` : name, name === key ? replaceAt(child, rest, by) : child];
    }),
  );
}
