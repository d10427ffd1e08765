import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  extensionUri,
  HOUR_MS,
  hourStart,
  NOW_MS,
  OWNER,
  RESOURCE_URI,
  startKit,
  STRANGER,
  usageEvent,
  type Kit,
} from "./test-kit.ts";

const TIME_TEXT = "The effective time provided is has expired or is in future.";
const RESOURCE_TEXT = "The resourceId value provided cannot be found or this resource is not active.";
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MESSAGE_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,7})?Z$/;

let kit: Kit;
beforeAll(async () => {
  kit = await startKit();
});
afterAll(() => kit.stop());
beforeEach(async () => {
  kit.time.nowMs = NOW_MS;
  await kit.control("reset", {});
});

interface Row {
  readonly name: string;
  readonly event: Record<string, unknown>;
  readonly before?: () => Promise<unknown>;
  readonly single: { readonly status: number; readonly target?: string; readonly message?: string };
  readonly batch: string;
  /** Whether the item's answer carries the GUID of the resource beside what was sent. */
  readonly withId: boolean;
}

const named = (path: string) => () => kit.control(path, { resourceUri: RESOURCE_URI });
const inFuture = (): string => hourStart(-1);

const REFUSED: readonly Row[] = [
  {
    name: "no resourceUri",
    event: usageEvent({ resourceUri: undefined }),
    single: { status: 400, target: "ResourceUri", message: "The resourceUri is required." },
    batch: "BadArgument",
    withId: false,
  },
  {
    name: "resourceId in place of resourceUri",
    event: usageEvent({ resourceUri: undefined, resourceId: "54372f22-697c-479e-9b76-d5bbdd6e701a" }),
    single: { status: 400, target: "ResourceUri", message: "The resourceUri is required." },
    batch: "BadArgument",
    withId: false,
  },
  {
    name: "both ids",
    event: usageEvent({ resourceId: "54372f22-697c-479e-9b76-d5bbdd6e701a" }),
    single: { status: 400, target: "ResourceUri" },
    batch: "BadArgument",
    withId: false,
  },
  {
    name: "unknown URI",
    event: usageEvent({ resourceUri: extensionUri("nobody") }),
    single: { status: 400, target: "resourceId", message: RESOURCE_TEXT },
    batch: "ResourceNotFound",
    withId: false,
  },
  {
    name: "suspended",
    event: usageEvent(),
    before: named("resources/suspend"),
    single: { status: 400, target: "resourceId", message: RESOURCE_TEXT },
    batch: "ResourceNotActive",
    withId: true,
  },
  {
    name: "deleted",
    event: usageEvent(),
    before: named("resources/delete"),
    single: { status: 400, target: "resourceId", message: RESOURCE_TEXT },
    batch: "ResourceNotActive",
    withId: true,
  },
  {
    name: "never active",
    event: usageEvent({ resourceUri: extensionUri("new") }),
    before: () =>
      kit.control("resources", {
        resourceUri: extensionUri("new"),
        ownerClientId: OWNER,
        state: "PendingActivation",
        plans: [{ planId: "pro", dimensions: ["workflow_completed"] }],
      }),
    single: { status: 400, target: "resourceId", message: RESOURCE_TEXT },
    batch: "ResourceNotActive",
    withId: true,
  },
  {
    name: "re-created",
    event: usageEvent(),
    before: named("resources/recreate"),
    single: { status: 400, target: "ResourceUri", message: "Invalid usage state." },
    batch: "BadArgument",
    withId: true,
  },
  {
    name: "dimension not in the offer",
    event: usageEvent({ dimension: "nothing" }),
    single: { status: 400, target: "dimension", message: "The payload dimension is invalid." },
    batch: "InvalidDimension",
    withId: true,
  },
  {
    name: "dimension not in this plan",
    event: usageEvent({ planId: "free" }),
    single: { status: 400, target: "dimension", message: "The payload dimension is invalid." },
    batch: "InvalidDimension",
    withId: true,
  },
  {
    name: "dimension of a plan that was not bought",
    event: usageEvent({ planId: "free", dimension: "pod_hour" }),
    before: () =>
      kit.control("resources", {
        resourceUri: RESOURCE_URI,
        ownerClientId: OWNER,
        planId: "pro",
        plans: [
          { planId: "pro", dimensions: ["workflow_completed"] },
          { planId: "free", dimensions: ["pod_hour"] },
        ],
      }),
    single: { status: 400, target: "dimension", message: "The payload dimension is invalid." },
    batch: "InvalidDimension",
    withId: true,
  },
  {
    name: "quantity 0",
    event: usageEvent({ quantity: 0 }),
    single: { status: 400, target: "quantity" },
    batch: "InvalidQuantity",
    withId: true,
  },
  {
    name: "quantity negative",
    event: usageEvent({ quantity: -1 }),
    single: { status: 400, target: "quantity" },
    batch: "InvalidQuantity",
    withId: true,
  },
  {
    name: "quantity not a number",
    event: usageEvent({ quantity: "5" }),
    single: { status: 400, target: "quantity" },
    batch: "BadArgument",
    withId: false,
  },
  {
    name: "over 24 h old",
    event: usageEvent({}, 24),
    single: { status: 400, target: "effectiveStartTime", message: TIME_TEXT },
    batch: "Expired",
    withId: true,
  },
  {
    name: "in the future",
    event: usageEvent({ effectiveStartTime: inFuture() }),
    single: { status: 400, target: "effectiveStartTime", message: TIME_TEXT },
    batch: "Expired",
    withId: true,
  },
  {
    name: "time that is none",
    event: usageEvent({ effectiveStartTime: "yesterday" }),
    single: { status: 400, target: "effectiveStartTime" },
    batch: "BadArgument",
    withId: false,
  },
];

describe("an event that is refused", () => {
  it.each(REFUSED)("single: $name", async ({ event, before, single }) => {
    await before?.();
    const answer = await kit.post("usageEvent", event);
    expect(answer.status).toBe(single.status);
    const detail = { message: single.message ?? expect.any(String), target: single.target, code: "BadArgument" };
    expect(answer.body).toEqual({
      message: "One or more errors have occurred.",
      target: "usageEventRequest",
      details: [detail],
      code: "BadArgument",
    });
    expect(await kit.events()).toEqual([]);
  });

  it.each(REFUSED)("batch: $name", async ({ event, before, single, batch, withId }) => {
    await before?.();
    const answer = await kit.post("batchUsageEvent", { request: [event] });
    expect(answer.status).toBe(200);
    const message = single.message ?? expect.any(String);
    expect(answer.body).toEqual({
      count: 1,
      result: [
        {
          status: batch,
          messageTime: expect.stringMatching(MESSAGE_TIME),
          error: {
            code: "BadArgument",
            message: "One or more errors have occurred.",
            target: "usageEventRequest",
            details: [{ code: "BadArgument", target: single.target, message }],
          },
          ...(withId ? { resourceId: expect.stringMatching(GUID) } : {}),
          ...JSON.parse(JSON.stringify(event)),
        },
      ],
    });
    expect(await kit.events()).toEqual([]);
  });
});

describe("an event that is booked", () => {
  const accepted = {
    usageEventId: expect.stringMatching(GUID),
    status: "Accepted",
    messageTime: expect.stringMatching(MESSAGE_TIME),
    resourceId: expect.stringMatching(GUID),
    ...usageEvent(),
  };

  it("single: 200 with both ids", async () => {
    const answer = await kit.post("usageEvent", usageEvent());
    expect(answer).toMatchObject({ status: 200, body: accepted });
    expect(await kit.events()).toMatchObject([{ quantity: 5, dimension: "workflow_completed", writer: OWNER }]);
  });

  it("batch: Accepted with both ids", async () => {
    const answer = await kit.post("batchUsageEvent", { request: [usageEvent()] });
    expect(answer).toMatchObject({ status: 200, body: { count: 1 } });
    expect(answer.body).toEqual({ count: 1, result: [accepted] });
  });

  it("is in time until 24 h after its start, to the millisecond", async () => {
    kit.time.nowMs = Date.parse(hourStart(0)) + 24 * HOUR_MS + 1;
    expect(await kit.post("usageEvent", usageEvent({}, 0))).toMatchObject({ status: 400 });
    kit.time.nowMs -= 1;
    expect(await kit.post("usageEvent", usageEvent({}, 0))).toMatchObject({ status: 200 });
  });

  it("compares the URI without case and keeps fractions", async () => {
    const event = usageEvent({
      resourceUri: RESOURCE_URI.toUpperCase().replace("/SUBSCRIPTIONS", "/subscriptions"),
      quantity: 20.5,
    });
    expect(await kit.post("usageEvent", event)).toMatchObject({
      status: 200,
      body: { quantity: 20.5, resourceUri: event["resourceUri"] },
    });
    expect(await kit.post("usageEvent", usageEvent())).toMatchObject({ status: 409 });
  });
});

describe("a slot that is taken", () => {
  const acceptedMessage = {
    ...usageEvent(),
    usageEventId: expect.stringMatching(GUID),
    status: "Duplicate",
    messageTime: expect.stringMatching(MESSAGE_TIME),
    resourceId: expect.stringMatching(GUID),
  };
  const error = { additionalInfo: { acceptedMessage }, message: "This usage event already exist.", code: "Conflict" };

  it("single: 409 with the booked quantity", async () => {
    await kit.post("usageEvent", usageEvent());
    const answer = await kit.post("usageEvent", usageEvent({ quantity: 9 }));
    expect(answer).toMatchObject({ status: 409 });
    expect(answer.body).toEqual(error);
  });

  it("batch: Duplicate with the booked quantity, also for the second item of a slot in one batch", async () => {
    const answer = await kit.post("batchUsageEvent", { request: [usageEvent(), usageEvent({ quantity: 9 })] });
    const body = z.object({ result: z.array(z.record(z.string(), z.unknown())) }).parse(answer.body);
    expect(body.result[0]).toMatchObject({ status: "Accepted", quantity: 5 });
    expect(body.result[1]).toEqual({
      status: "Duplicate",
      messageTime: expect.stringMatching(MESSAGE_TIME),
      error,
      ...usageEvent({ quantity: 9 }),
    });
    expect(await kit.events()).toMatchObject([{ quantity: 5 }]);
  });

  it("is the same at any minute of the hour, and under another plan", async () => {
    await kit.post("usageEvent", usageEvent({ dimension: "pod_hour" }));
    const minute = hourStart(1).replace(":00:00Z", ":59:59.9999999Z");
    expect(
      await kit.post("usageEvent", usageEvent({ dimension: "pod_hour", effectiveStartTime: minute })),
    ).toMatchObject({ status: 409 });
    expect(await kit.post("usageEvent", usageEvent({ dimension: "pod_hour", planId: "free" }))).toMatchObject({
      status: 409,
    });
    expect(await kit.post("usageEvent", usageEvent({ dimension: "workflow_completed" }))).toMatchObject({
      status: 200,
    });
  });
});

describe("a caller", () => {
  it.each([
    ["no bearer", "", "no bearer token"],
    ["a bad bearer", "Bearer nonsense", "Invalid Compact JWS"],
  ])("with %s gets 403", async (_name, authorization, reason) => {
    for (const path of ["usageEvent", "batchUsageEvent"]) {
      const answer = await kit.post(path, usageEvent(), { authorization });
      expect(answer).toMatchObject({ status: 403, body: { code: "Forbidden" } });
      expect(answer.headers.get("x-emulator-reason")).toBe(reason);
    }
  });

  it.each([
    ["an expired token", { lifetimeSeconds: -60 }, /"exp" claim timestamp check failed/],
    ["another audience", { audience: "https://management.azure.com" }, /unexpected "aud" claim value/],
  ])("with %s gets 403", async (_name, wanted, reason) => {
    const authorization = `Bearer ${await kit.token(wanted)}`;
    const answer = await kit.post("usageEvent", usageEvent(), { authorization });
    expect(answer).toMatchObject({ status: 403, body: { code: "Forbidden" } });
    expect(answer.headers.get("x-emulator-reason")).toMatch(reason);
  });

  it("gets 401 by switch", async () => {
    await kit.control("switches", { tokenRefusalStatus: 401 });
    expect(await kit.post("usageEvent", usageEvent(), { authorization: "" })).toMatchObject({ status: 401 });
  });

  it("that does not own the resource gets 403, its item ResourceNotAuthorized, or 403 for the call by switch", async () => {
    const authorization = `Bearer ${await kit.token({ clientId: STRANGER })}`;
    const forbidden = { message: "Client is not authorized for this usage resource.", code: "Forbidden" };
    const batch = { request: [usageEvent()] };
    const single = await kit.post("usageEvent", usageEvent(), { authorization });
    expect([single.status, single.body]).toEqual([403, forbidden]);
    const item = await kit.post("batchUsageEvent", batch, { authorization });
    expect(item).toMatchObject({ status: 200, body: { result: [{ status: "ResourceNotAuthorized" }] } });
    await kit.control("switches", { notOwnedInBatch: "WholeCall" });
    const whole = await kit.post("batchUsageEvent", batch, { authorization });
    expect([whole.status, whole.body]).toEqual([403, forbidden]);
    expect(await kit.events()).toEqual([]);
  });
});

describe("a whole request", () => {
  it.each([
    ["an empty batch", { request: [] }],
    ["26 items", { request: Array.from({ length: 26 }, (_, hour) => usageEvent({}, hour)) }],
    ["no list", {}],
    ["no JSON", "{"],
  ])("with %s gets 400 and books nothing", async (_name, body) => {
    expect(await kit.post("batchUsageEvent", body)).toMatchObject({ status: 400, body: { code: "BadArgument" } });
    expect(await kit.events()).toEqual([]);
  });

  it("takes 25 items", async () => {
    const request = Array.from({ length: 24 }, (_, hour) => usageEvent({}, hour));
    const answer = await kit.post("batchUsageEvent", { request: [...request, usageEvent({ dimension: "pod_hour" })] });
    expect(answer).toMatchObject({ status: 200, body: { count: 25 } });
    expect(await kit.events()).toHaveLength(25);
  });

  it("without the api-version gets 400", async () => {
    const response = await fetch(`${kit.url}/api/usageEvent`, {
      method: "POST",
      headers: { authorization: `Bearer ${await kit.token()}` },
    });
    expect(response.status).toBe(400);
  });

  it("gets its request ids back, or new ones", async () => {
    const ids = {
      "x-ms-requestid": "aaaaaaaa-0000-4000-8000-000000000001",
      "x-ms-correlationid": "aaaaaaaa-0000-4000-8000-000000000002",
    };
    const echoed = await kit.post("usageEvent", usageEvent(), ids);
    expect(echoed.headers.get("x-ms-requestid")).toBe(ids["x-ms-requestid"]);
    expect(echoed.headers.get("x-ms-correlationid")).toBe(ids["x-ms-correlationid"]);
    const made = await kit.post("usageEvent", usageEvent());
    expect(made.headers.get("x-ms-requestid")).toMatch(GUID);
    expect(made.headers.get("x-ms-requestid")).toBe(made.headers.get("x-ms-correlationid"));
  });
});

describe("switches", () => {
  it("afterExpiry: a repeat after 24 h is Expired, or Duplicate", async () => {
    const event = usageEvent();
    await kit.post("usageEvent", event);
    kit.time.nowMs += 24 * HOUR_MS;
    expect(await kit.post("batchUsageEvent", { request: [event] })).toMatchObject({
      body: { result: [{ status: "Expired" }] },
    });
    await kit.control("switches", { afterExpiry: "Duplicate" });
    expect(await kit.post("batchUsageEvent", { request: [event] })).toMatchObject({
      body: { result: [{ status: "Duplicate" }] },
    });
  });

  it.each([
    ["recreatedStatus", { recreatedStatus: "Error" }, "resources/recreate", [usageEvent()], ["Error"]],
    ["recreatedWaitSeconds", { recreatedWaitSeconds: 0 }, "resources/recreate", [usageEvent()], ["Accepted"]],
    [
      "slotHasDimension",
      { slotHasDimension: false },
      "",
      [usageEvent(), usageEvent({ dimension: "pod_hour" })],
      ["Accepted", "Duplicate"],
    ],
    [
      "slotHasPlan",
      { slotHasPlan: true },
      "",
      [usageEvent({ dimension: "pod_hour" }), usageEvent({ dimension: "pod_hour", planId: "free" })],
      ["Accepted", "Accepted"],
    ],
    ["dimensionIgnoresCase", { dimensionIgnoresCase: true }, "", [usageEvent({ dimension: "POD_hour" })], ["Accepted"]],
    [
      "futureToleranceSeconds",
      { futureToleranceSeconds: 7200 },
      "",
      [usageEvent({ effectiveStartTime: inFuture() })],
      ["Accepted"],
    ],
    ["expiryComparedTo", { expiryComparedTo: "EndOfHour" }, "", [usageEvent({}, 24)], ["Accepted"]],
    [
      "parsing Lenient",
      { parsing: "Lenient" },
      "",
      [pascalCase(usageEvent({ effectiveStartTime: hourStart(1).replace("Z", "") }))],
      ["Accepted"],
    ],
    ["parsing Strict, keys", { parsing: "Strict" }, "", [pascalCase(usageEvent())], ["BadArgument"]],
    [
      "parsing Strict, time",
      { parsing: "Strict" },
      "",
      [usageEvent({ effectiveStartTime: hourStart(1).replace("Z", "+00:00") })],
      ["BadArgument"],
    ],
    ["parsing Strict, good", { parsing: "Strict" }, "", [usageEvent()], ["Accepted"]],
  ])("%s", async (...[_name, switches, change, request, statuses]) => {
    await kit.control("switches", switches);
    if (change !== "") await kit.control(change, { resourceUri: RESOURCE_URI });
    const answer = await kit.post("batchUsageEvent", { request });
    const body = z.object({ result: z.array(z.object({ status: z.string() })) }).parse(answer.body);
    expect(body.result.map((result) => result.status)).toEqual(statuses);
  });

  it("malformedInBatch: one malformed item fails alone, or the whole call", async () => {
    const request = [usageEvent(), usageEvent({ quantity: "x" }, 2)];
    await kit.control("switches", { malformedInBatch: "WholeCall" });
    expect(await kit.post("batchUsageEvent", { request })).toMatchObject({
      status: 400,
      body: { details: [{ target: "quantity" }] },
    });
    expect(await kit.events()).toEqual([]);
    await kit.control("switches", { malformedInBatch: "Item" });
    expect(await kit.post("batchUsageEvent", { request })).toMatchObject({ status: 200 });
    expect(await kit.events()).toHaveLength(1);
  });

  it("answersCarryResourceId and duplicateMessageTime change the bodies", async () => {
    await kit.control("switches", { answersCarryResourceId: false, duplicateMessageTime: "Zero" });
    const answer = await kit.post("batchUsageEvent", { request: [usageEvent(), usageEvent()] });
    expect(JSON.stringify(answer.body)).not.toContain("resourceId");
    expect(answer).toMatchObject({ body: { result: [{}, { messageTime: "0001-01-01T00:00:00" }] } });
  });
});

function pascalCase(event: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(event).map(([key, value]) => [key.charAt(0).toUpperCase() + key.slice(1), value]),
  );
}
