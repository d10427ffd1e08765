import { afterEach, describe, expect, it, vi } from "vitest";
import { HOUR_MS, hourKey, parseHourKey, shiftHour, toIso } from "#core/time.ts";
import { expectLaws, heal, healed } from "../simulation/meter-laws.ts";
import { START_MS } from "../simulation/meter-world.ts";
import { judged, killBefore, nextHour, notePosts, openShop, SLOT_MS } from "./shop.ts";

afterEach(() => vi.unstubAllEnvs());

describe("SUSE-Enceladus/csp-billing-adapter-microsoft", () => {
  it("plugin.py reports a failure that a later attempt mended, and posts the month again: ours lets the last answer decide", async () => {
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    await nextHour(world, desk, "Http500");
    world.advance(60_000);
    await world.cycle(desk);
    const [statement] = [...world.statements.values()].map(({ value }) => value);
    expect(statement).toMatchObject({ state: "Accepted", outcome: { state: "Accepted", acceptedQuantity: "7" } });
    expect(statement?.attempts.last.map(({ status }) => status)).toEqual(["Http500", "Accepted"]);
    for (let hour = 0; hour < 24; hour += 1) await nextHour(world, desk);
    expect([posts.length, world.billed("tool_action"), world.ledger?.value.problems]).toEqual([2, 7, []]);
  });

  it.each([
    [0, 150_000],
    [0.999, 300_000],
  ])(
    "plugin.py tries a refusal for ever and at once: ours waits longer each time, with a jitter of %f at last %i ms",
    async (random, lastMs) => {
      const [world, open] = await openShop();
      const [desk, posts] = notePosts(world, { ...open, random: () => random });
      await nextHour(world, desk, ...Array<"Http403">(999).fill("Http403"));
      while (world.nowMs < START_MS + 3 * HOUR_MS) {
        world.advance(5_000);
        world.publishAll();
        await world.cycle(desk);
      }
      const ofSlot = posts.filter(({ intents }) => intents.some(({ hour }) => hour === "2026112208"));
      const waits = ofSlot.slice(1).map(({ atMs }, index) => atMs - (ofSlot[index]?.atMs ?? 0));
      expect(waits).toEqual(waits.toSorted((a, b) => a - b));
      expect(waits[0]).toBeLessThanOrEqual(10_000);
      expect(waits.at(-1)).toBe(lastMs);
    },
  );
});

describe("SUSE-Enceladus/csp-billing-adapter", () => {
  it("adapter.py saves its state once, after the post: ours saves before it, and a crash in between bills once", async () => {
    const [world, desk] = await openShop();
    world.onCall = (call) => {
      if (call !== "post") return;
      expect([world.ledger?.value.oldestOpenHour, [...world.statements.values()].length]).toEqual(["2026112208", 1]);
    };
    await nextHour(world, desk, "LoseAnswer");
    world.onCall = () => undefined;
    await heal(world, world.desk());
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("adapter.py resets its state at a read error at the start: ours begins no ledger, and goes on when it can read", async () => {
    const [world, desk] = await openShop();
    await nextHour(world, desk);
    const before = structuredClone(world.ledger);
    const next = world.desk();
    for (let tries = 0; tries < 3; tries += 1) await killBefore(world, "readLedger", () => world.cycle(next));
    expect(world.ledger).toEqual(before);
    await heal(world, next);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });
});

describe("SUSE-Enceladus/csp-billing-adapter-k8s", () => {
  it("plugin.py writes without a resourceVersion, and two replicas overwrite each other: of ours one wins, the other reads again", async () => {
    const [world, desk] = await openShop();
    const other = world.desk();
    world.advance(HOUR_MS);
    world.publishAll();
    const ends = await Promise.allSettled([world.cycle(desk), world.cycle(other)]);
    expect(ends.some(({ status }) => status === "rejected")).toBe(true);
    expectLaws(world);
    await heal(world, other);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });
});

describe("RedHatInsights/rhsm-subscriptions", () => {
  it.each(["BadArgument", "InvalidDimension", "InvalidQuantity"])(
    "AzureBillableUsageAggregateConsumer.java (#3550) records a 400 as succeeded: ours parks at %s",
    (status) => {
      expect(judged({ httpStatus: 400, status })).toMatchObject({ next: "park", reason: status });
    },
  );

  it("AzureBillableUsageAggregateConsumer.java records a 409 as succeeded: ours credits the quantity it carries, and none it does not", () => {
    const conflict = { httpStatus: 409, status: "Duplicate" };
    expect(judged({ ...conflict, acceptedMessage: { quantity: 5 } })).toMatchObject({
      state: "DuplicateOther",
      acceptedBaseUnits: 5n,
      alarm: "ForeignWriter",
    });
    expect(judged(conflict)).toEqual({ next: "retry", alarm: "UnclearDuplicate" });
  });

  it("AzureBillableUsageAggregateConsumer.java has a window of 96 h: ours sends nothing that is older than 24 h", async () => {
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    for (let hour = 0; hour < 40; hour += 1) await nextHour(world, desk, ...Array<"Http500">(40).fill("Http500"));
    const ages = posts.flatMap(({ atMs, intents }) => intents.map(({ hour }) => atMs - parseHourKey(hour)));
    expect(Math.max(...ages)).toBeGreaterThan(20 * HOUR_MS);
    expect(Math.max(...ages)).toBeLessThan(24 * HOUR_MS);
    await heal(world, desk);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("BillableUsageService.java writes the row and sends apart, so that a row is remitted and never sent: ours is sent by whoever reads it", async () => {
    const [world, desk] = await openShop();
    await killBefore(world, "post", () => nextHour(world, desk));
    expect([world.ledger?.value.oldestOpenHour, world.booked()]).toEqual(["2026112208", []]);
    await world.cycle(world.desk());
    expect(world.billed("tool_action")).toBe(7);
    await heal(world, world.desk());
    expect(healed(world)).toEqual([]);
  });
});

describe("flexprice/flexprice", () => {
  it("reporter.go (#2368) takes a duplicate for an error until its row is too old: ours closes the slot at the first one", async () => {
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    await nextHour(world, desk, "LoseAnswer");
    world.advance(60_000);
    await world.cycle(desk);
    expect([...world.statements.values()].map(({ value }) => value.state)).toEqual(["DuplicateSame"]);
    for (let hour = 0; hour < 30; hour += 1) await nextHour(world, desk);
    expect([posts.length, world.billed("tool_action"), healed(world)]).toEqual([2, 7, []]);
  });

  it("reporter.go drops part cents: ours carries part units to the next hour", async () => {
    const [world, desk] = await openShop();
    for (const billed of [0, 1, 1, 2]) {
      world.use("a", "input_tokens", 600n);
      await nextHour(world, desk);
      expect(world.billed("tokens_1k_in")).toBe(billed);
    }
  });
});

describe("openmeterio/openmeter", () => {
  it("kubernetes-pod-exec-time/config.yaml gives each event a new uuid: ours names its slot, and a repeat is the same event", async () => {
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    await nextHour(world, desk, "LoseAnswer");
    const [next, later] = notePosts(world, world.desk());
    await world.cycle(next);
    expect(later[0]?.intents).toEqual(posts[0]?.intents);
    expect([world.booked().length, world.billed("tool_action")]).toEqual([1, 7]);
  });

  it("kubernetes-pod-exec-time/config.yaml doubles under two leaders: ours bills once, whoever is stopped at whichever call", async () => {
    for (const call of ["writeLedger", "createStatement", "post", "writeStatement"]) {
      const [world, desk] = await openShop();
      const other = world.desk();
      world.advance(HOUR_MS);
      world.publishAll();
      // The first leader stands at this call while the second does all there is to do.
      let isFirst = true;
      world.onCall = async (name) => {
        if (name !== call || !isFirst) return;
        isFirst = false;
        await world.cycle(other);
      };
      await world.cycle(desk).catch(() => undefined);
      world.onCall = () => undefined;
      expect(isFirst).toBe(false);
      await heal(world, other);
      expect([call, world.billed("tool_action"), healed(world)]).toEqual([call, 7, []]);
    }
  });
});

describe("kube-reporting/metering-operator", () => {
  it("importer.go takes start - end for the duration, so its cap on catching up never holds: ours closes 48 hours a cycle", async () => {
    const [world, desk] = await openShop();
    for (let hour = 0; hour < 100; hour += 1) {
      world.use("a", "tool_action", 1n);
      world.advance(HOUR_MS);
      world.publishAll();
    }
    const closed: string[] = [];
    for (let cycle = 0; cycle < 3; cycle += 1) {
      await world.cycle(desk);
      expectLaws(world);
      closed.push(world.ledger?.value.lastClosedHour ?? "");
    }
    const last = hourKey(START_MS - HOUR_MS);
    expect(closed).toEqual([shiftHour(last, 48), shiftHour(last, 96), shiftHour(last, 100)]);
    await heal(world, desk);
    expect([world.billed("tool_action"), healed(world)]).toEqual([107, []]);
  });
});

describe("Azure-Samples/kubernetes-offer-samples", () => {
  it.each(["Asia/Kolkata", "America/New_York", "UTC"])(
    "main.py posts the local time of the send: ours posts the start of the hour of use in UTC, on a node in %s",
    async (zone) => {
      vi.stubEnv("TZ", zone);
      expect(new Date(SLOT_MS).getTimezoneOffset()).toBe({ "Asia/Kolkata": -330, "America/New_York": 300 }[zone] ?? 0);
      const [world, open] = await openShop();
      const [desk, posts] = notePosts(world, open);
      await nextHour(world, desk, "Http500");
      world.advance(5 * HOUR_MS);
      world.publishAll();
      await world.cycle(desk);
      const times = posts.flatMap(({ intents }) => intents.map(({ effectiveStartTime }) => effectiveStartTime));
      expect(times).toEqual([toIso(SLOT_MS), toIso(SLOT_MS)]);
      expect(times[0]).toBe("2026-11-22T08:00:00.000Z");
      expect(world.booked().map(({ quantity }) => quantity)).toEqual([7]);
    },
  );

  it("main.py reads, posts and sets to 0, and loses what came in between: ours bills that in the next hour", async () => {
    const [world, desk] = await openShop();
    world.onCall = (call) => {
      if (call === "post") world.use("a", "tool_action", 3n);
    };
    await nextHour(world, desk);
    world.onCall = () => undefined;
    expect(world.billed("tool_action")).toBe(7);
    await nextHour(world, desk);
    expect(world.billed("tool_action")).toBe(10);
  });

  it("main.py posts when somebody clicks: ours by its own timer, also when nobody uses anything", async () => {
    const [world, desk] = await openShop();
    for (let hour = 0; hour < 4; hour += 1) await nextHour(world, desk);
    expect([world.billed("tool_action"), world.ledger?.value.lastClosedHour]).toEqual([7, "2026112211"]);
  });
});

describe("microsoft/commercial-marketplace-solutions", () => {
  it("Worker.cs posts zero when nothing was used: ours posts nothing", async () => {
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    for (let hour = 0; hour < 6; hour += 1) await nextHour(world, desk);
    expect(posts.flatMap(({ intents }) => intents.map(({ quantity }) => quantity))).toEqual(["7"]);
    expect(world.ledger?.value.lastClosedHour).toBe("2026112213");
  });

  it("Worker.cs sends the units of a lost answer again in a new hour: ours sends the same slot, and the new units in theirs", async () => {
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    await nextHour(world, desk, "LoseAnswer");
    world.use("a", "tool_action", 1n);
    await heal(world, desk);
    const sent = posts.flatMap(({ intents }) => intents.map(({ hour, quantity }) => `${hour} ${quantity}`));
    expect(sent).toEqual(["2026112208 7", "2026112208 7", "2026112209 1"]);
    expect([world.billed("tool_action"), healed(world)]).toEqual([8, []]);
  });

  it("Worker.cs restarts within the hour, meets a 409, and rolls its units on: our intent survives, and is not made anew", async () => {
    const [world, desk] = await openShop();
    await nextHour(world, desk, "LoseAnswer");
    world.use("a", "tool_action", 2n);
    for (let restarts = 0; restarts < 3; restarts += 1) {
      world.advance(60_000);
      world.publishAll();
      await world.cycle(world.desk());
      expectLaws(world);
    }
    expect([...world.sent.keys()]).toEqual(["2026112208 tool_action"]);
    await heal(world, world.desk());
    expect([world.billed("tool_action"), healed(world)]).toEqual([9, []]);
  });
});
