import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hourStart, NOW_MS, STRANGER, startKit, usageEvent, type Kit } from "./test-kit.ts";

let kit: Kit;
beforeAll(async () => {
  kit = await startKit();
});
afterAll(() => kit.stop());
beforeEach(async () => {
  kit.time.nowMs = NOW_MS;
  await kit.control("reset", {});
});

const fault = (body: object) => kit.control("faults", { standIn: "metering", ...body });
const batch = (...events: object[]) => kit.post("batchUsageEvent", { request: events });

describe("faults of the metering API", () => {
  it.each(["usageEvent", "batchUsageEvent"])(
    "DropAnswer: %s is booked, no answer comes, the repeat is a duplicate",
    async (path) => {
      const body = path === "usageEvent" ? usageEvent() : { request: [usageEvent()] };
      await fault({ kind: "DropAnswer" });
      await expect(kit.post(path, body)).rejects.toThrow("fetch failed");
      expect(await kit.events()).toHaveLength(1);
      const repeat = await kit.post(path, body);
      expect(JSON.stringify(repeat.body)).toContain('"quantity":5');
      expect(path === "usageEvent" ? repeat.status : JSON.stringify(repeat.body)).toEqual(
        path === "usageEvent" ? 409 : expect.stringContaining("Duplicate"),
      );
      expect(await kit.events()).toHaveLength(1);
    },
  );

  it("DropRequest: nothing is booked, no answer comes", async () => {
    await fault({ kind: "DropRequest", count: 2 });
    await expect(batch(usageEvent())).rejects.toThrow("fetch failed");
    await expect(batch(usageEvent())).rejects.toThrow("fetch failed");
    expect(await kit.events()).toEqual([]);
    expect(await batch(usageEvent())).toMatchObject({ body: { result: [{ status: "Accepted" }] } });
  });

  it.each([
    [{ status: 429, retryAfterSeconds: 7 }, "7"],
    [{ status: 429 }, null],
    [{ status: 500 }, null],
    [{ status: 503 }, null],
  ])("Status %j: nothing is booked", async (wanted, retryAfter) => {
    await fault({ kind: "Status", ...wanted });
    const answer = await batch(usageEvent());
    expect(answer.status).toBe(wanted.status);
    expect(answer.headers.get("retry-after")).toBe(retryAfter);
    expect(await kit.events()).toEqual([]);
  });

  it("Latency: the answer starts late", async () => {
    await fault({ kind: "Latency", delayMs: 120 });
    const startMs = performance.now();
    await batch(usageEvent());
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(115);
  });

  it("TruncatedJson: booked, and the answer cannot be parsed", async () => {
    await fault({ kind: "TruncatedJson" });
    const answer = await batch(usageEvent());
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual(expect.stringMatching(/^\{"result":\[/));
    expect(await kit.events()).toHaveLength(1);
  });

  it("ShuffledResults and MissingResults: all is booked, results are reversed, the last one is missing", async () => {
    await fault({ kind: "ShuffledResults" });
    await fault({ kind: "MissingResults", missing: 1 });
    const answer = await batch(usageEvent({}, 1), usageEvent({}, 2), usageEvent({}, 3));
    expect(answer).toMatchObject({
      body: { count: 2, result: [{ effectiveStartTime: hourStart(2) }, { effectiveStartTime: hourStart(1) }] },
    });
    expect(await kit.events()).toHaveLength(3);
  });

  it.each(["usageEvent", "batchUsageEvent"])(
    "ForeignWriter: another quantity is in the slot of %s first",
    async (path) => {
      await fault({ kind: "ForeignWriter", quantity: 3 });
      const answer = await kit.post(path, path === "usageEvent" ? usageEvent() : { request: [usageEvent()] });
      expect(JSON.stringify(answer.body)).toMatch(/"acceptedMessage":\{[^}]*"quantity":3/);
      expect(await kit.events()).toMatchObject([{ quantity: 3, writer: "foreign" }]);
    },
  );

  it("strikes the named route only, as often as counted", async () => {
    await fault({ kind: "Status", status: 500, route: "batchUsageEvent", count: 2 });
    expect(await kit.post("usageEvent", usageEvent())).toMatchObject({ status: 200 });
    expect(await batch(usageEvent())).toMatchObject({ status: 500 });
    expect(await kit.control("faults")).toMatchObject({ body: { faults: [{ count: 1 }] } });
    expect(await batch(usageEvent())).toMatchObject({ status: 500 });
    expect(await batch(usageEvent())).toMatchObject({ status: 200 });
  });
});

describe("the list of usage events", () => {
  const rowOf = (changed: object) => ({
    usageDate: "2026-11-22T00:00:00Z",
    usageResourceId: expect.any(String),
    dimension: "workflow_completed",
    planId: "pro",
    planName: "",
    offerId: "emulated-offer",
    offerName: "",
    offerType: "",
    azureSubscriptionId: "00000000-0000-0000-0000-000000000000",
    reconStatus: "Submitted",
    submittedQuantity: 10,
    processedQuantity: 0,
    submittedCount: 2,
    ...changed,
  });
  const sendThree = () => batch(usageEvent({}, 1), usageEvent({}, 2), usageEvent({ quantity: 7 }, 9));

  it("has a row per day, dimension and plan, newest day first", async () => {
    await sendThree();
    const answer = await kit.list("usageStartDate=2026-11-01");
    expect(answer.body).toEqual([
      rowOf({}),
      rowOf({ usageDate: "2026-11-21T00:00:00Z", submittedQuantity: 7, submittedCount: 1 }),
    ]);
  });

  it.each([
    ["usageStartDate=2026-11-22T00:00:00Z", 1],
    ["usageStartDate=2026-11-22T00:00:01Z", 0],
    ["usageStartDate=2026-11-01&UsageEndDate=2026-11-21", 1],
    ["usageStartDate=2026-11-01&dimension=pod_hour", 0],
    ["usageStartDate=2026-11-01&planId=pro&offerId=emulated-offer&reconStatus=Submitted", 2],
    ["usageStartDate=2026-11-01&azureSubscriptionId=11111111-0000-0000-0000-000000000000", 0],
  ])("filters by %s", async (query, rows) => {
    await sendThree();
    expect((await kit.list(query)).body).toHaveLength(rows);
  });

  it.each(["", "usageStartDate=soon", "usageStartDate=2026-11-01&usageEndDate=late"])(
    "refuses the query '%s'",
    async (query) => {
      expect(await kit.list(query)).toMatchObject({ status: 400, body: { code: "BadArgument" } });
    },
  );

  it("shows only the caller's resources, or all by switch", async () => {
    await sendThree();
    const stranger = await kit.token({ clientId: STRANGER });
    expect((await kit.list("usageStartDate=2026-11-01", stranger)).body).toEqual([]);
    await kit.control("switches", { listShows: "AllResources" });
    expect((await kit.list("usageStartDate=2026-11-01", stranger)).body).toHaveLength(2);
  });

  it.each([
    ["Accepted", 10],
    ["Rejected", 0],
    ["Mismatch", 5],
  ])("moves to %s after the set delay", async (reconOutcome, processedQuantity) => {
    await kit.control("switches", { reconOutcome, reconDelaySeconds: 3600 });
    await sendThree();
    kit.time.nowMs += 3_600_000;
    const answer = await kit.list("usageStartDate=2026-11-22");
    expect(answer.body).toEqual([
      rowOf({ reconStatus: reconOutcome, processedQuantity, planName: "pro", offerName: "emulated-offer" }),
    ]);
  });

  it("shows events late, and cuts no day, by switch", async () => {
    await kit.control("switches", { listDelaySeconds: 60, listStartCutsDay: false });
    await sendThree();
    expect((await kit.list("usageStartDate=2026-11-22T05:00:00Z")).body).toEqual([]);
    kit.time.nowMs += 60_000;
    expect((await kit.list("usageStartDate=2026-11-22T05:00:00Z")).body).toHaveLength(1);
  });
});
