import { describe, expect, it } from "vitest";
import { blankAccount } from "./accounts.ts";
import type { Ledger } from "./api/usage-ledger.ts";
import { addUnreceipted, toUnreceiptedCsv } from "./export.ts";
import { newLedger } from "./ledger.ts";
import { type DaySums, findUnreceipted } from "./unreceipted.ts";

const BIRTH = { offerResourceId: "r", mode: "Marketplace", planId: "p", catalogueDigest: "c", term: 1 } as const;

interface Book {
  /** Base units by day. */
  readonly days: Readonly<Record<string, string>>;
  readonly openHours?: readonly string[];
  readonly isUnconfirmed?: boolean;
}

/** A ledger of one dimension, sold in thousands. */
function book({ days, openHours = [], isUnconfirmed }: Book): Ledger {
  const { confirmation: _, ...ledger } = newLedger({ ...BIRTH, nowMs: 1 });
  const account = {
    ...blankAccount({ id: "d", from: "base", unit: "1K", divisor: "1000" }),
    acceptedDays: Object.entries(days).map(([day, baseUnits]) => ({ day, baseUnits })),
    reservations: openHours.map((hour) => ({ hour, planId: "p", quantity: "1", divisor: "1000" })),
  };
  return { ...ledger, accounts: [account], ...(isUnconfirmed ? { confirmation: {} } : {}) };
}

function find(before: Book, after: Book, receipts: Readonly<Record<string, bigint>>): [string, bigint, string][] {
  const sums: DaySums = new Map(Object.entries(receipts));
  const found = findUnreceipted("2026-11", { before: book(before), after: book(after) }, sums);
  return found.map(({ day, baseUnits, quantity }) => [day, baseUnits, quantity]);
}

describe("findUnreceipted()", () => {
  const known: Book = { days: { "20261124": "5000", "20261125": "1500" } };

  it.each<[string, Book, Book, Record<string, bigint>, [string, bigint, string][]]>([
    ["nothing where receipts tell all", known, known, { "d/20261124": 5000n, "d/20261125": 1500n }, []],
    ["a day without receipts", known, known, { "d/20261124": 5000n }, [["20261125", 1500n, "1.5"]]],
    [
      "less than the receipts",
      known,
      known,
      { "d/20261124": 5000n, "d/20261125": 3500n },
      [["20261125", -2000n, "-2"]],
    ],
    ["no day that changed meanwhile", { days: { "20261125": "500" } }, known, { "d/20261124": 5000n }, []],
    ["no day that came meanwhile", { days: {} }, known, {}, []],
    ["no day with an open slot", known, { ...known, openHours: ["2026112507"] }, { "d/20261124": 5000n }, []],
    ["nothing of an unconfirmed ledger", { ...known, isUnconfirmed: true }, known, {}, []],
    ["no day of another month", { days: { "20261031": "9" } }, { days: { "20261031": "9" } }, {}, []],
  ])("finds %s", (_what, before, after, receipts, expected) => {
    expect(find(before, after, receipts)).toEqual(expected);
  });

  it("has a line of its own, and is part of the total", () => {
    const one = { dimension: "d", day: "20261125", divisor: "1000", baseUnits: -500n, quantity: "-0.5" };
    expect(toUnreceiptedCsv(one)).toBe("Unreceipted,20261125,d,,,-0.5,,1000,-500,,,,,\r\n");
    const totals = { dimension: "d", unit: "1K", events: 1, quantity: "0.2", base_units: "200", open: 0 };
    expect(addUnreceipted(new Map([["d", totals]]), one)).toEqual({ ...totals, quantity: "-0.3", base_units: "-300" });
    expect(addUnreceipted(new Map(), one)).toMatchObject({ dimension: "d", quantity: "-0.5", events: 0 });
  });
});
