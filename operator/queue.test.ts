import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFakeClock } from "../test/fakes/clock.ts";
import { createQueue, type Lane } from "./queue.ts";

describe("createQueue()", () => {
  it("gives a key out once, however often it was added", async () => {
    const queue = createQueue(createFakeClock());
    for (let count = 0; count < 3; count += 1) queue.add("a", "children");
    expect(queue.size()).toBe(1);
    expect(await queue.take()).toBe("a");
    expect(queue.size()).toBe(0);
  });

  it("gives a key out again when it was added while being worked on, and not before it is done", async () => {
    const queue = createQueue(createFakeClock());
    queue.add("a", "people");
    await queue.take();
    queue.add("a", "children");
    expect(queue.size()).toBe(0);
    queue.done("a");
    expect(await queue.take()).toBe("a");
  });

  it("serves edits of people first, then children, then resyncs, and moves a waiting key forward", async () => {
    const queue = createQueue(createFakeClock());
    queue.add("resync", "resync");
    queue.add("child", "children");
    queue.add("person", "people");
    queue.add("resync", "people");
    expect([await queue.take(), await queue.take(), await queue.take()]).toEqual(["person", "resync", "child"]);
  });

  it("doubles the wait of a key that keeps failing, up to 1000 s, and forgets it when told", async () => {
    const clock = createFakeClock();
    const queue = createQueue(clock);
    const waits: number[] = [];
    for (let failure = 0; failure < 20; failure += 1) {
      const startedMs = clock.monotonic();
      queue.addRateLimited("a");
      const taken = queue.take();
      await clock.advance(1_000_000);
      expect(await taken).toBe("a");
      waits.push(clock.monotonic() - startedMs);
      queue.done("a");
    }
    queue.forget("a");
    queue.addRateLimited("a");
    await clock.advance(4);
    expect(queue.size()).toBe(0);
    await clock.advance(1);
    expect(queue.size()).toBe(1);
  });

  it("spreads retries of many keys to 10 per second after a burst of 100", async () => {
    const clock = createFakeClock();
    const queue = createQueue(clock);
    for (let key = 0; key < 150; key += 1) queue.addRateLimited(`key-${key}`);
    await clock.advance(10);
    expect(queue.size()).toBe(100);
    await clock.advance(1_000);
    expect(queue.size()).toBe(110);
    await clock.advance(4_000);
    expect(queue.size()).toBe(150);
  });

  it("keeps the nearer of two times for one key", async () => {
    const clock = createFakeClock();
    const queue = createQueue(clock);
    queue.addAfter("a", 60_000);
    queue.addAfter("a", 1_000);
    queue.addAfter("a", 30_000);
    await clock.advance(1_000);
    expect(queue.size()).toBe(1);
    expect(clock.pending()).toBe(0);
  });

  it("gives out nothing once closed, and lets waiting takers go", async () => {
    const clock = createFakeClock();
    const queue = createQueue(clock);
    const waiting = queue.take();
    queue.addAfter("a", 1_000);
    queue.close();
    queue.add("b", "people");
    expect(await waiting).toBeUndefined();
    expect(await queue.take()).toBeUndefined();
    expect(clock.pending()).toBe(0);
  });

  it("law: no key is lost, none is worked on by two at a time, whatever happens in between", async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("add" as const),
        key: fc.nat(4),
        lane: fc.constantFrom<Lane>("people", "children", "resync"),
      }),
      fc.record({ kind: fc.constant("take" as const) }),
      fc.record({ kind: fc.constant("done" as const), pick: fc.nat(4) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const queue = createQueue(createFakeClock());
        const working = new Set<string>();
        const dirty = new Set<string>();
        for (const now of steps) {
          if (now.kind === "add") {
            queue.add(String(now.key), now.lane);
            dirty.add(String(now.key));
          } else if (now.kind === "take" && queue.size() > 0) {
            const key = String(await queue.take());
            expect(working.has(key)).toBe(false);
            expect(dirty.delete(key)).toBe(true);
            working.add(key);
          } else if (now.kind === "done") {
            const key = [...working][now.pick];
            if (key !== undefined && working.delete(key)) queue.done(key);
          }
          expect(queue.size()).toBe([...dirty].filter((key) => !working.has(key)).length);
        }
      }),
      { numRuns: 300 },
    );
  });
});
