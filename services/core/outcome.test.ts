import { describe, expect, it } from "vitest";
import { type AcceptedEvent, decideOutcome, decimalText, type PostAnswer, toBaseUnits } from "./outcome.ts";
import { HOUR_MS } from "./time.ts";

const SLOT_MS = Date.UTC(2026, 10, 22, 8);
const intent = { dimension: "tokens_1k_in", quantity: 5n, divisor: 1000n, slotStartMs: SLOT_MS };
const soon = { nowMs: SLOT_MS + 2 * HOUR_MS, ledgerAgeMs: 48 * HOUR_MS };

function answer(status: string, part: Partial<PostAnswer> = {}): PostAnswer {
  return { requestId: "r", httpStatus: 200, status, reasons: [], ...part };
}

function booked(quantity: number | undefined, part: AcceptedEvent = {}): Partial<PostAnswer> {
  return {
    acceptedMessage: {
      quantity,
      usageEventId: "u",
      resourceId: "g",
      dimension: "tokens_1k_in",
      effectiveStartTime: "2026-11-22T08:00:00Z",
      ...part,
    },
  };
}

describe("decideOutcome(): the outcome machine", () => {
  it("credits what an Accepted item echoes, and keeps both ids", () => {
    expect(
      decideOutcome(intent, answer("Accepted", { quantity: 5, usageEventId: "u", resourceId: "g" }), soon),
    ).toEqual({
      next: "credit",
      state: "Accepted",
      acceptedQuantity: "5",
      acceptedBaseUnits: 5000n,
      usageEventId: "u",
      usageResourceId: "g",
    });
    expect(decideOutcome(intent, answer("Accepted"), soon)).toMatchObject({ acceptedBaseUnits: 5000n });
  });

  it.each([
    { what: "the same quantity", quantity: 5, state: "DuplicateSame", base: 5000n, alarm: undefined },
    { what: "another quantity", quantity: 4, state: "DuplicateOther", base: 4000n, alarm: "ForeignWriter" },
    { what: "more than we meant", quantity: 7, state: "DuplicateOther", base: 7000n, alarm: "ForeignWriter" },
    { what: "a fraction, exactly", quantity: 1.5, state: "DuplicateOther", base: 1500n, alarm: "ForeignWriter" },
    { what: "a fraction, rounded up", quantity: 0.0001, state: "DuplicateOther", base: 1n, alarm: "ForeignWriter" },
  ])("a duplicate with $what is credited as Azure says", ({ quantity, state, base, alarm }) => {
    const verdict = decideOutcome(intent, answer("Duplicate", booked(quantity)), soon);
    expect(verdict).toMatchObject({ next: "credit", state, acceptedBaseUnits: base, usageEventId: "u" });
    expect("alarm" in verdict ? verdict.alarm : undefined).toBe(alarm);
  });

  it("takes the minutes of a booked event as the same slot, and the absence of a time too", () => {
    for (const effectiveStartTime of ["2026-11-22T08:59:59Z", undefined])
      expect(decideOutcome(intent, answer("Duplicate", booked(5, { effectiveStartTime })), soon).next).toBe("credit");
  });

  it.each([
    ["without the accepted event", {}],
    ["without a quantity", booked(undefined)],
    ["of another dimension", booked(5, { dimension: "other" })],
    ["of another hour", booked(5, { effectiveStartTime: "2026-11-22T09:00:00Z" })],
  ])("a duplicate %s is unknown, never success", (_what, part) => {
    expect(decideOutcome(intent, answer("Duplicate", part), soon)).toEqual({
      next: "retry",
      alarm: "UnclearDuplicate",
    });
  });

  it.each([
    ["Error", 200],
    ["Missing", 200],
    ["Unreadable", 200],
    ["BrandNewStatus", 200],
    ["NoAnswer", 0],
    ["Http500", 500],
    ["Http503", 503],
    ["Http429", 429],
    ["Http400", 400],
  ])("%s is retried without a page", (status, httpStatus) => {
    expect(decideOutcome(intent, answer(status, { httpStatus }), soon)).toEqual({ next: "retry" });
  });

  it.each([
    ["ResourceNotActive", 200],
    ["ResourceNotAuthorized", 200],
    ["Http401", 401],
    ["Http403", 403],
  ])("%s is retried with an alarm: the usage is owed", (status, httpStatus) => {
    expect(decideOutcome(intent, answer(status, { httpStatus }), soon)).toEqual({ next: "retry", alarm: "Refused" });
  });

  it.each(["BadArgument", "Error", "Expired", "ResourceNotFound"])(
    "`Invalid usage state.` under the status %s waits",
    (status) => {
      const reasons = ["Invalid usage state. (ResourceUri)"];
      expect(decideOutcome(intent, answer(status, { reasons }), soon)).toEqual({ next: "retry", alarm: "Refused" });
    },
  );

  it.each(["InvalidDimension", "InvalidQuantity", "BadArgument", "ResourceNotFound"])(
    "%s parks the dimension",
    (status) => {
      expect(decideOutcome(intent, answer(status, { reasons: ["why"] }), soon)).toEqual({
        next: "park",
        reason: status,
        message: "why",
      });
    },
  );

  it("holds ResourceNotFound while the ledger is young: Azure may not know the resource yet", () => {
    expect(decideOutcome(intent, answer("ResourceNotFound"), { ...soon, ledgerAgeMs: HOUR_MS }).next).toBe("retry");
  });

  it("believes Expired only when our clock agrees; younger, it is the clock that is wrong", () => {
    const at = (ageMs: number): unknown =>
      decideOutcome(intent, answer("Expired"), { ...soon, nowMs: SLOT_MS + ageMs });
    expect(at(24 * HOUR_MS)).toEqual({ next: "expire" });
    expect(at(23 * HOUR_MS)).toEqual({ next: "retry", alarm: "ClockFault" });
    expect(at(-HOUR_MS)).toEqual({ next: "retry", alarm: "ClockFault" });
  });
});

describe("quantities", () => {
  it.each([
    [5, "5"],
    [20.5, "20.5"],
    [0.1, "0.1"],
    [1e-7, "0.0000001"],
    [1e21, "1000000000000000000000"],
    [9_007_199_254_740_991, "9007199254740991"],
    [-1, "0"],
    [Number.NaN, "0"],
  ])("decimalText(%d) is %s", (value, text) => {
    expect(decimalText(value)).toBe(text);
  });

  it.each([
    ["5", 1n, 5n],
    ["20.5", 10n, 205n],
    ["0.1", 1n, 1n],
    ["0.3333", 3n, 1n],
    ["9007199254740991", 1000n, 999_999_999_999_999_999n],
  ])("toBaseUnits(%s, %d) is %d", (quantity, divisor, base) => {
    expect(toBaseUnits(quantity, divisor)).toBe(base);
  });
});
