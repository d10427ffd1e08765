import { describe, expect, it } from "vitest";
import type { Ledger } from "./api/usage-ledger.ts";
import { type AzureRow, compareDays, daysToCompare } from "./compare.ts";
import { acceptedOf } from "./ledger.ts";
import { catalogueSchema } from "./plan.ts";
import { rebuildLedger } from "./reconcile.ts";
import { parseHourKey } from "./time.ts";

const NOW_MS = parseHourKey("2026112500");
const CATALOGUE = catalogueSchema.parse({
  dimensions: [{ id: "d", from: "base", unit: "u", divisor: "10" }],
  plans: [{ id: "p", displayName: "P", billing: "Custom", dimensions: [{ id: "d" }] }],
});

function book(accepted: string, change: Partial<Ledger> = {}): Ledger {
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "", term: 1 };
  const at = { nowMs: parseHourKey("2026112208"), catalogue: CATALOGUE, plan: CATALOGUE.plans[0] };
  const ledger = rebuildLedger({ ...birth, ...at }, []);
  const acceptedDays = [
    { day: "20261122", baseUnits: accepted },
    { day: "20261123", baseUnits: accepted },
  ];
  return { ...ledger, ...change, accounts: ledger.accounts.map((account) => ({ ...account, acceptedDays })) };
}

function row(change: Partial<AzureRow>): AzureRow {
  return { day: "20261123", dimension: "d", quantity: "4", processed: "4", reconStatus: "Accepted", ...change };
}

describe("daysToCompare()", () => {
  it.each([
    ["D + 2 and, for what was late, D + 3", {}, ["20261122", "20261123"]],
    ["nothing twice a day", { comparedDay: "20261123" }, []],
    ["again on the next day", { comparedDay: "20261122" }, ["20261122", "20261123"]],
    ["no day before the ledger was born", { anchor: "2026-11-23T08:00:00Z" }, ["20261123"]],
    ["nothing of a ledger that is a day old", { anchor: "2026-11-24T08:00:00Z" }, []],
  ])("%s", (_what, change, expected) => {
    expect(daysToCompare(book("40", change), NOW_MS)).toEqual(expected);
  });
});

describe("compareDays()", () => {
  const compare = (rows: readonly AzureRow[], days = ["20261123"]): Ledger =>
    compareDays(book("40"), { days, rows, nowMs: NOW_MS });

  it.each<[string, readonly AzureRow[], readonly object[]]>([
    ["equal books", [row({})], []],
    ["two plans of one day", [row({ quantity: "1", processed: "1" }), row({ quantity: "3", processed: "3" })], []],
    ["not processed yet", [row({ processed: "0", reconStatus: "Submitted" })], []],
    ["a word that nobody knows", [row({ reconStatus: "DryRun" })], []],
    [
      "another quantity submitted",
      [row({ quantity: "5", processed: "5" })],
      [{ state: "Unequal", accepted: "4", submitted: "5" }],
    ],
    [
      "half of it processed",
      [row({ processed: "2", reconStatus: "Mismatch" })],
      [{ state: "Mismatch", processed: "2" }],
    ],
    ["rejected", [row({ processed: "0", reconStatus: "Rejected" })], [{ state: "Rejected" }]],
    ["called accepted, and less processed", [row({ processed: "3.5" })], [{ state: "Unequal", processed: "3.5" }]],
    ["nothing at Azure", [], [{ state: "Unequal", accepted: "4", submitted: "0", processed: "0" }]],
    [
      "rows of other days and dimensions only",
      [row({ day: "20261122" }), row({ dimension: "x" })],
      [{ submitted: "0" }],
    ],
  ])("%s", (_what, rows, expected) => {
    const ledger = compare(rows);
    expect(ledger.compared).toMatchObject(expected);
    expect(ledger.comparedDay).toBe("20261123");
    expect(ledger.accounts.map(acceptedOf)).toEqual([80n]);
  });

  it("calls unprocessed usage unequal on the third day", () => {
    const rows = [row({ day: "20261122", processed: "0", reconStatus: "Submitted" })];
    expect(compare(rows, ["20261122"]).compared).toMatchObject([{ day: "20261122", state: "Unequal" }]);
  });

  it("takes a finding back when the day is right at its second look, and forgets it after two weeks", () => {
    const entry = { day: "20261122", dimension: "d", state: "Unequal", accepted: "4", submitted: "5", processed: "0" };
    const compared = [{ ...entry, day: "20261110" }, { ...entry, day: "20261111" }, entry];
    const rows = [row({ day: "20261122" }), row({})];
    const ledger = compareDays(book("40", { compared }), { days: ["20261122", "20261123"], rows, nowMs: NOW_MS });
    expect(ledger.compared.map(({ day }) => day)).toEqual(["20261111"]);
  });

  it("keeps the newest eight", () => {
    const compared = [...Array(8).keys()].map((n) => ({
      day: `202611${12 + n}`,
      dimension: "d",
      state: "Unequal",
      accepted: "0",
      submitted: "1",
      processed: "1",
    }));
    const ledger = compareDays(book("40", { compared }), { days: ["20261123"], rows: [], nowMs: NOW_MS });
    expect(ledger.compared.map(({ day }) => day)).toEqual([...compared.slice(1).map(({ day }) => day), "20261123"]);
  });
});
