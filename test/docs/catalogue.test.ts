import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { catalogueSchema } from "#core/plan.ts";
import { readCatalogue } from "#runtime/catalogue.ts";
import { ensureHelm } from "../../scripts/tools/helm-and-kubectl.ts";
import { refusalOfShipped } from "../chart/catalogue-probe.ts";
import { MAJORS } from "../chart/helm.ts";
import { blockUnder, tableUnder } from "./markdown.ts";
import { type Happening, playMonth } from "./month.ts";

const page = readFileSync("docs/catalogue.md", "utf8");
const shipped = readFileSync("charts/supercargo/files/catalogue.yaml", "utf8");

describe("the first example of docs/catalogue.md", () => {
  it("is a catalogue that chart, operator and reporter take", async () => {
    const text = blockUnder(page, "## An example", "yaml");
    expect(readCatalogue(text).plans.map(({ id }) => id)).toEqual(["business"]);
    for (const major of MAJORS) expect(await refusalOfShipped(major, text)).toBe("");
  });

  it.each(MAJORS)("is refused as it says after the edit, with Helm %i", async (major) => {
    const block = blockUnder(page, "## An example", "sh");
    const folder = mkdtempSync(join(tmpdir(), "catalogue-"));
    cpSync("charts", join(folder, "charts"), { recursive: true });
    const PATH = `${dirname(await ensureHelm(major))}:/usr/bin:/bin`;
    const ran = promisify(execFile)("sh", ["-eu", "-c", block], { cwd: folder, env: { HOME: folder, PATH } });
    const shown = block.split("\n").flatMap((line) => (line.startsWith("# ") ? [line.slice(2)] : []));
    await expect(ran).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(shown.join("\n")) });
    rmSync(folder, { recursive: true });
  });
});

describe("the plans of the shipped catalogue", () => {
  const catalogue = readCatalogue(shipped);
  const rows = tableUnder(page, "## The plans of the shipped file");

  it("are all on the page, with the sentence that stands above them", () => {
    const above = [...shipped.matchAll(/^ {2}# (.*)\n {2}- id: (\S+)$/gm)].map(([, sentence = "", id = ""]) => [
      id,
      sentence.replace(/ \(The demo .*\)$/, ""),
    ]);
    expect(above.map(([id]) => id)).toEqual(catalogue.plans.map(({ id }) => id));
    expect(rows.map(([id, sentence]) => [id, sentence])).toEqual(above);
  });

  it("are of every billing model, and use every field", () => {
    expect([...new Set(catalogue.plans.map(({ billing }) => billing))]).toEqual([
      "Custom",
      "BYOL",
      "Predefined",
      "Free",
    ]);
    const fields = ["included", "upTo", "fee", "hard", "per: Month", "per: Year", "softPercent"];
    expect(fields.filter((field) => !shipped.includes(field))).toEqual([]);
  });

  it.each(rows)("%s: %s", async (id, _sentence, used = "", sent = "") => {
    const plans = catalogue.plans.filter((plan) => plan.id === id);
    const month = await playMonth({ ...catalogue, plans }, used.split(", ").map(toUse));
    const booked = [...month.booked].map(([key, units]) => `${units.toLocaleString("en")} ${key.split(" ")[1]}`);
    expect(booked.toSorted()).toEqual(sent === "nothing" ? [] : sent.split(", ").toSorted());
  });
});

describe("the tables of docs/catalogue.md", () => {
  const schema = nodeOf(z.toJSONSchema(catalogueSchema, { target: "draft-07", io: "input" }));
  const plan = itemsOf(schema, "plans");
  it.each([
    ["### Of the catalogue", schema],
    ["### Of a dimension", itemsOf(schema, "dimensions")],
    ["### Of a plan", plan],
    ["### Of a dimension in a plan", itemsOf(plan, "dimensions")],
  ])("%s: have every field, with the rule that a mistake is answered with", (heading, node) => {
    const rows = tableUnder(page, heading).map(([field, rule]) => [field, `must be ${rule}`]);
    expect(rows).toEqual(fieldsOf(node));
  });
});

interface SchemaNode {
  readonly errorMessage: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly items?: unknown;
}

function nodeOf(value: unknown): SchemaNode {
  const properties = z.record(z.string(), z.unknown()).default({});
  return z.object({ errorMessage: z.string(), properties, items: z.unknown().optional() }).parse(value);
}

function itemsOf(node: SchemaNode, key: string): SchemaNode {
  return nodeOf(nodeOf(node.properties[key]).items);
}

/** Path and rule of each key, and of the keys of objects below it; lists have a table of their own. */
function fieldsOf(node: SchemaNode, path = ""): string[][] {
  return Object.entries(node.properties).flatMap(([key, value]) => {
    const child = nodeOf(value);
    return [[`${path}${key}`, child.errorMessage], ...fieldsOf(child, `${path}${key}.`)];
  });
}

/** On the third of November, by one agent. */
function toUse(text: string): Happening {
  const [amount = "", dimension = ""] = text.split(" ");
  const atMs = Date.UTC(2026, 10, 3, 9, 20);
  return { atMs, kind: "use", pod: "orders", dimension, amount: BigInt(amount.replaceAll(",", "")) };
}
