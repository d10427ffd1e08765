import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { NOW_MS, OWNER, RESOURCE_URI, startKit, usageEvent, type Kit } from "./test-kit.ts";

let kit: Kit;
beforeAll(async () => {
  kit = await startKit();
});
afterAll(() => kit.stop());
beforeEach(async () => {
  kit.time.nowMs = NOW_MS;
  await kit.control("reset", {});
});

const state = async () => z.record(z.string(), z.unknown()).parse((await kit.control("state")).body);
const restore = (body: unknown) => kit.control("state", body, "PUT");
const send = (changed: object, hoursAgo?: number) => kit.post("usageEvent", usageEvent({ ...changed }, hoursAgo));

describe("the state", () => {
  it("goes out and comes back as it was, whatever happened in between", async () => {
    await send({});
    await send({ quantity: 9 });
    await send({ dimension: "pod_hour" }, 3);
    await kit.control("resources/change-plan", { resourceUri: RESOURCE_URI, planId: "pro" });
    await kit.control("resources/change-plan", { resourceUri: RESOURCE_URI, planId: "free" });
    await kit.control("resources/recreate", { resourceUri: RESOURCE_URI });
    await kit.control("switches", { afterExpiry: "Duplicate", listDelaySeconds: 7 });
    await kit.control("identities", { clientId: "late" });
    await kit.control("token-lifetime", { seconds: 77 });
    await kit.control("faults", { standIn: "metering", kind: "Status", status: 503, forSeconds: 60 });
    await kit.control("model/scripts", { say: "once" });
    const before = await state();
    expect(before).toMatchObject({ version: 1, tokenLifetimeSeconds: 77, model: { scripts: [{ say: "once" }] } });
    await kit.control("reset", {});
    expect(await state()).not.toEqual(before);
    expect(await restore(before)).toMatchObject({ status: 200, body: { resources: 1, events: 2 } });
    expect(await state()).toEqual(before);
  });

  it("of earlier takes back what was booked since, and its slots are free again", async () => {
    await send({}, 2);
    const before = await state();
    await send({}, 1);
    expect(await kit.events()).toHaveLength(2);
    await restore(before);
    expect(await kit.events()).toHaveLength(1);
    expect(await send({ quantity: 4 }, 1)).toMatchObject({ status: 200, body: { quantity: 4 } });
    expect(await send({ quantity: 4 }, 2)).toMatchObject({ status: 409 });
  });

  it("of earlier leaves the clock, one of later raises it", async () => {
    const before = await state();
    await kit.control("clock", { advanceSeconds: 100 });
    const later = await state();
    await restore(before);
    expect(await state()).toMatchObject({ clock: later["clock"] });
    await restore({ ...before, clock: { offsetSeconds: 500 } });
    expect(await state()).toMatchObject({ clock: { offsetSeconds: 500, speed: 1 } });
  });

  const event = {
    usageEventId: "e1",
    resourceUri: RESOURCE_URI,
    resourceId: "r1",
    offerId: "o",
    planId: "pro",
    dimension: "d",
    quantity: 1,
    effectiveStartTime: "2026-11-22T08:00:00Z",
    bookedAt: "2026-11-22T09:00:00Z",
    writer: OWNER,
  };
  it.each([
    [{ version: 2 }, /^version: .*expected 1: current value is 2$/],
    [{ colour: "red" }, /^\(root\): Unrecognized key: "colour"/],
    [{ clock: { offsetSeconds: -1 } }, /^clock\.offsetSeconds: .*>=0: current value is -1$/],
    [{ events: [{ ...event, quantity: 0 }] }, /^events\.0\.quantity: .*>0: current value is 0$/],
    [
      { events: [{ ...event, effectiveStartTime: "soon" }] },
      /^events\.0\.effectiveStartTime: must be a date and time: current value is "soon"$/,
    ],
    [{ events: [{ ...event, resourceUri: "/x" }] }, /^events\.0\.resourceUri: must be one of resources: .*"\/x"$/],
    [
      { events: [event, { ...event, usageEventId: "e2", effectiveStartTime: "2026-11-22T08:59:59Z" }] },
      /^events\.1\.resourceUri: must be the only event of its resource, hour, dimension and plan/,
    ],
    [{ faults: [{ standIn: "metering", kind: "Boom" }] }, /^faults\.0\.kind: .*'DropRequest'.*"Boom"$/],
  ])("with %j is refused with field, rule and value, and changes nothing", async (changed, problem) => {
    await send({});
    const before = await state();
    expect(await restore({ ...before, ...changed })).toMatchObject({
      status: 400,
      body: { error: { problems: expect.arrayContaining([expect.stringMatching(problem)]) } },
    });
    expect(await state()).toEqual(before);
  });
});

describe("the bill", () => {
  it("has the sum of each resource, dimension, plan and month of usage", async () => {
    await kit.control("resources/suspend", { resourceUri: RESOURCE_URI });
    await kit.control("resources/reinstate", { resourceUri: RESOURCE_URI });
    kit.time.nowMs = Date.parse("2026-12-01T01:30:00Z");
    for (const [effectiveStartTime, quantity] of [
      ["2026-11-30T22:00:00Z", 2],
      ["2026-11-30T23:00:00Z", 3],
      ["2026-12-01T00:00:00Z", 4],
    ] as const)
      expect(await send({ effectiveStartTime, quantity })).toMatchObject({ status: 200 });
    const line = { resourceUri: RESOURCE_URI, planId: "pro", dimension: "workflow_completed" };
    const november = { ...line, month: "2026-11", quantity: 5, events: 2 };
    expect((await kit.control("bill")).body).toEqual({
      lines: [november, { ...line, month: "2026-12", quantity: 4, events: 1 }],
    });
    expect((await kit.control("bill?month=2026-11")).body).toEqual({ lines: [november] });
    expect((await kit.control("bill?resourceUri=/other")).body).toEqual({ lines: [] });
  });

  it.each([
    ["bill?month=11", /^month: must be a month as 2026-11: current value is "11"$/],
    ["bill?moth=2026-11", /^\(root\): Unrecognized key: "moth"/],
    ["events?resourceURI=/x", /^\(root\): Unrecognized key: "resourceURI"/],
    ["clock?now=1", /^\(root\): Unrecognized key: "now"/],
  ])("and other reads refuse the query of %s", async (path, problem) => {
    expect(await kit.control(path)).toMatchObject({
      status: 400,
      body: { error: { problems: [expect.stringMatching(problem)] } },
    });
  });
});
