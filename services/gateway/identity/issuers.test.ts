import { describe, expect, it } from "vitest";
import { createLogger } from "#runtime/log.ts";
import { createFakeClock, type FakeClock } from "../../../test/fakes/clock.ts";
import { createIssuers, type IssuerKeys, type Issuers } from "./issuers.ts";

const SOURCE = { issuer: "https://id.example.com" };
const MINUTE_MS = 60_000;

interface Desk {
  readonly clock: FakeClock;
  readonly issuers: Issuers;
  readonly keys: IssuerKeys;
  /** How often the issuer was asked. */
  readonly looks: () => number;
  /** How the looks ended. */
  readonly outcomes: readonly string[];
  /** What it answers from now on: a key id, `down`, or `silent`. */
  say(answer: string): Promise<void>;
}

/** An issuer that is watched, with a client that answers what the test says. */
async function openDesk(first: string): Promise<Desk> {
  const clock = createFakeClock();
  let answer = first;
  let looks = 0;
  const outcomes: string[] = [];
  const issuers = createIssuers({
    clock,
    random: () => 0.5,
    note: (issuer, outcome) => outcomes.push(`${issuer} ${outcome}`),
    log: createLogger({ component: "test", level: "silent" }),
    client: {
      close: async () => undefined,
      async fetch(_, signal) {
        looks += 1;
        if (answer === "down") throw new Error("down");
        if (answer === "silent")
          return await new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => reject(new Error("aborted")));
          });
        return [{ kty: "EC", kid: answer }];
      },
    },
  });
  issuers.retain([SOURCE]);
  const keys = issuers.keysOf(SOURCE);
  if (keys === undefined) throw new Error("It must be watched");
  await clock.advance(0);
  return {
    clock,
    issuers,
    keys,
    looks: () => looks,
    outcomes,
    async say(next) {
      answer = next;
      await clock.advance(0);
    },
  };
}

describe("createIssuers()", () => {
  it("tells how each look ended and how old the keys are, of the issuers that are named", async () => {
    const { issuers, clock, outcomes, say } = await openDesk("one");
    expect([outcomes, issuers.ages()]).toEqual([[`${SOURCE.issuer} ok`], [{ issuer: SOURCE.issuer, ageMs: 0 }]]);
    await say("down");
    await clock.advance(30 * MINUTE_MS);
    expect(outcomes[1]).toBe(`${SOURCE.issuer} failed`);
    expect(issuers.ages()).toEqual([{ issuer: SOURCE.issuer, ageMs: 30 * MINUTE_MS }]);
    await say("two");
    await clock.advance(2 * MINUTE_MS);
    expect(outcomes.at(-1)).toBe(`${SOURCE.issuer} ok`);
    expect(issuers.ages()[0]?.ageMs).toBeLessThan(2 * MINUTE_MS);
    issuers.retain([]);
    expect(issuers.ages()).toEqual([]);
  });

  it("never had the keys of an issuer that is down: their age is the time since it was looked for", async () => {
    const { issuers, clock } = await openDesk("down");
    await clock.advance(31 * MINUTE_MS);
    expect(issuers.ages()).toEqual([{ issuer: SOURCE.issuer, ageMs: 31 * MINUTE_MS }]);
  });

  it("has the keys at once, and looks again every ten minutes", async () => {
    const { keys, clock, looks } = await openDesk("one");
    const first = keys.current();
    expect(first).toBeDefined();
    await clock.advance(10 * MINUTE_MS);
    expect(looks()).toBe(2);
    // The same keys are the same object: nothing that was verified by them is verified again.
    expect(keys.current()).toBe(first);
  });

  it("looks for an unknown key at once, and then at most once a minute", async () => {
    const { keys, clock, looks, say } = await openDesk("one");
    const first = keys.current();
    await say("two");
    const renewed = await keys.renew();
    expect(renewed).not.toBe(first);
    expect(keys.current()).toBe(renewed);
    for (let ask = 0; ask < 100; ask += 1) await keys.renew();
    expect(looks()).toBe(2);
    await clock.advance(MINUTE_MS);
    await keys.renew();
    expect(looks()).toBe(3);
  });

  it("keeps the last good keys while the issuer is down, however long", async () => {
    const { keys, clock, looks, say } = await openDesk("one");
    const first = keys.current();
    await say("down");
    await clock.advance(24 * 60 * MINUTE_MS);
    expect(keys.current()).toBe(first);
    expect(keys.isStale()).toBe(true);
    // At most once a minute: a second of rest and up to a minute of jitter, here the half of it.
    expect(looks()).toBeLessThan(24 * 60 * 2);
    await say("one");
    await clock.advance(2 * MINUTE_MS);
    expect(keys.isStale()).toBe(false);
    expect(keys.current()).toBe(first);
  });

  it("has no keys while there never were any, and takes the first that come", async () => {
    const { keys, clock, say } = await openDesk("down");
    expect(keys.current()).toBeUndefined();
    expect(await keys.renew()).toBeUndefined();
    await say("one");
    await clock.advance(2 * MINUTE_MS);
    expect(keys.current()).toBeDefined();
  });

  it("forgets a key that the issuer withdrew", async () => {
    const { keys, clock, say } = await openDesk("one");
    const first = keys.current();
    await say("two");
    await clock.advance(10 * MINUTE_MS);
    expect(keys.current()).not.toBe(first);
  });

  it("lets no more than 32 requests wait for a silent issuer, and none for longer than 10 s", async () => {
    const { keys, clock, looks, say } = await openDesk("one");
    await say("silent");
    let waiting = 0;
    const asks = Array.from({ length: 100 }, async () => {
      waiting += 1;
      await keys.renew();
      waiting -= 1;
    });
    await clock.advance(0);
    expect(waiting).toBe(32);
    expect(looks()).toBe(2);
    await clock.advance(10_000);
    await Promise.all(asks);
    expect(waiting).toBe(0);
    expect(keys.current()).toBeDefined();
  });

  it.each(["one", "down", "silent"])(
    "waits at its start for the first answer, be it %s, and never again",
    async (answer) => {
      const { issuers, clock } = await openDesk(answer);
      if (answer === "silent") expect(issuers.notReady()).toBe("The keys of an issuer are being fetched");
      await clock.advance(10_000);
      expect(issuers.notReady()).toBeUndefined();
      issuers.retain([SOURCE, { issuer: "https://new.example.com" }]);
      expect(issuers.notReady()).toBeUndefined();
    },
  );

  it("keeps what it knows of an issuer over changes of others, and leaves nothing of one that went", async () => {
    const { issuers, keys, clock, looks } = await openDesk("one");
    issuers.retain([{ issuer: "https://new.example.com" }, SOURCE]);
    expect(issuers.keysOf(SOURCE)).toBe(keys);
    issuers.retain([]);
    await clock.advance(0);
    expect(issuers.keysOf(SOURCE)).toBeUndefined();
    const before = looks();
    await clock.advance(60 * MINUTE_MS);
    expect(looks()).toBe(before);
    expect(clock.pending()).toBe(0);
  });
});
