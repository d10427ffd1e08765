import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Statement } from "./api/usage-statement.ts";
import { addDecimals, addToTotals, CSV_HEADER, type DimensionTotal, toCsv, toExportJson } from "./export.ts";

const STATEMENT: Statement = {
  intent: {
    offerResourceId: "plain",
    hour: "2026112208",
    effectiveStartTime: "2026-11-22T08:00:00.000Z",
    dimension: "tokens_1k_in",
    planId: "starter",
    quantity: "3",
    unit: "1K tokens",
    divisor: "1000",
    baseUnits: "3000",
    agents: "shop/orders +1",
    catalogueDigest: "d",
    shares: [
      { agent: "shop/orders", team: "sales", attributedHour: "2026112208", baseUnits: "2000" },
      { agent: "shop/refunds", attributedHour: "2026112208", baseUnits: "1000" },
    ],
  },
  state: "DuplicateOther",
  attempts: { count: 1, first: [], last: [] },
  outcome: {
    state: "DuplicateOther",
    acceptedQuantity: "2.5",
    acceptedBaseUnits: "2500",
    adjustmentBaseUnits: "-500",
    usageEventId: "e1",
    resolvedBy: "Answer",
    at: "2026-11-22T09:03:00.000Z",
  },
};
const { outcome: _, ...OPEN } = STATEMENT;

/** RFC 4180 as its grammar says it: a second reader, which shares nothing with the writer. */
function readCsv(text: string): string[][] {
  const fields = [...text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)];
  const rows: string[][] = [[]];
  for (const [, quoted, plain, end] of fields) {
    rows.at(-1)?.push(quoted === undefined ? (plain ?? "") : quoted.replaceAll('""', '"'));
    if (end === "\r\n") rows.push([]);
  }
  return rows.slice(0, -1);
}

describe("the CSV of a receipt", () => {
  it("is its event, its shares, and what was accepted beside them", () => {
    expect(`${CSV_HEADER}${toCsv(STATEMENT)}`.split("\r\n")).toEqual([
      "kind,hour,dimension,plan,state,quantity,unit,divisor,base_units,agent,team,attributed_hour,usage_event_id,resolved_by",
      "Event,2026112208,tokens_1k_in,starter,DuplicateOther,2.5,1K tokens,1000,2500,,,,e1,Answer",
      "Share,2026112208,tokens_1k_in,starter,DuplicateOther,,1K tokens,1000,2000,shop/orders,sales,2026112208,,",
      "Share,2026112208,tokens_1k_in,starter,DuplicateOther,,1K tokens,1000,1000,shop/refunds,,2026112208,,",
      "Adjustment,2026112208,tokens_1k_in,starter,DuplicateOther,,1K tokens,1000,-500,,,,,",
      "",
    ]);
  });

  it("is one row without a quantity while the slot is open", () => {
    expect(toCsv({ ...OPEN, state: "Retrying" })).toBe(
      "Event,2026112208,tokens_1k_in,starter,Retrying,,1K tokens,1000,,,,,,\r\n",
    );
  });

  it("reads back as it was, whatever a unit is called", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), (unit) => {
        const rows = readCsv(toCsv({ ...STATEMENT, intent: { ...STATEMENT.intent, unit } }));
        expect(rows.map((row) => [row.length, row[6]])).toEqual(Array.from({ length: 4 }, () => [14, unit]));
      }),
    );
    expect(readCsv('a,"b ""c"", d",\r\n')).toEqual([["a", 'b "c", d', ""]]);
  });
});

describe("the JSON of a receipt", () => {
  it("has the same numbers", () => {
    expect(toExportJson(STATEMENT)).toMatchObject({
      quantity: "2.5",
      base_units: "2500",
      adjustment_base_units: "-500",
      shares: [{ base_units: "2000", team: "sales" }, { base_units: "1000" }],
    });
    expect(toExportJson(OPEN)).toMatchObject({ quantity: null, base_units: null });
  });
});

describe("totals", () => {
  it("sum what was accepted, and say what is open", () => {
    const totals = new Map<string, DimensionTotal>();
    const outcome = STATEMENT.outcome && { ...STATEMENT.outcome, acceptedQuantity: "0", acceptedBaseUnits: "0" };
    for (const one of [STATEMENT, STATEMENT, OPEN, { ...OPEN, ...(outcome && { outcome }) }])
      totals.set(one.intent.dimension, addToTotals(totals, one));
    expect([...totals.values()]).toEqual([
      { dimension: "tokens_1k_in", unit: "1K tokens", events: 2, quantity: "5", base_units: "5000", open: 1 },
    ]);
  });

  it.each([
    ["0.1", "0.2", "0.3"],
    ["0.5", "0.5", "1"],
    ["9007199254740993", "0.000001", "9007199254740993.000001"],
    ["0", "0", "0"],
  ])("%s + %s = %s", (a, b, sum) => {
    expect(addDecimals(a, b)).toBe(sum);
  });
});
