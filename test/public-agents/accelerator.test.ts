import { describe, expect, it } from "vitest";
import { readMetered } from "#core/exposition.ts";
import { unparkDimension } from "#core/commands.ts";
import { HOUR_MS, periodAt } from "#core/time.ts";
import { putResource } from "../../services/emulator/metering-store.ts";
import { heal, healed } from "../simulation/meter-laws.ts";
import { GUID, type MeterWorld, RESOURCE } from "../simulation/meter-world.ts";
import { judged, killBefore, nextHour, notePosts, openShop, SLOT_MS } from "./shop.ts";

/** The publisher sells these dimensions in Partner Center; the catalogue may say more. */
function sell(world: MeterWorld, dimensions: string[]): void {
  putResource(world.metering, {
    resourceUri: RESOURCE,
    resourceId: GUID,
    ownerClientId: "us",
    offerId: "offer",
    state: "Active",
    plans: [{ planId: "starter", dimensions }],
  });
}

describe("microsoft/metered-billing-accelerator", () => {
  it("Meter.fs refills nothing when usage comes first after the renewal: ours compares period ids", async () => {
    const [world, desk] = await openShop();
    world.use("a", "workflow_completed", 12n);
    await nextHour(world, desk);
    expect(world.billed("chats")).toBe(2);
    for (let hour = 0; hour < 24 * 31; hour += 1) await nextHour(world, desk);
    world.use("a", "workflow_completed", 9n);
    await nextHour(world, desk);
    expect(world.billed("chats")).toBe(2);
    world.use("a", "workflow_completed", 2n);
    await nextHour(world, desk);
    expect(world.billed("chats")).toBe(3);
  });

  it("Quantity.fs wraps at 32 bits: ours counts and bills beyond them, and counts beyond doubles", async () => {
    const read = readMetered(
      'metering_epoch_info{epoch="e1"} 1\nsupercargo_usage_total{dimension="a"} 9007199254740993\n',
    );
    expect(read).toMatchObject({ ok: true, counters: new Map([["a", 9007199254740993n]]) });
    const [world, desk] = await openShop();
    world.use("a", "tool_action", 2n ** 32n);
    await nextHour(world, desk);
    expect(world.billed("tool_action")).toBe(2 ** 32 + 7);
  });

  it('Quantity.fs turns a number with a "." into a float: ours refuses what is not whole', () => {
    const text = 'metering_epoch_info{epoch="e1"} 1\nsupercargo_usage_total{dimension="a"} 4294967296.5\n';
    expect(readMetered(text).ok).toBe(false);
  });

  it("Subscription.fs renews at midnight: ours at the hour of the start, also on the 31st", () => {
    const anchorMs = Date.UTC(2026, 0, 31, 15);
    expect(periodAt(anchorMs, "Month", Date.UTC(2026, 1, 28, 14, 59)).startMs).toBe(anchorMs);
    expect(periodAt(anchorMs, "Month", Date.UTC(2026, 1, 28, 15)).startMs).toBe(Date.UTC(2026, 1, 28, 15));
    expect(periodAt(anchorMs, "Month", Date.UTC(2026, 2, 31, 15)).startMs).toBe(Date.UTC(2026, 2, 31, 15));
  });

  it("AggregationWorker.cs ends its loop at one network error: ours is an answer, and the same leader goes on", async () => {
    const [world, desk] = await openShop();
    await nextHour(world, desk, "LoseRequest");
    expect(world.booked()).toEqual([]);
    await heal(world, desk);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it('MeterCollectionStore.fs takes any read error for "no snapshot": ours stops, and starts from its books', async () => {
    const [world, desk] = await openShop();
    await nextHour(world, desk);
    const before = structuredClone(world.ledger);
    const next = world.desk();
    await killBefore(world, "readLedger", () => world.cycle(next));
    expect(world.ledger).toEqual(before);
    await heal(world, next);
    expect([world.billed("tool_action"), healed(world)]).toEqual([7, []]);
  });

  it("takes a Duplicate for success unread: ours credits what it carries, and bills the rest in the next hour", async () => {
    expect(judged({ status: "Duplicate", acceptedMessage: { quantity: 7 } })).toMatchObject({ state: "DuplicateSame" });
    const [world, desk] = await openShop();
    await nextHour(world, desk, "Foreign");
    expect([...world.statements.values()].map(({ value }) => value.state)).toEqual(["DuplicateOther"]);
    expect(world.ledger?.value.accounts.find(({ dimension }) => dimension === "tool_action")).toMatchObject({
      acceptedDays: [{ baseUnits: "1" }],
    });
    await nextHour(world, desk);
    expect(world.billed("tool_action")).toBe(6);
  });

  it("leaves refused items on its to-do list for ever: ours parks the dimension at once, counts on, and bills it when told", async () => {
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    sell(world, ["tokens_1k_in"]);
    for (let hour = 0; hour < 6; hour += 1) {
      world.use("a", "tool_action", 1n);
      await nextHour(world, desk);
    }
    expect(posts).toHaveLength(1);
    const { ledger } = world;
    if (!ledger) throw new Error("There is no ledger");
    expect(ledger.value.accounts.find(({ dimension }) => dimension === "tool_action")).toMatchObject({
      parked: { reason: "InvalidDimension" },
    });
    sell(world, ["tool_action", "tokens_1k_in"]);
    const by = { by: "ann", reason: "sold now", nowMs: world.nowMs };
    const told = unparkDimension(ledger.value, { dimension: "tool_action", ...by });
    if (!told.ok) throw new Error(told.problem);
    await desk.books.writeLedger({
      value: { ...told.value, revision: String(BigInt(told.value.revision) + 1n) },
      version: ledger.version,
    });
    await heal(world, world.desk());
    expect([world.billed("tool_action"), healed(world)]).toEqual([13, []]);
  });

  it("#152 sends expired events again and counts them again: ours believes it after 24 h, releases once, and its totals stay", async () => {
    expect(judged({ status: "Expired" })).toEqual({ next: "retry", alarm: "ClockFault" });
    expect(judged({ status: "Expired" }, SLOT_MS + 24 * HOUR_MS)).toEqual({ next: "expire" });
    const [world, open] = await openShop();
    const [desk, posts] = notePosts(world, open);
    await nextHour(world, desk, "LoseRequest");
    world.advance(30 * HOUR_MS);
    world.publishAll();
    await heal(world, desk);
    const ofSlot = posts.flatMap(({ intents }) => intents).filter(({ hour }) => hour === "2026112208");
    expect(ofSlot).toHaveLength(1);
    expect([world.billed("tool_action"), world.counted("tool_action"), healed(world)]).toEqual([7, 7n, []]);
  });

  it("#37 leaves a day of silence unnoticed: ours alarms after 2 h on posts without an answer and on pods without a word", async () => {
    const [world, desk] = await openShop();
    const reasons = (): string[] => (world.ledger?.value.problems ?? []).map(({ reason }) => reason);
    for (let hour = 0; hour < 2; hour += 1) await nextHour(world, desk, ...Array<"Http500">(9).fill("Http500"));
    expect(reasons()).toEqual([]);
    for (let hour = 0; hour < 3; hour += 1) await nextHour(world, desk, ...Array<"Http500">(9).fill("Http500"));
    expect(reasons()).toContain("PostsStopped");
    expect(world.ledger?.value.oldestOpenHour).toBe("2026112208");
    await heal(world, desk);
    expect(reasons()).toEqual([]);
    world.advance(4 * HOUR_MS);
    await world.cycle(desk);
    expect(reasons()).toEqual(["SilentPods"]);
  });
});
