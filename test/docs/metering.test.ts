import { execFile } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { PROBLEM_REASONS } from "#core/api/usage-ledger.ts";
import { outcomeSchema, type Statement } from "#core/api/usage-statement.ts";
import { CSV_HEADER, toCsv } from "#core/export.ts";
import { catalogueSchema } from "#core/plan.ts";
import { BASE_DIMENSIONS, BILLING_PERIOD } from "#core/usage.ts";
import { defaultSwitches } from "../../services/emulator/switches.ts";
import { runCommand } from "../../services/meter/reporter/commands/run.ts";
import { blockUnder, tableUnder } from "./markdown.ts";
import { type Happening, type Month, playMonth, type PodName } from "./month.ts";

const page = readFileSync("docs/metering.md", "utf8");

describe("the worked month of docs/metering.md", () => {
  let month: Month;
  beforeAll(async () => {
    const catalogue = catalogueSchema.parse(parse(blockUnder(page, "### What was sold", "yaml")));
    month = await playMonth(catalogue, tableUnder(page, "### What happened").map(toHappening));
  });

  it("has the receipts that the reporter writes", () => {
    // Thirty of the daily fees look the same; the day of the change is the one to see.
    const shown = month.statements.filter(
      ({ intent }) => intent.dimension !== "platform_day" || intent.hour.startsWith("20261116"),
    );
    expect(tableUnder(page, "### The receipts")).toEqual(shown.map(toReceiptRow));
  });

  it("has the receipt that the export writes, and the export sums to what Azure booked", () => {
    const lines = month.statements.flatMap((statement) => toCsv(statement).trim().split("\r\n"));
    const shown = blockUnder(page, "### The invoice", "csv").trim().split("\n");
    const shownReceipt = lines.filter((line) => line.includes(",2026110514,conversations,"));
    expect(shown).toEqual([CSV_HEADER.trim(), ...shownReceipt.map((line) => line.replace(/,id-\d+,/, ",…,"))]);
    const sums = new Map<string, number>();
    for (const [kind, , dimension, plan, , quantity] of lines.map((line) => line.split(",")))
      if (kind === "Event")
        sums.set(`${plan} ${dimension}`, (sums.get(`${plan} ${dimension}`) ?? 0) + Number(quantity));
    expect(sums).toEqual(month.booked);
  });

  it("has the invoice that follows from what Azure booked", () => {
    const prices = new Map(
      tableUnder(page, "### The prices").map(([plan, dimension, price = ""]) => [`${plan} ${dimension}`, price]),
    );
    let totalCents = 0;
    const lines = [...month.booked].map(([sold, units]) => {
      const price = prices.get(sold) ?? "";
      const cents = units * Math.round(Number(price.replace("$", "")) * 100);
      totalCents += cents;
      return [...sold.split(" "), units.toLocaleString("en"), price, dollars(cents)];
    });
    const total = ["total", "", "", "", dollars(totalCents)];
    expect(tableUnder(page, "### The invoice")).toEqual([...lines.toSorted(byPlan), total]);
  });
});

describe("docs/metering.md", () => {
  it("names files that exist", () => {
    const named = [...page.matchAll(/`((?:services|operator|test|docs|charts|scripts)\/[\w./-]+\.\w+)`/g)];
    expect(named.length).toBeGreaterThan(30);
    expect(named.map(([, file = ""]) => file).filter((file) => !existsSync(file))).toEqual([]);
  });

  it("names tests by the words that they have", () => {
    const named = [...page.matchAll(/`((?:test|services)\/[\w./-]+\.test\.ts)`:((?:\s+(?:and )?"[^"]+")+)/g)].flatMap(
      ([, file = "", words = ""]) => [...words.matchAll(/"([^"]+)"/g)].map(([, text = ""]) => ({ file, text })),
    );
    expect(named.length).toBeGreaterThan(20);
    const isThere = ({ file, text }: { file: string; text: string }): boolean =>
      readFileSync(file, "utf8").includes(text.replaceAll(/\s+/g, " "));
    expect(named.filter((one) => !isThere(one))).toEqual([]);
  });

  it.each(Array.from({ length: 10 }, (_, index) => `R${index + 1}`))("%s stands in the code under its name", (rule) => {
    const code = globSync("services/{core,meter}/**/*.ts").filter((file) => !file.endsWith(".test.ts"));
    const named = code.filter((file) => new RegExp(`\\b${rule}\\b`).test(readFileSync(file, "utf8")));
    const section = page.split(`\n### ${rule} `)[1]?.split("\n### ")[0] ?? "";
    expect(named.some((file) => section.includes(file))).toBe(true);
  });

  it("defines every invariant that the proofs name", () => {
    const laws = globSync("test/**/*.ts").flatMap((file) => readFileSync(file, "utf8").match(/\bI\d{1,2}\b/g) ?? []);
    const named = [...new Set(laws)];
    expect(named.length).toBeGreaterThan(8);
    expect(named.filter((law) => !page.includes(`**${law}**`))).toEqual([]);
  });

  it("explains every base dimension and state of a receipt, and which fault leads to which problem", () => {
    const cells = (heading: string): string[] => tableUnder(page, heading).map(([first = ""]) => first);
    expect(cells("## Dimensions")).toEqual([...BASE_DIMENSIONS, BILLING_PERIOD]);
    const ends = outcomeSchema.shape.state.options;
    expect(cells("### What a receipt says").toSorted()).toEqual(
      ["Planned", "Retrying", "Parked", "Expired", ...ends].toSorted(),
    );
    const faults = tableUnder(page, "## What can go wrong").flat().join(" ");
    expect(PROBLEM_REASONS.filter((reason) => !faults.includes(reason))).toEqual([]);
  });

  it("shows commands that the reporter understands", async () => {
    const block = blockUnder(page, "## Commands", "sh").replaceAll(/ > \S+$/gm, "");
    // The shell takes the lines apart; what stands behind reporter.js goes to the reporter's own reader.
    const script = `kubectl() { for word; do printf '%s\\t' "$word"; done; echo; }\n${block}`;
    const { stdout } = await promisify(execFile)("sh", ["-eu", "-c", script]);
    const commands = stdout
      .trim()
      .split("\n")
      .map((line) => line.trim().split("\t"));
    expect(commands.map((words) => words[words.indexOf("reporter.js") + 1])).toEqual([
      "export",
      "export",
      "settle",
      "unpark",
    ]);
    for (const words of commands) {
      const remarks: string[] = [];
      const open = (): Promise<never> => Promise.reject(new Error("understood"));
      const ran = runCommand(words.slice(words.indexOf("reporter.js") + 1), (text) => remarks.push(text), open);
      await expect(ran, remarks.join("\n")).rejects.toThrow("understood");
    }
  });

  it("names switches of the emulator where it says what is unconfirmed", () => {
    const switches = tableUnder(page, "## Unconfirmed about the service").flatMap(([, cell = ""]) => cell.split(", "));
    expect(switches.length).toBeGreaterThan(8);
    expect(switches.filter((name) => !Object.keys(defaultSwitches).includes(name))).toEqual([]);
  });
});

describe("what is sold", () => {
  it("is configuration alone: no code knows a dimension of the catalogue that is not counted by the platform", () => {
    const catalogue = catalogueSchema.parse(parse(readFileSync("charts/supercargo/files/catalogue.yaml", "utf8")));
    const base = new Set<string>(BASE_DIMENSIONS);
    const sold = catalogue.dimensions.map(({ id }) => id).filter((id) => !base.has(id));
    expect(sold).toEqual(expect.arrayContaining(["tokens_1k_in", "pod_hour", "documents_analyzed"]));
    const code = globSync(["services/{core,runtime,gateway,orchestrator,meter}/**/*.ts", "operator/**/*.ts"]).filter(
      (file) => !file.endsWith(".test.ts"),
    );
    expect(code.length).toBeGreaterThan(150);
    const knowing = code.filter((file) => sold.some((id) => readFileSync(file, "utf8").includes(`"${id}"`)));
    expect(knowing).toEqual([]);
  });
});

function toHappening([when = "", who = "", what = "", amount = ""]: readonly string[]): Happening {
  const atMs = Date.parse(`${when.replace(" Nov ", " Nov 2026 ")} UTC`);
  if (what === "answer lost") return { atMs, kind: "loseAnswer" };
  if (what.startsWith("buys ")) return { atMs, kind: "buy", planId: what.slice(5) };
  const pod: PodName = who === "orders" ? "orders" : "refunds";
  if (what === "cut off") return { atMs, kind: "cutOff", pod };
  if (what === "back") return { atMs, kind: "isBack", pod };
  return { atMs, kind: "use", pod, dimension: what, amount: BigInt(amount.replaceAll(",", "")) };
}

function toReceiptRow({ intent, state, outcome }: Statement): string[] {
  const slot = `${Number(intent.hour.slice(6, 8))} Nov ${intent.hour.slice(8)}:00`;
  const shares = intent.shares.map(({ agent, baseUnits }) => `${agent} ${Number(baseUnits).toLocaleString("en")}`);
  const units = (text: string): string => Number(text).toLocaleString("en");
  const accepted = units(outcome?.acceptedQuantity ?? "0");
  return [slot, intent.planId, intent.dimension, units(intent.quantity), state, accepted, shares.join(", ")];
}

function dollars(cents: number): string {
  return `$${(cents / 100).toLocaleString("en", { minimumFractionDigits: 2 })}`;
}

/** Team before Company, as they were bought; then by name. */
function byPlan(a: readonly string[], b: readonly string[]): number {
  return a[0] === b[0] ? String(a[1]).localeCompare(String(b[1])) : a[0] === "team" ? -1 : 1;
}
