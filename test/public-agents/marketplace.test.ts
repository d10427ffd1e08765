import { createServer } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { catalogueSchema, findPlan } from "#core/plan.ts";
import { HOUR_MS } from "#core/time.ts";
import { systemClock } from "#runtime/clock.ts";
import { seedSchema } from "../../services/emulator/seed.ts";
import { type Kit, OWNER, startKit } from "../../services/emulator/test-kit.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { createMarketplace } from "../../services/meter/reporter/marketplace.ts";
import { MeterWorld, RESOURCE } from "../simulation/meter-world.ts";
import { notePosts } from "./shop.ts";

// These cases pass through the wire: the reporter's own adapter, and the emulator over HTTP.
const DIMENSIONS = Array.from({ length: 30 }, (_, index) => `dimension_${index}`);
const CATALOGUE = catalogueSchema.parse({
  dimensions: DIMENSIONS.map((id) => ({ id, from: id, unit: "unit", divisor: "1" })),
  plans: [{ id: "starter", displayName: "Starter", billing: "Custom", dimensions: DIMENSIONS.map((id) => ({ id })) }],
});

let kit: Kit;
let world: MeterWorld;
let logged: string[];
let tokens: string[];
beforeEach(async () => {
  kit = await startKit({
    seed: seedSchema.parse({
      identities: [],
      resources: [
        { resourceUri: RESOURCE, ownerClientId: OWNER, plans: [{ planId: "starter", dimensions: DIMENSIONS }] },
      ],
    }),
  });
  world = new MeterWorld();
  [logged, tokens] = [[], []];
});
afterEach(() => kit.stop());

/** A leader whose posts leave the process, and who says all that it would log. */
function leader(baseUrl = `${kit.url}/api`): Desk {
  const desk = world.desk();
  const note = (...parts: readonly unknown[]): void => {
    logged.push(JSON.stringify(parts));
  };
  return {
    ...desk,
    log: { info: note, warn: note, error: note, debug: note },
    terms: { ...desk.terms, catalogue: CATALOGUE, plan: findPlan(CATALOGUE, "starter") },
    marketplace: createMarketplace({
      baseUrl,
      clock: systemClock,
      newId: () => "11111111-0000-4000-8000-000000000000",
      async token() {
        const token = await kit.token();
        tokens.push(token);
        return token;
      },
    }),
  };
}

/** One pod uses some of every dimension in the hour that is open. */
async function open(desk: Desk): Promise<void> {
  world.addPod("a");
  for (const dimension of DIMENSIONS) world.use("a", dimension, 3n);
  world.publishAll();
  await turn(desk, 0);
}

async function turn(desk: Desk, ms: number): Promise<void> {
  world.advance(ms);
  world.publishAll();
  kit.time.nowMs = world.nowMs;
  await world.cycle(desk);
}

async function booked(): Promise<number[]> {
  return (await kit.events()).map(({ quantity }) => quantity);
}

describe("SUSE-Enceladus/csp-billing-adapter-microsoft", () => {
  it("plugin.py does not cut its batches, and the API refuses more than 25: ours sends 25 and the rest", async () => {
    const [desk, posts] = notePosts(world, leader());
    await open(desk);
    await turn(desk, HOUR_MS);
    expect(posts.map(({ intents }) => intents.length)).toEqual([25, 5]);
    expect(await booked()).toEqual(DIMENSIONS.map(() => 3));
  });

  it("plugin.py tries a refused item for ever: ours parks its dimension, and the other 29 are billed", async () => {
    const sold = DIMENSIONS.slice(1);
    await kit.control("resources", {
      resourceUri: RESOURCE,
      ownerClientId: OWNER,
      plans: [{ planId: "starter", dimensions: sold }],
    });
    const [desk, posts] = notePosts(world, leader());
    await open(desk);
    for (let hour = 0; hour < 4; hour += 1) await turn(desk, HOUR_MS);
    expect(posts).toHaveLength(2);
    expect(await booked()).toEqual(sold.map(() => 3));
    const parked = world.ledger?.value.accounts.filter((account) => account.parked !== undefined);
    expect(parked?.map(({ dimension, parked: why }) => [dimension, why?.reason])).toEqual([
      ["dimension_0", "InvalidDimension"],
    ]);
  });
});

describe("microsoft/commercial-marketplace-solutions", () => {
  it.each([
    ["an answer", undefined],
    ["a cut connection", { kind: "DropAnswer" }],
    ["a refusal", { kind: "Status", status: 403 }],
    ["an answer that is cut off", { kind: "TruncateJson" }],
  ])("Worker.cs prints its token: after %s there is none in our logs and books", async (_what, fault) => {
    const desk = leader();
    await open(desk);
    if (fault) await kit.control("faults", { standIn: "metering", ...fault });
    await turn(desk, HOUR_MS);
    await turn(desk, HOUR_MS);
    expect(tokens.length).toBeGreaterThan(1);
    expect(logged.length).toBeGreaterThan(30);
    const books = JSON.stringify([world.ledger, ...world.statements.values()]);
    for (const token of tokens)
      for (const part of token.split(".")) expect([...logged, books].filter((text) => text.includes(part))).toEqual([]);
  });
});

describe("the published OpenAPI", () => {
  it("has closed enums, and drops what it does not know: our adapter keeps the slot open and what was said, at a bounded length", async () => {
    const items = DIMENSIONS.slice(0, 25).map((dimension, index) => ({
      resourceUri: RESOURCE.toUpperCase(),
      dimension,
      planId: "starter",
      effectiveStartTime: "2026-11-22T08:00:00.0000000Z",
      quantity: 3,
      status: ["DryRun", "TestHeaders", "Throttled", "BadArgument"][index % 4],
      newField: { of: "tomorrow" },
      error: {
        code: "BadArgument",
        message: null,
        details: [{ message: `Not that way ${"x".repeat(9_000)}`, target: "header", code: "New", more: 1 }],
      },
    }));
    const server = createServer((request, response) => {
      const isList = request.method === "GET";
      response.setHeader("date", new Date(world.nowMs).toUTCString());
      response.end(JSON.stringify(isList ? [] : { result: items, count: items.length }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const address = server.address();
      const desk = leader(`http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/api`);
      await open(desk);
      await turn(desk, HOUR_MS);
    } finally {
      server.close();
      server.closeAllConnections();
    }
    const statements = [...world.statements.values()].map(({ value }) => value);
    const first = statements.slice(0, 4).map(({ state, attempts }) => [attempts.last[0]?.status, state]);
    expect(first).toEqual([
      ["DryRun", "Retrying"],
      ["TestHeaders", "Retrying"],
      ["Throttled", "Retrying"],
      ["BadArgument", "Parked"],
    ]);
    for (const { attempts } of statements.slice(0, 4)) {
      expect(attempts.last[0]?.message).toMatch(/^Not that way x+/);
      expect(attempts.last[0]?.message?.length).toBeLessThanOrEqual(256);
    }
  });
});
