import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  extensionUri,
  HOUR_MS,
  hourStart,
  NOW_MS,
  OWNER,
  request,
  RESOURCE_URI,
  startKit,
  usageEvent,
  type Kit,
} from "./test-kit.ts";

let kit: Kit;
beforeEach(async () => {
  kit = await startKit();
});
afterEach(() => kit.stop());

const set = (switches: object) => kit.control("switches", switches);
const batch = async (...events: object[]) => {
  const { status, body } = await kit.post("batchUsageEvent", { request: events });
  const results = z.object({ result: z.array(z.looseObject({ status: z.string() })) }).safeParse(body).data?.result;
  return { status, statuses: results?.map((result) => result.status), results, body };
};
const rows = async (query = "usageStartDate=2026-11-01") =>
  z.array(z.record(z.string(), z.unknown())).parse((await kit.list(query)).body);

describe("what a batch may hold", () => {
  const twoDimensions = [usageEvent(), usageEvent({ dimension: "pod_hour" })];
  const oneSlot = [usageEvent(), usageEvent({ quantity: 9 })];
  it.each([
    ["sameHourInBatch", "Accepted", twoDimensions, 200, ["Accepted", "Accepted"], 2],
    ["sameHourInBatch", "Item", twoDimensions, 200, ["Accepted", "BadArgument"], 1],
    ["sameHourInBatch", "WholeCall", twoDimensions, 400, undefined, 0],
    ["sameHourInBatch", "WholeCall", oneSlot, 200, ["Accepted", "Duplicate"], 1],
    ["sameSlotInBatch", "Duplicate", oneSlot, 200, ["Accepted", "Duplicate"], 1],
    ["sameSlotInBatch", "Item", oneSlot, 200, ["Accepted", "BadArgument"], 1],
    ["sameSlotInBatch", "WholeCall", oneSlot, 400, undefined, 0],
    ["sameSlotInBatch", "WholeCall", twoDimensions, 200, ["Accepted", "Accepted"], 2],
  ])("%s %s", async (name, value, events, status, statuses, booked) => {
    await set({ [name]: value });
    expect(await batch(...events)).toMatchObject({ status, statuses });
    expect(await kit.events()).toHaveLength(booked);
  });
});

describe("checkOrder", () => {
  it.each([
    ["ResourceFirst", ["ResourceNotActive", "ResourceNotActive"]],
    ["TimeFirst", ["Expired", "ResourceNotActive"]],
  ])("%s", async (checkOrder, statuses) => {
    await set({ checkOrder });
    await kit.control("resources/suspend", { resourceUri: RESOURCE_URI });
    expect(await batch(usageEvent({}, 30), usageEvent())).toMatchObject({ statuses });
  });
});

describe("unconfirmedBodies", () => {
  it.each([
    ["Envelope", [true, true]],
    ["Bare", [false, true]],
  ])("%s: InvalidQuantity and Expired have an error", async (unconfirmedBodies, withError) => {
    await set({ unconfirmedBodies });
    const { results } = await batch(usageEvent({ quantity: 0 }), usageEvent({}, 30));
    expect(results?.map((result) => "error" in result)).toEqual(withError);
  });
});

describe("formerPlan", () => {
  const old = (hoursAgo: number) => usageEvent({ planId: "free", dimension: "pod_hour" }, hoursAgo);
  it.each([
    ["EarlierHours", ["Accepted", "Accepted", "InvalidDimension"]],
    ["Refused", ["InvalidDimension", "InvalidDimension", "InvalidDimension"]],
    ["Accepted", ["Accepted", "Accepted", "Accepted"]],
  ])("%s: the hour before a change of plan, its own, the one after", async (formerPlan, statuses) => {
    await set({ formerPlan });
    await kit.control("resources/change-plan", { resourceUri: RESOURCE_URI, planId: "free" });
    await kit.control("resources/change-plan", { resourceUri: RESOURCE_URI, planId: "pro" });
    kit.time.nowMs = NOW_MS + HOUR_MS;
    expect(await batch(old(1), old(0), old(-1))).toMatchObject({ statuses });
    expect(await batch(usageEvent({}, 1), usageEvent({}, -1))).toMatchObject({ statuses: ["Accepted", "Accepted"] });
  });
});

describe("what is compared", () => {
  const twentyPast = usageEvent({ effectiveStartTime: hourStart(24).replace(":00:00Z", ":40:00Z") });
  it.each([
    ["expiryComparedTo", "EffectiveStartTime", twentyPast, "Accepted"],
    ["expiryComparedTo", "StartOfHour", twentyPast, "Expired"],
    ["uriIgnoresCase", false, usageEvent({ resourceUri: RESOURCE_URI.replace("/rg/", "/RG/") }), "ResourceNotFound"],
    ["uriIgnoresCase", true, usageEvent({ resourceUri: RESOURCE_URI.replace("/rg/", "/RG/") }), "Accepted"],
    ["uriIgnoresCase", false, usageEvent(), "Accepted"],
    ["quantityDecimals", 0, usageEvent({ quantity: 0.4 }), "InvalidQuantity"],
  ])("%s %s", async (name, value, event, status) => {
    await set({ [name]: value });
    expect(await batch(event)).toMatchObject({ statuses: [status] });
  });

  it("quantityDecimals: what is booked and answered is rounded", async () => {
    await set({ quantityDecimals: 1 });
    const { results } = await batch(usageEvent({ quantity: 2.26 }));
    expect(results).toMatchObject([{ status: "Accepted", quantity: 2.3 }]);
    expect(await kit.events()).toMatchObject([{ quantity: 2.3 }]);
  });

  it("answersUriCase: Lower, in accepted, duplicate and refused items", async () => {
    await set({ answersUriCase: "Lower" });
    const { results } = await batch(usageEvent(), usageEvent(), usageEvent({ quantity: 0 }));
    expect(results?.map((result) => result["resourceUri"])).toEqual(Array(3).fill(RESOURCE_URI.toLowerCase()));
    expect(JSON.stringify(results)).not.toContain(RESOURCE_URI);
  });
});

describe("requestsPerMinuteMax", () => {
  it("answers 429 beyond it, with Retry-After by switch, until the next minute", async () => {
    await set({ requestsPerMinuteMax: 2, rateLimitRetryAfterSeconds: 30 });
    await batch(usageEvent({}, 1));
    await batch(usageEvent({}, 2));
    const third = await kit.post("usageEvent", usageEvent({}, 3));
    expect([third.status, third.headers.get("retry-after")]).toEqual([429, "30"]);
    expect(await kit.events()).toHaveLength(2);
    await set({ rateLimitRetryAfterSeconds: 0 });
    expect((await kit.post("usageEvent", usageEvent({}, 3))).headers.get("retry-after")).toBeNull();
    kit.time.nowMs += 60_000;
    expect(await batch(usageEvent({}, 3))).toMatchObject({ statuses: ["Accepted"] });
  });
});

describe("the list", () => {
  it("listAllowed: 403 for the caller, while posts go on", async () => {
    await set({ listAllowed: false });
    expect(await kit.list("usageStartDate=2026-11-01")).toMatchObject({ status: 403, body: { code: "Forbidden" } });
    expect(await batch(usageEvent())).toMatchObject({ statuses: ["Accepted"] });
  });

  it.each([
    [{ listShows: "Nothing" }, []],
    [{ listDayOf: "EffectiveStartTime" }, [{ usageDate: "2026-11-21T00:00:00Z", submittedQuantity: 5 }]],
    [{ listDayOf: "MessageTime" }, [{ usageDate: "2026-11-22T00:00:00Z", submittedQuantity: 5 }]],
    [{ listCountsRepeats: false, listCountIs: "Quantity" }, [{ submittedQuantity: 5, submittedCount: 5 }]],
    [{ listCountsRepeats: true, listCountIs: "Events" }, [{ submittedQuantity: 12, submittedCount: 1 }]],
    [{ listOfferType: "ContainerApplications" }, [{ offerType: "ContainerApplications" }]],
    [
      { reconOutcome: "TestHeaders", reconDelaySeconds: 0 },
      [{ reconStatus: "TestHeaders", processedQuantity: 0, submittedQuantity: 5 }],
    ],
    [{ reconOutcome: "DryRun", reconDelaySeconds: 0 }, [{ reconStatus: "DryRun" }]],
  ])("%j", async (switches, expected) => {
    await set(switches);
    await batch(usageEvent({}, 10), usageEvent({ quantity: 7 }, 10));
    const found = await rows();
    expect(found).toMatchObject(expected);
    expect(found).toHaveLength(expected.length);
  });
});

describe("identityOutlivesResource", () => {
  it.each([
    [true, 200],
    [false, 400],
  ])("%s: IMDS answers %i after the resource is deleted", async (identityOutlivesResource, status) => {
    await set({ identityOutlivesResource });
    const query = `api-version=2018-02-01&client_id=${OWNER}&resource=x`;
    const ask = () =>
      request(`${kit.imdsUrl}/metadata/identity/oauth2/token?${query}`, { headers: { metadata: "true" } });
    expect(await ask()).toMatchObject({ status: 200 });
    await kit.control("resources/delete", { resourceUri: RESOURCE_URI });
    expect(await ask()).toMatchObject({ status });
  });
});

describe("a resource's life", () => {
  const change = (verb: string, fields: object = {}) =>
    kit.control(`resources/${verb}`, { resourceUri: RESOURCE_URI, ...fields });

  it.each([
    ["reinstate", [], 'state: must be Suspended for reinstate: current value is "Active"'],
    ["activate", [], 'state: must be PendingActivation for activate: current value is "Active"'],
    ["suspend", ["delete"], 'state: must be Active for suspend: current value is "Deleted"'],
    [
      "delete",
      ["delete"],
      'state: must be PendingActivation or Active or Suspended for delete: current value is "Deleted"',
    ],
  ])("%s after %j is refused with what it must be", async (verb, before, problem) => {
    for (const step of before) await change(step);
    expect(await change(verb)).toMatchObject({ status: 400, body: { error: { problems: [problem] } } });
  });

  it.each(["change-plan", "recreate"])("%s refuses an unknown plan", async (verb) => {
    expect(await change(verb, { planId: "gold" })).toMatchObject({
      status: 400,
      body: { error: { problems: ['planId: must be one of pro, free: current value is "gold"'] } },
    });
  });

  it("re-created with another plan and identity, it answers to those alone", async () => {
    await set({ recreatedWaitSeconds: 0 });
    await change("recreate", { planId: "free", ownerClientId: "next" });
    expect(await batch(usageEvent())).toMatchObject({ statuses: ["ResourceNotAuthorized"] });
    const authorization = `Bearer ${await kit.token({ clientId: "next" })}`;
    const send = (event: object) => kit.post("usageEvent", event, { authorization });
    expect(await send(usageEvent())).toMatchObject({ status: 400, body: { details: [{ target: "dimension" }] } });
    expect(await send(usageEvent({ planId: "free", dimension: "pod_hour" }))).toMatchObject({ status: 200 });
  });

  it("the 1001st resource is refused", async () => {
    const { body } = await kit.control("state");
    const state = z.looseObject({ resources: z.array(z.looseObject({})) }).parse(body);
    const resources = Array.from({ length: 1000 }, (_, index) => ({
      ...state.resources[0],
      resourceUri: extensionUri(`app${index}`),
    }));
    expect(await kit.control("state", { ...state, resources }, "PUT")).toMatchObject({ status: 200 });
    const plans = [{ planId: "p", dimensions: [] }];
    const add = (name: string) =>
      kit.control("resources", { resourceUri: extensionUri(name), ownerClientId: "me", plans });
    expect(await add("app1000")).toMatchObject({
      status: 400,
      body: { error: { problems: ["(root): must not be one more than 1000 resources"] } },
    });
    expect(await add("app999")).toMatchObject({ status: 200 });
  });
});

describe("POST /control/switches", () => {
  it("changes what is named and leaves the rest", async () => {
    await set({ parsing: "Strict", listDelaySeconds: 9 });
    expect((await set({ slotHasPlan: true })).body).toMatchObject({
      parsing: "Strict",
      listDelaySeconds: 9,
      slotHasPlan: true,
    });
  });

  it.each([
    [{ slotHasPlans: true }, /^\(root\): Unrecognized key: "slotHasPlans"/],
    [[], /^\(root\): Invalid input: expected object/],
    ["off", /^\(root\): Invalid input: expected object/],
    [{ quantityDecimals: 16 }, /^quantityDecimals: .*current value is 16$/],
  ])("refuses %j", async (body, problem) => {
    expect(await kit.control("switches", typeof body === "string" ? JSON.stringify(body) : body)).toMatchObject({
      status: 400,
      body: { error: { problems: [expect.stringMatching(problem)] } },
    });
  });
});
