import { createServer, type IncomingMessage, type Server } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Intent } from "#core/api/usage-statement.ts";
import { systemClock } from "#runtime/clock.ts";
import { createMarketplace } from "./marketplace.ts";
import { readBatchReply } from "./marketplace-answers.ts";
import type { Marketplace } from "./desk.ts";

const RESOURCE = "/subscriptions/S/Extensions/App1";
let server: Server;
let marketplace: Marketplace;
let requests: { url: string; authorization: string | undefined; body: string }[];
let respond: (body: string) => { status: number; body: unknown; headers?: Record<string, string> };

beforeEach(async () => {
  requests = [];
  server = createServer((request, response) => {
    void read(request).then((body) => {
      requests.push({ url: request.url ?? "", authorization: request.headers.authorization, body });
      const answer = respond(body);
      response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
      response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  marketplace = createMarketplace({
    baseUrl: `http://127.0.0.1:${port}/api`,
    token: () => Promise.resolve("t0ken"),
    clock: systemClock,
    newId: () => "11111111-0000-4000-8000-000000000000",
  });
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
});

function intent(dimension: string, hour = "2026112208"): Intent {
  return {
    offerResourceId: RESOURCE,
    hour,
    effectiveStartTime: `2026-11-22T${hour.slice(8)}:00:00.000Z`,
    dimension,
    planId: "starter",
    quantity: "5",
    unit: "u",
    divisor: "1",
    baseUnits: "5",
    agents: "-",
    catalogueDigest: "",
    shares: [],
  };
}

/** An item as Azure writes it; the resource comes back in other casing, the time with more digits. */
function item(dimension: string, part: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    status: "Accepted",
    resourceUri: RESOURCE.toLowerCase(),
    quantity: 5,
    dimension,
    effectiveStartTime: "2026-11-22T08:00:00.0000000Z",
    planId: "starter",
    usageEventId: `id-${dimension}`,
    ...part,
  };
}

describe("createMarketplace()", () => {
  it("sends what the metering API wants: one batch, whole hours in UTC, the token, the version", async () => {
    respond = () => ({ status: 200, body: { result: [item("a")], count: 1 } });
    await marketplace.post([intent("a")]);
    expect(requests[0]).toMatchObject({
      url: "/api/batchUsageEvent?api-version=2018-08-31",
      authorization: "Bearer t0ken",
    });
    expect(JSON.parse(requests[0]?.body ?? "")).toEqual({
      request: [
        {
          resourceUri: RESOURCE,
          quantity: 5,
          dimension: "a",
          effectiveStartTime: "2026-11-22T08:00:00Z",
          planId: "starter",
        },
      ],
    });
  });

  it("sends one by one when the batch is refused as malformed: one bad item must not hold the others", async () => {
    const refusal = {
      code: "BadArgument",
      message: "m",
      details: [{ message: "bad", target: "dimension", code: "BadArgument" }],
    };
    respond = (body) =>
      body.includes('"bad"')
        ? { status: 400, body: refusal }
        : { status: 200, body: { result: [item("a")], count: 1 } };
    const answers = await marketplace.post([intent("a"), intent("bad")]);
    expect(requests).toHaveLength(3);
    expect(answers.map(({ status }) => status)).toEqual(["Accepted", "InvalidDimension"]);
  });

  it("sends an item again alone that is refused as malformed in company: two of one hour may not share a batch", async () => {
    const error = { code: "BadArgument", message: "Only one usage event per hour is allowed in a batch." };
    respond = (body) =>
      body.includes('"a"')
        ? { status: 200, body: { result: [item("a"), { ...item("b", { status: "BadArgument" }), error }], count: 2 } }
        : { status: 200, body: { result: [item("b")], count: 1 } };
    const answers = await marketplace.post([intent("a"), intent("b")]);
    expect(requests).toHaveLength(2);
    expect(answers.map(({ status }) => status)).toEqual(["Accepted", "Accepted"]);
  });

  it("turns a closed connection into an answer, never into a throw, and keeps the token out of it", async () => {
    respond = () => {
      server.closeAllConnections();
      return { status: 200, body: "" };
    };
    const [answer] = await marketplace.post([intent("a")]);
    expect(answer).toMatchObject({ httpStatus: 0, status: "NoAnswer" });
    expect(JSON.stringify(answer)).not.toContain("t0ken");
  });

  it("honours Retry-After within bounds", async () => {
    respond = () => ({ status: 429, body: "busy", headers: { "retry-after": "86400" } });
    expect((await marketplace.post([intent("a")]))[0]).toMatchObject({ status: "Http429", retryAfterMs: 300_000 });
  });

  it("lists from a UTC midnight and adds nothing of its own to the filter", async () => {
    const row = {
      usageDate: "2026-11-22T00:00:00Z",
      usageResourceId: "G",
      dimension: "a",
      planId: "starter",
      submittedQuantity: 17.5,
      processedQuantity: 17,
      reconStatus: "NewWord",
    };
    const date = "Tue, 24 Nov 2026 10:00:00 GMT";
    respond = () => ({ status: 200, body: [row], headers: { date } });
    const read = { day: "20261122", usageResourceId: "G", dimension: "a", planId: "starter", quantity: "17.5" };
    expect(await marketplace.list("20261120")).toEqual({
      ok: true,
      rows: [{ ...read, processed: "17", reconStatus: "NewWord" }],
      dateMs: Date.parse(date),
    });
    expect(requests[0]?.url).toBe("/api/usageEvents?usageStartDate=2026-11-20T00%3A00%3A00Z&api-version=2018-08-31");
  });

  it.each([
    [403, { code: "Forbidden" }, { ok: false, refused: true, message: "HTTP status 403" }],
    [500, "oops", { ok: false, refused: false, message: "HTTP status 500" }],
    [200, { not: "a list" }, { ok: false, refused: false, message: "HTTP status 200" }],
    [200, "[{", { ok: false, refused: false, message: "HTTP status 200" }],
  ] as const)("a list answered with %i %j is no list", async (...[status, body, expected]) => {
    respond = () => ({ status, body });
    expect(await marketplace.list("20261120")).toEqual(expected);
  });
});

describe("readBatchReply()", () => {
  const reply = (status: number, body: unknown): Parameters<typeof readBatchReply>[0] => ({
    status,
    text: typeof body === "string" ? body : JSON.stringify(body),
    requestId: "r",
  });
  const statuses = (status: number, body: unknown): string[] =>
    readBatchReply(reply(status, body), [intent("a"), intent("b")]).map((answer) => answer.status);

  it("matches by slot and plan, not by place, and calls what is missing unknown", () => {
    expect(statuses(200, { result: [item("b", { status: "Expired" }), item("a")] })).toEqual(["Accepted", "Expired"]);
    expect(statuses(200, { result: [item("a")] })).toEqual(["Accepted", "Missing"]);
    expect(
      statuses(200, {
        result: [item("a", { planId: "other" }), item("b", { effectiveStartTime: "2026-11-22T09:00:00Z" })],
      }),
    ).toEqual(["Missing", "Missing"]);
  });

  it("keeps the accepted event of a duplicate, and its reason", () => {
    const error = {
      code: "Conflict",
      message: "This usage event already exist.",
      additionalInfo: { acceptedMessage: { usageEventId: "u", quantity: 20.5, dimension: "a", resourceId: "g" } },
    };
    const [answer] = readBatchReply(
      reply(200, { result: [item("a", { status: "Duplicate", usageEventId: null, error })] }),
      [intent("a")],
    );
    expect(answer).toMatchObject({
      status: "Duplicate",
      reasons: ["This usage event already exist."],
      acceptedMessage: { usageEventId: "u", quantity: 20.5, resourceId: "g" },
    });
  });

  it.each([
    ["The effective time provided is has expired or is in future.", "effectiveStartTime", "Expired"],
    ["The resourceId value provided cannot be found or this resource is not active.", "resourceId", "ResourceNotFound"],
    ["The payload dimension is invalid.", "dimension", "InvalidDimension"],
    ["Invalid usage state.", "ResourceUri", "BadArgument"],
    ["Something new", "quantity", "BadArgument"],
  ])("a refused single call: %s", (message, target, expected) => {
    const body = {
      message: "One or more errors have occurred.",
      target: "usageEventRequest",
      code: "BadArgument",
      details: [{ message, target, code: "BadArgument" }],
    };
    expect(readBatchReply(reply(400, body), [intent("a")])[0]).toMatchObject({
      status: expected,
      reasons: [`${message} (${target})`],
    });
  });

  it.each([
    [200, "no json at all", "Unreadable"],
    [200, { result: "x" }, "Unreadable"],
    [500, "", "Http500"],
    [400, "<html>proxy</html>", "Http400"],
    [0, "", "Http0"],
  ])("%i with %j is unknown: %s", (status, body, expected) => {
    expect(statuses(status, body)).toEqual([expected, expected]);
  });
});

async function read(request: IncomingMessage): Promise<string> {
  const chunks: string[] = [];
  for await (const chunk of request) chunks.push(String(chunk));
  return chunks.join("");
}
