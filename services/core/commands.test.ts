import { describe, expect, it } from "vitest";
import { settleByCommand, unparkDimension } from "./commands.ts";
import { closeHour } from "./close-hour.ts";
import { openSlots, parkDimension } from "./ledger.ts";
import { catalogueSchema } from "./plan.ts";
import { rebuildLedger } from "./reconcile.ts";
import { toStatement } from "./statement.ts";
import { HOUR_MS, parseHourKey } from "./time.ts";

const HOUR = "2026112208";
const CATALOGUE = catalogueSchema.parse({
  dimensions: [{ id: "d", from: "base", unit: "u", divisor: "10" }],
  plans: [{ id: "p", displayName: "P", billing: "Custom", dimensions: [{ id: "d" }] }],
});

function booked() {
  const birth = { offerResourceId: "r", mode: "Marketplace" as const, planId: "p", catalogueDigest: "", term: 1 };
  const born = rebuildLedger(
    { ...birth, nowMs: parseHourKey(HOUR), catalogue: CATALOGUE, plan: CATALOGUE.plans[0] },
    [],
  );
  const pod = {
    uid: "p",
    agent: "n/p",
    createdMs: 0,
    reportedMs: 0,
    final: true,
    totals: new Map([["base", 25n]]),
    boundaries: [],
  };
  const nowMs = parseHourKey(HOUR) + HOUR_MS + 1000;
  const input = { hour: HOUR, pods: [pod], catalogue: CATALOGUE, catalogueDigest: "", lateUsage: "Carry" as const };
  const ledger = closeHour(born, { ...input, nowMs, stored: new Set() });
  const [slot] = openSlots(ledger);
  if (!slot) throw new Error("no slot");
  return { ledger, statement: toStatement(ledger, slot, CATALOGUE) };
}

describe("settleByCommand()", () => {
  const deadMs = parseHourKey(HOUR) + 26 * HOUR_MS + 1;
  const person = { by: "ada", reason: "ticket 7", nowMs: deadMs };

  it("writes name and reason into the outcome, which adds up with the shares", () => {
    const { ledger, statement } = booked();
    const settled = settleByCommand(ledger, statement, { ...person, as: "Billed" });
    expect(settled).toMatchObject({
      ok: true,
      value: {
        state: "Settled",
        outcome: {
          resolvedBy: "Command",
          acceptedQuantity: "2",
          acceptedBaseUnits: "20",
          adjustmentBaseUnits: "0",
          note: "Settled as billed by ada: ticket 7",
        },
      },
    });
  });

  it("takes back the whole intent when it was not billed", () => {
    const { ledger, statement } = booked();
    const settled = settleByCommand(ledger, statement, { ...person, as: "NotBilled" });
    expect(settled).toMatchObject({ value: { outcome: { acceptedBaseUnits: "0", adjustmentBaseUnits: "-20" } } });
  });

  it("lets a person insist while a request may still land", () => {
    const { ledger, statement } = booked();
    const command = { ...person, as: "NotBilled" as const, nowMs: deadMs - 2 };
    expect(settleByCommand(ledger, statement, command)).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/older than 26 h/),
    });
    expect(settleByCommand(ledger, statement, { ...command, insist: true })).toMatchObject({ ok: true });
  });

  it("refuses a slot that has an outcome, one that the ledger does not hold, and a command without a name", () => {
    const { ledger, statement } = booked();
    const settled = settleByCommand(ledger, statement, { ...person, as: "Billed" });
    const again = settled.ok ? settled.value : statement;
    const command = { ...person, as: "Billed" as const };
    expect(settleByCommand(ledger, again, command)).toMatchObject({
      problem: expect.stringMatching(/must have no outcome.*Settled/),
    });
    const empty = { ...ledger, accounts: ledger.accounts.map((account) => ({ ...account, reservations: [] })) };
    expect(settleByCommand(empty, statement, command)).toMatchObject({
      problem: expect.stringMatching(/the ledger must hold it open/),
    });
    expect(settleByCommand(ledger, statement, { ...command, by: " " })).toMatchObject({
      problem: expect.stringMatching(/name and reason/),
    });
  });
});

describe("unparkDimension()", () => {
  it("unparks what is parked, and names what could be when it is not", () => {
    const { ledger } = booked();
    const parking = { dimension: "d", hour: HOUR, planId: "p", reason: "InvalidDimension", message: "m", nowMs: 0 };
    const parked = parkDimension(ledger, parking);
    const order = { dimension: "d", by: "Ada", reason: "published again", nowMs: 0 };
    const done = unparkDimension(parked, order);
    expect(done.ok && done.value.accounts[0]?.parked).toBe(undefined);
    expect(done.ok && done.value.accounts[0]?.unparked).toEqual({
      by: "Ada",
      reason: "published again",
      at: "1970-01-01T00:00:00.000Z",
    });
    expect(unparkDimension(parked, { ...order, dimension: "x" })).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/\(d\): current value is x/),
    });
    expect(unparkDimension(ledger, order)).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/there is none/),
    });
  });
});
