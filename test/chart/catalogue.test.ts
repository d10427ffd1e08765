import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { catalogueSchema } from "#core/plan.ts";
import { readCatalogue } from "#runtime/catalogue.ts";
import { ConfigError } from "#runtime/config.ts";
import { randomCatalogue } from "../catalogue/random.ts";
import { VALID_CATALOGUES } from "../catalogue/valid.ts";
import { refusalOf, type Refuser, WRONG_CATALOGUES } from "../catalogue/wrong.ts";
import { flawsOf, refusalOfShipped } from "./catalogue-probe.ts";
import { MAJORS, refusal } from "./helm.ts";

const by = (...refusers: readonly Refuser[]) => WRONG_CATALOGUES.filter((wrong) => refusers.includes(wrong.by));

describe("values.catalogue", () => {
  it.each(by("Schema"))("is refused by the schema of the values for $what", async ({ value, lines }) => {
    const [three, four] = await Promise.all(MAJORS.map((major) => refusal({ major, values: { catalogue: value } })));
    for (const path of lines.map(pathOf)) {
      expect(three).toContain(`- ${path.join(".")}: `);
      expect(four).toContain(`at '/${path.join("/")}': `);
    }
  });

  it.each(by("Templates"))("is refused by the templates for $what", async (wrong) => {
    expect(sorted(await refusal({ values: { catalogue: wrong.value } }))).toContain(sorted(refusalOf(wrong)));
  });

  it.each(MAJORS)("may be empty, and then what the chart packages is sold, with Helm %i", async (major) => {
    expect(await refusal({ major, values: { catalogue: {} } })).toBe("");
  });

  it.each(VALID_CATALOGUES)("may sell $what", async ({ value }) => {
    expect(await refusal({ values: { catalogue: value } })).toBe("");
    expect(catalogueSchema.safeParse(value).success).toBe(true);
  });
});

describe("files/catalogue.yaml", () => {
  it.each(MAJORS)("is refused in the words of operator and reporter, with Helm %i", async (major) => {
    const wrong = by("Schema", "Templates");
    const flaws = await flawsOf(
      major,
      wrong.map(({ value }) => value),
    );
    expect(flaws.map((lines) => lines.map(sorted))).toEqual(wrong.map(({ lines }) => lines.map(sorted)));
  });

  it.each(MAJORS)("stops the publisher's own chart, with Helm %i", async (major) => {
    for (const wrong of [...by("Schema").slice(-1), ...by("Templates").slice(-1)])
      expect(await refusalOfShipped(major, wrong.text)).toContain(refusalOf(wrong));
    const list = await refusalOfShipped(major, "- pro\n");
    expect(list).toContain("Cannot use the catalogue:\n  - (root): must be an object of dimensions, plans: ");
    expect(await refusalOfShipped(major, "plans: [")).toContain(
      "(root): must be an object of dimensions, plans: error converting YAML",
    );
    expect(await refusalOfShipped(major, "")).toContain("  - dimensions: must be a list of 1 to 30 dimensions\n");
  });

  it.each(by("Reader"))(
    "can hold what Helm's YAML parser lets pass, and only operator and reporter refuse: $what",
    async ({ text }) => {
      expect(await refusalOfShipped(4, text)).toBe("");
      expect(() => readCatalogue(text)).toThrow("Cannot use the catalogue");
    },
  );
});

it("law: the chart says of any catalogue what the reporter says, line by line", async () => {
  const seed = Date.now() % 2 ** 31;
  const catalogues = fc.sample(randomCatalogue, { numRuns: 600, seed });
  const flaws = await flawsOf(4, catalogues);
  const wanted = catalogues.map((value) => problemsOf(JSON.stringify(value)));
  for (const [index, lines] of wanted.entries())
    expect(flaws[index]?.map(sorted), `seed ${seed}: ${JSON.stringify(catalogues[index])}`).toEqual(lines.map(sorted));
  const right = wanted.filter((lines) => lines.length === 0).length;
  expect(right, `seed ${seed}`).toBeGreaterThan(10);
  expect(wanted.length - right).toBeGreaterThan(200);
});

/** The reporter's lines. */
function problemsOf(text: string): readonly string[] {
  try {
    readCatalogue(text);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

/** Where the schema sees what a line says. It names an object that a key is missing in, not the key. */
function pathOf(line: string): string[] {
  const path = line.slice(0, line.indexOf(": ")).split(".");
  const keys = path[0] === "(root)" ? [] : path;
  return ["catalogue", ...(line.includes("current value is") ? keys : keys.slice(0, -1))];
}

/** Helm sorts the keys of an object that it shows, so only that there is one is compared. */
function sorted(text: string): string {
  return text.replaceAll(/current value is ([{[]).*/g, "current value is $1");
}
