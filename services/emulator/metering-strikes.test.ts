import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { hourStart, startKit, usageEvent, type Kit } from "./test-kit.ts";

let kit: Kit;
beforeEach(async () => {
  kit = await startKit();
});
afterEach(() => kit.stop());

const fault = (body: object) => kit.control("faults", { standIn: "metering", ...body });
const batch = (...events: object[]) => kit.post("batchUsageEvent", { request: events });

describe("DelayedRequest", () => {
  const delayed = async () =>
    z
      .object({ waiting: z.array(z.unknown()), landed: z.array(z.unknown()) })
      .parse((await kit.control("delayed")).body);

  it.each([
    ["usageEvent", "advanceSeconds", usageEvent()],
    ["batchUsageEvent", "time itself", { request: [usageEvent()] }],
  ])("%s is booked when the clock gets there, by %s, at that instant", async (path, how, body) => {
    await fault({ kind: "DelayedRequest", afterSeconds: 600 });
    await expect(kit.post(path, body)).rejects.toThrow("fetch failed");
    expect(await delayed()).toMatchObject({ waiting: [{ route: path, landsAt: "2026-11-22T08:40:00.000Z" }] });
    kit.time.nowMs += 599_000;
    expect(await kit.events()).toEqual([]);
    if (how === "advanceSeconds") await kit.control("clock", { advanceSeconds: 3600 });
    else kit.time.nowMs += 1000;
    expect(await kit.events()).toMatchObject([{ quantity: 5, bookedAt: "2026-11-22T08:40:00.000Z" }]);
    expect(await delayed()).toMatchObject({ waiting: [], landed: [{ status: 200 }] });
  });

  it("lands after the client sent again: the slot is taken, nothing is booked twice", async () => {
    await fault({ kind: "DelayedRequest", afterSeconds: 60 });
    await expect(batch(usageEvent())).rejects.toThrow("fetch failed");
    expect(await batch(usageEvent({ quantity: 6 }))).toMatchObject({ body: { result: [{ status: "Accepted" }] } });
    kit.time.nowMs += 60_000;
    expect(await kit.events()).toMatchObject([{ quantity: 6 }]);
    expect(await delayed()).toMatchObject({ landed: [{ status: 200, body: { result: [{ status: "Duplicate" }] } }] });
  });

  it("is judged by the time of its landing, before any later call", async () => {
    await fault({ kind: "DelayedRequest", afterSeconds: 30 * 60, count: 2 });
    await expect(batch(usageEvent({}, 23))).rejects.toThrow("fetch failed");
    await expect(batch(usageEvent({ dimension: "pod_hour" }, 24))).rejects.toThrow("fetch failed");
    kit.time.nowMs += 2 * 3_600_000;
    expect(await batch(usageEvent({}, 23))).toMatchObject({ body: { result: [{ status: "Expired" }] } });
    expect(await delayed()).toMatchObject({
      landed: [{ body: { result: [{ status: "Accepted" }] } }, { body: { result: [{ status: "Expired" }] } }],
    });
  });

  it("lands before the next call of the metering API, without a look at the control API", async () => {
    const bearer = await kit.token();
    await fault({ kind: "DelayedRequest", afterSeconds: 60 });
    await expect(batch(usageEvent())).rejects.toThrow("fetch failed");
    expect((await kit.list("usageStartDate=2026-11-22", bearer)).body).toEqual([]);
    kit.time.nowMs += 60_000;
    expect((await kit.list("usageStartDate=2026-11-22", bearer)).body).toMatchObject([{ submittedQuantity: 5 }]);
  });

  it("can be forgotten, and survives in the state", async () => {
    await fault({ kind: "DelayedRequest", afterSeconds: 60, count: 2 });
    await expect(batch(usageEvent())).rejects.toThrow("fetch failed");
    const { body: state } = await kit.control("state");
    await kit.control("delayed", undefined, "DELETE");
    kit.time.nowMs += 60_000;
    expect(await kit.events()).toEqual([]);
    await kit.control("state", state, "PUT");
    expect(await kit.events()).toHaveLength(1);
  });
});

describe("how long a fault strikes", () => {
  const send = () => batch(usageEvent());

  it("forSeconds: an outage ends by the emulator's clock, and counts no requests", async () => {
    await fault({ kind: "Status", status: 503, forSeconds: 86_400 });
    for (const hours of [0, 12, 23]) {
      await kit.control("clock", { offsetSeconds: hours * 3600 });
      expect(await send()).toMatchObject({ status: 503 });
    }
    expect(await kit.list("usageStartDate=2026-11-22")).toMatchObject({ status: 503 });
    await kit.control("clock", { advanceSeconds: 3600 });
    expect(await send()).toMatchObject({ status: 200 });
    expect(await kit.control("faults")).toMatchObject({ body: { faults: [] } });
  });

  it("skip: the third request is struck", async () => {
    await fault({ kind: "Status", status: 500, skip: 2 });
    const answers = [await send(), await send(), await send(), await send()];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 500, 200]);
  });

  it("faults of posts are not used up by the list", async () => {
    await fault({ kind: "ForeignWriter", quantity: 3 });
    await kit.list("usageStartDate=2026-11-22");
    await send();
    expect(await kit.events()).toMatchObject([{ writer: "foreign" }]);
  });
});

describe("faults of single items and answers", () => {
  it.each([
    [{ itemStatus: "Error" }, ["Error", "Error"], 0],
    [{ itemStatus: "Throttled", dimension: "pod_hour" }, ["Accepted", "Throttled"], 1],
    [{ itemStatus: "Error", booked: true }, ["Error", "Error"], 2],
  ])("ItemStatus %j", async (fields, statuses, booked) => {
    await fault({ kind: "ItemStatus", ...fields });
    const answer = await batch(usageEvent(), usageEvent({ dimension: "pod_hour" }));
    expect(answer).toMatchObject({ status: 200, body: { result: statuses.map((status) => ({ status })) } });
    expect(await kit.events()).toHaveLength(booked);
  });

  it.each([
    ["NoAcceptedMessage", undefined],
    ["OtherDimension", { acceptedMessage: { dimension: "workflow_completed_other", quantity: 5 } }],
    ["OtherHour", { acceptedMessage: { effectiveStartTime: hourStart(2), quantity: 5 } }],
  ])("StrangeDuplicate %s, single and batch", async (variant, additionalInfo) => {
    await kit.post("usageEvent", usageEvent());
    await fault({ kind: "StrangeDuplicate", variant, count: 2 });
    const single = await kit.post("usageEvent", usageEvent());
    expect(single).toMatchObject({ status: 409, body: { code: "Conflict" } });
    const error = z.object({ additionalInfo: z.unknown().optional() }).parse(single.body);
    if (additionalInfo) expect(error).toMatchObject({ additionalInfo });
    else expect(error.additionalInfo).toBeUndefined();
    const item = await batch(usageEvent());
    expect(item).toMatchObject({ body: { result: [{ status: "Duplicate", error: single.body }] } });
  });

  it("CutAnswer: booked, and the body ends too early", async () => {
    await fault({ kind: "CutAnswer" });
    await expect(batch(usageEvent())).rejects.toThrow(/terminated/);
    expect(await kit.events()).toHaveLength(1);
  });
});
