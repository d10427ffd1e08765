import { describe, expect, it } from "vitest";
import type { Ledger } from "#core/api/usage-ledger.ts";
import type { Statement } from "#core/api/usage-statement.ts";
import { newLedger } from "#core/ledger.ts";
import { judgeRetention, type RetentionTerms } from "#core/retention.ts";
import { DAY_MS, HOUR_MS, hourKey, parseHourKey } from "#core/time.ts";
import { retireStatements } from "../../services/meter/reporter/retention.ts";
import { MeterWorld, RESOURCE, START_MS } from "./meter-world.ts";

const BIRTH = { offerResourceId: RESOURCE, mode: "Marketplace", planId: "starter", catalogueDigest: "d" } as const;
const LEDGER: Ledger = newLedger({ ...BIRTH, nowMs: START_MS, term: 1 });
const RESERVATION = { hour: "2026112208", planId: "starter", quantity: "1", divisor: "1" };

function statement(hour: string, part: Partial<Statement> = {}): Statement {
  return {
    intent: {
      offerResourceId: RESOURCE,
      hour,
      effectiveStartTime: new Date(parseHourKey(hour)).toISOString(),
      dimension: "tool_action",
      planId: "starter",
      quantity: "1",
      unit: "action",
      divisor: "1",
      baseUnits: "1",
      agents: "shop/orders",
      catalogueDigest: "d",
      shares: [{ agent: "shop/orders", attributedHour: hour, baseUnits: "1" }],
    },
    state: "Accepted",
    attempts: { count: 1, first: [], last: [] },
    outcome: {
      state: "Accepted",
      acceptedQuantity: "1",
      acceptedBaseUnits: "1",
      adjustmentBaseUnits: "0",
      resolvedBy: "Answer",
      at: new Date(parseHourKey(hour) + HOUR_MS).toISOString(),
    },
    ...part,
  };
}

const account = (dimension: string): Ledger["accounts"][number] => ({
  dimension,
  from: dimension,
  divisor: "1",
  dueClosed: "0",
  periods: [],
  segments: [],
  acceptedBefore: "0",
  acceptedDays: [],
  reservations: [RESERVATION],
  dropped: "0",
  backlog: "0",
  usualHour: "0",
});

describe("judgeRetention()", () => {
  const OLD_MS = parseHourKey("2026112208") + 45 * DAY_MS;
  const released = { ...LEDGER, exportedMonths: ["2026-11"] };
  const { outcome: _, ...open } = statement("2026112208");
  type Part = { nowMs?: number; terms?: RetentionTerms; statement?: Statement };
  const cases: readonly (readonly [string, Ledger, Part, string])[] = [
    ["old, its month released", released, {}, "Delete"],
    ["a moment too young", released, { nowMs: OLD_MS - 1 }, "Keep"],
    ["old, its month not released", LEDGER, {}, "AwaitsExport"],
    ["old, another month released", { ...LEDGER, exportedMonths: ["2026-10", "2026-12"] }, {}, "AwaitsExport"],
    ["old, no export demanded", LEDGER, { terms: { days: 45, needsExport: false } }, "Delete"],
    ["old, its reservation still open", { ...released, accounts: [account("tool_action")] }, {}, "Keep"],
    ["old, another dimension's reservation open", { ...released, accounts: [account("chats")] }, {}, "Delete"],
    ["old, without an outcome", released, { statement: open }, "Keep"],
  ];
  it.each(cases)("%s", (_what, ledger, part, expected) => {
    const at = { terms: { days: 45, needsExport: true }, nowMs: OLD_MS, ...part };
    expect(judgeRetention(part.statement ?? statement("2026112208"), ledger, at)).toBe(expected);
  });
});

describe("retireStatements()", () => {
  async function worldWith(count: number): Promise<MeterWorld> {
    const world = new MeterWorld();
    const { books } = world.desk();
    for (let index = 0; index < count; index += 1)
      await books.createStatement(statement(hourKey(START_MS + index * HOUR_MS)));
    world.nowMs = START_MS + 60 * DAY_MS;
    return world;
  }

  it("deletes the oldest first, a part per cycle, and says how many wait for an export", async () => {
    const world = await worldWith(300);
    const desk = world.desk();
    await retireStatements(desk, LEDGER);
    expect([world.statements.size, desk.memory.retention.awaitingExport]).toEqual([300, 300]);
    // The ledger says that the month was released: no need to wait for the next look.
    const released = { ...LEDGER, exportedMonths: ["2026-11"] };
    await retireStatements(desk, released);
    expect([world.statements.size, desk.memory.retention.awaitingExport]).toEqual([200, 92]);
    const left = [...world.statements.values()].map(({ value }) => value.intent.hour).toSorted();
    expect(left[0]).toBe(hourKey(START_MS + 100 * HOUR_MS));
    await retireStatements(desk, released);
    await retireStatements(desk, released);
    expect(world.statements.size).toBe(92);
  });

  it("looks at everything once an hour", async () => {
    const world = await worldWith(3);
    let lists = 0;
    world.onCall = (call) => void (lists += call === "listStatements" ? 1 : 0);
    const desk = world.desk();
    for (let cycle = 0; cycle < 5; cycle += 1) await retireStatements(desk, LEDGER);
    expect(lists).toBe(1);
    world.advance(HOUR_MS);
    await retireStatements(desk, LEDGER);
    expect(lists).toBe(2);
  });
});
