import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatMessageTime } from "./metering-answers.ts";
import { parseTime } from "./metering-event.ts";
import { listUsage } from "./metering-list.ts";
import { createMeteringState, listBooked, putResource, submitItem, type CallContext } from "./metering-store.ts";
import { defaultSwitches } from "./switches.ts";
import { HOUR_MS, NOW_MS, OWNER, RESOURCE_URI } from "./test-kit.ts";

const DIMENSIONS = ["a", "b"];

function createState() {
  const state = createMeteringState();
  const plans = ["p", "q"].map((planId) => ({ planId, dimensions: DIMENSIONS }));
  putResource(state, {
    resourceUri: RESOURCE_URI,
    resourceId: "id",
    ownerClientId: OWNER,
    offerId: "o",
    state: "Active",
    plans,
  });
  return state;
}

function callAt(nowMs: number): CallContext {
  return { callerClientId: OWNER, nowMs, switches: defaultSwitches, newId: () => "event" };
}

describe("the store, over any sequence of events and times", () => {
  const item = fc.record({
    /** Hours from the first instant, in sixths: around it and around 24 h before it, where slots meet and times run out. */
    at: fc.oneof(fc.integer({ min: -12, max: 9 }), fc.integer({ min: -150, max: -138 })),
    quantity: fc.integer({ min: -1, max: 5 }),
    dimension: fc.constantFrom(...DIMENSIONS, "c"),
    planId: fc.constantFrom("p", "q"),
    stepMs: fc.oneof(fc.constant(0), fc.nat(HOUR_MS)),
  });

  it("books a slot once, in time, with a good quantity, and never changes it", () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 60 }), (items) => {
        const state = createState();
        let nowMs = NOW_MS;
        let accepted = 0;
        let total = 0;
        for (const { at, stepMs, ...rest } of items) {
          nowMs += stepMs;
          const effectiveStartTime = new Date(NOW_MS + (at * HOUR_MS) / 6).toISOString();
          const before = JSON.stringify(listBooked(state));
          const verdict = submitItem(state, { ...rest, effectiveStartTime, resourceUri: RESOURCE_URI }, callAt(nowMs));
          if (verdict.status === "Accepted") {
            accepted += 1;
            total += rest.quantity;
            expect(nowMs - verdict.booked.effectiveMs).toBeGreaterThanOrEqual(0);
            expect(nowMs - verdict.booked.effectiveMs).toBeLessThanOrEqual(24 * HOUR_MS);
          } else expect(JSON.stringify(listBooked(state))).toBe(before);
        }
        const booked = listBooked(state);
        const slots = new Set(booked.map((event) => `${Math.floor(event.effectiveMs / HOUR_MS)} ${event.dimension}`));
        expect([booked.length, slots.size]).toEqual([accepted, accepted]);
        expect(booked.every((event) => event.quantity > 0 && DIMENSIONS.includes(event.dimension))).toBe(true);
        const rows = listUsage(state, { startMs: 0 }, callAt(nowMs));
        expect(rows.reduce((sum, row) => sum + Number(row["submittedQuantity"]), 0)).toBe(total);
      }),
      { numRuns: 300 },
    );
  });
});

describe("parseTime()", () => {
  const base = Date.parse("2026-11-22T08:00:00Z");
  it.each([
    ["2026-11-22T08:00:00Z", base, base],
    ["2026-11-22T08:00:00.1234567Z", base + 123, base + 123],
    ["2026-11-22T08:00:00", undefined, base],
    ["2026-11-22 08:00", undefined, base],
    ["2026-11-22T09:00:00+01:00", undefined, base],
    ["2026-11-22T08:00:00z", undefined, base],
    ["2026-13-22T08:00:00Z", undefined, undefined],
    ["22/11/2026 08:00:00", undefined, undefined],
    ["", undefined, undefined],
  ])("%s", (text, strict, lenient) => {
    expect([parseTime(text, "Strict"), parseTime(text, "Lenient")]).toEqual([strict, lenient]);
  });
});

describe("formatMessageTime()", () => {
  it("has up to seven fractional digits without trailing zeros, and names the millisecond", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000_000 }), (ms) => {
        const text = formatMessageTime(ms);
        expect(text).toMatch(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{0,6}[1-9])?Z$/);
        expect(Date.parse(text)).toBe(ms);
      }),
    );
  });
});
