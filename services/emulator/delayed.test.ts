import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { systemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/log.ts";
import { answerUsage, landDelayed } from "./metering-call.ts";
import { createMeteringState, listBooked, putResource, submitItem } from "./metering-store.ts";
import { hourStart, NOW_MS, OWNER, SEED, usageEvent } from "./test-kit.ts";
import { createWorld } from "./world.ts";

const log = createLogger({ component: "emulator", level: "silent" });

/** One request: what it sends, when it lands, and how far the clock then goes. Few slots, so that they meet. */
const step = fc.record({
  hoursAgo: fc.integer({ min: 0, max: 25 }),
  quantity: fc.integer({ min: 1, max: 9 }),
  afterSeconds: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 7200 })),
  advanceSeconds: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 5400 })),
});

const booked = (state: Parameters<typeof listBooked>[0]) =>
  listBooked(state)
    .map(({ effectiveStartTime, quantity, bookedMs }) => ({ effectiveStartTime, quantity, bookedMs }))
    .sort((a, b) => a.effectiveStartTime.localeCompare(b.effectiveStartTime));

describe("delayed requests", () => {
  it("are booked as if each had come at its own instant, whenever somebody looks", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        let nowMs = NOW_MS;
        const clock = { ...systemClock, now: () => nowMs };
        const world = await createWorld({
          seed: SEED,
          keys: { seed: "s" },
          offsetSeconds: 0,
          eventsMax: 1000,
          clock,
          log,
        });
        const expected = createMeteringState();
        for (const resource of world.metering.resources.values()) putResource(expected, resource);
        const arrivals: { atMs: number; direct: number; order: number; body: unknown }[] = [];
        for (const [order, { hoursAgo, quantity, afterSeconds, advanceSeconds }] of steps.entries()) {
          const body = usageEvent({ quantity, effectiveStartTime: hourStart(hoursAgo) });
          const atMs = nowMs + afterSeconds * 1000;
          arrivals.push({ atMs, direct: afterSeconds === 0 ? 1 : 0, order, body });
          landDelayed(world);
          const call = { callerClientId: OWNER, nowMs, switches: world.switches, newId: world.newId };
          const route = "usageEvent";
          if (afterSeconds === 0) answerUsage(world, { route, body, call, faults: { find: () => undefined } });
          else {
            const landsAt = new Date(atMs).toISOString();
            world.delayed.hold({ id: String(order), route, callerClientId: OWNER, landsAt, body });
          }
          nowMs += advanceSeconds * 1000;
        }
        nowMs += 7_200_000;
        landDelayed(world);
        const inTime = arrivals.toSorted((a, b) => a.atMs - b.atMs || a.direct - b.direct || a.order - b.order);
        for (const { atMs, body } of inTime) {
          const call = { callerClientId: OWNER, nowMs: atMs, switches: world.switches, newId: () => "id" };
          submitItem(expected, body, call);
        }
        expect(booked(world.metering)).toEqual(booked(expected));
        expect(world.delayed.waiting()).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  it("beyond 256 on their way are lost, as any dropped request", async () => {
    const world = await createWorld({
      seed: SEED,
      keys: {},
      offsetSeconds: 0,
      eventsMax: 1000,
      clock: systemClock,
      log,
    });
    const request = { route: "usageEvent", callerClientId: OWNER, landsAt: "2100-01-01T00:00:00Z", body: {} } as const;
    const held = Array.from({ length: 257 }, (_, id) => world.delayed.hold({ ...request, id: String(id) }));
    expect(held.lastIndexOf(true)).toBe(255);
    expect(held[256]).toBe(false);
  });
});
