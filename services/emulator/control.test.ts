import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NOW_MS, OWNER, RESOURCE_URI, startKit, usageEvent, type Kit } from "./test-kit.ts";

let kit: Kit;
beforeAll(async () => {
  kit = await startKit();
});
afterAll(() => kit.stop());

describe("the clock", () => {
  it("goes forward only, by seconds or to the next hour", async () => {
    expect((await kit.control("clock")).body).toEqual({
      offsetSeconds: 0,
      now: "2026-11-22T08:30:00.000Z",
      speed: 1,
    });
    expect((await kit.control("clock", { advanceSeconds: 10 })).body).toMatchObject({ offsetSeconds: 10 });
    expect((await kit.control("clock", { offsetSeconds: 100 })).body).toMatchObject({ offsetSeconds: 100 });
    expect(await kit.control("clock", { offsetSeconds: 99 })).toMatchObject({
      status: 400,
      body: {
        error: {
          problems: ["offsetSeconds: must be from 100 to 315360000, the clock only goes forward: current value is 99"],
        },
      },
    });
    kit.time.nowMs = NOW_MS + 250;
    const next = await kit.control("clock", { advanceToNextHour: true });
    expect(next.body).toEqual({ offsetSeconds: 1800, now: "2026-11-22T09:00:00.250Z", speed: 1 });
    kit.time.nowMs = NOW_MS;
  });

  it("is the metering API's clock, and a reset leaves it", async () => {
    const { offsetSeconds } = JSON.parse(JSON.stringify((await kit.control("clock", { advanceSeconds: 7200 })).body));
    const later = new Date(NOW_MS + 3_600_000).toISOString();
    expect(await kit.post("usageEvent", usageEvent({ effectiveStartTime: later }))).toMatchObject({ status: 200 });
    await kit.control("reset", {});
    expect((await kit.control("clock")).body).toMatchObject({ offsetSeconds });
    expect(await kit.events()).toEqual([]);
  });
});

describe("resources", () => {
  it("are listed, suspended and reinstated, deleted and re-created", async () => {
    const change = (verb: string) => kit.control(`resources/${verb}`, { resourceUri: RESOURCE_URI.toUpperCase() });
    const send = async () => (await kit.post("usageEvent", usageEvent())).status;
    expect(await change("suspend")).toMatchObject({ body: { state: "Suspended" } });
    expect(await send()).toBe(400);
    expect(await change("reinstate")).toMatchObject({ body: { state: "Active", resourceUri: RESOURCE_URI } });
    expect(await send()).toBe(200);
    const before = await kit.control("resources");
    await change("delete");
    await change("recreate");
    const after = await kit.control("resources");
    expect(after).toMatchObject({ body: { resources: [{ state: "Active", ownerClientId: OWNER }] } });
    expect(JSON.stringify(after.body)).not.toBe(JSON.stringify(before.body));
    expect(await send()).toBe(400);
    await kit.control("clock", { advanceSeconds: 86_400 });
    const tomorrow = new Date(NOW_MS + 86_400_000).toISOString();
    expect(await kit.post("usageEvent", usageEvent({ effectiveStartTime: tomorrow }))).toMatchObject({ status: 200 });
  });
});

describe("a bad request", () => {
  const resource = { resourceUri: RESOURCE_URI, ownerClientId: OWNER, plans: [{ planId: "p", dimensions: ["d"] }] };
  it.each([
    [
      "clock",
      {},
      /^\(root\): must be \{offsetSeconds\}, \{advanceSeconds\} .*, \{advanceToNextHour: true\} or \{speed\} \(1 to 1000\)/,
    ],
    ["clock", { advanceSeconds: -1 }, /advanceSeconds/],
    ["clock", "{", /Cannot parse the body as JSON/],
    ["faults", { standIn: "metering", kind: "Statuss" }, /^kind: .*'DropRequest' \| .*current value is "Statuss"$/],
    ["faults", { standIn: "metering", kind: "Status", status: 200 }, /^status: .*>=400: current value is 200$/],
    ["faults", { standIn: "metering", kind: "DropAnswer", count: 0 }, /^count: .*>=1: current value is 0$/],
    [
      "faults",
      { standIn: "metering", kind: "DropAnswer", route: "chat" },
      /^route: must be one of usageEvent, batchUsageEvent, usageEvents: current value is "chat"$/,
    ],
    [
      "faults",
      { standIn: "imds", kind: "ForeignWriter", quantity: 1 },
      /^standIn: must be metering for ForeignWriter: current value is "imds"$/,
    ],
    ["faults", { standIn: "metering", kind: "DropAnswer", often: 3 }, /Unrecognized key: "often"/],
    ["switches", { afterExpiry: "Maybe" }, /^afterExpiry: .*"Expired"\|"Duplicate": current value is "Maybe"$/],
    [
      "resources",
      { ...resource, resourceUri: "app1" },
      /^resourceUri: must be an ARM id that starts with \/subscriptions\/<id>\/: current value is "app1"$/,
    ],
    ["resources", { ...resource, plans: [] }, /^plans: must name at least one plan/],
    [
      "resources",
      { ...resource, plans: [{ planId: "p", dimensions: Array.from({ length: 31 }, String) }] },
      /^plans\.0\.dimensions: must hold at most 30 dimensions/,
    ],
    [
      "resources/suspend",
      { resourceUri: "/x" },
      /^resourceUri: must be a registered resource: current value is "\/x"$/,
    ],
    ["tokens", { clientId: "" }, /^clientId: .*>=1/],
    ["model/scripts", { text: "x" }, /^say: /],
  ])("to %s with %j gets 400 with field, rule and value", async (path, body, problem) => {
    const answer = await kit.control(path, body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      error: { problems: expect.arrayContaining([expect.stringMatching(problem)]) },
    });
  });

  it.each([
    [
      "DELETE",
      "clock",
      /^Cannot DELETE \/control\/clock as the method must be one of HEAD, GET, POST: current value is DELETE$/,
    ],
    ["POST", "events", /must be one of HEAD, GET: current value is POST$/],
  ])("%s to %s gets 405 with the methods that it has", async (method, path, message) => {
    const answer = await kit.control(path, {}, method);
    expect(answer).toMatchObject({ status: 405, body: { error: { message: expect.stringMatching(message) } } });
    expect(answer.headers.get("allow")).toContain("GET");
  });

  it("with a body where none is wanted is refused, without one it is done", async () => {
    expect(await kit.control("reset", { everything: true })).toMatchObject({
      status: 400,
      body: { error: { problems: [expect.stringMatching(/^\(root\): Unrecognized key: "everything"/)] } },
    });
    for (const path of ["reset", "keys/rotate"])
      expect(await kit.control(path, undefined, "POST")).toMatchObject({ status: 200 });
  });

  it("to an unknown path gets 404 with the paths that exist", async () => {
    const answer = await kit.control("nothing");
    expect(answer).toMatchObject({
      status: 404,
      body: { error: { paths: expect.arrayContaining(["/control/clock", "/control/faults"]) } },
    });
  });
});
