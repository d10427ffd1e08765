import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Grants, type PodUsage, podUsageSchema } from "#core/api/pod-usage.ts";
import { newLedger } from "#core/ledger.ts";
import { toStatement } from "#core/statement.ts";
import { POD_USAGES, USAGE_STATEMENTS } from "#runtime/kube/resources.ts";
import { type ApiHarness, must, startApi } from "../../../test/api/harness.ts";
import type { Books } from "./desk.ts";
import { createKubeBooks } from "./kube.ts";

const OFFER = "/subscriptions/a/extensions/books";
const NOW_MS = Date.UTC(2026, 10, 22, 8);
let api: ApiHarness;
let books: Books;
let namespace: string;

beforeAll(async () => {
  api = await startApi();
  namespace = await api.newNamespace();
  const log = { warn: () => undefined };
  books = createKubeBooks({ client: api.client, offerResourceId: OFFER, onDate: () => undefined, log });
});
afterAll(() => api?.stop());

function grants(term: number, upTo: string): Grants {
  return {
    term,
    entitlement: { state: "Active", planId: "p", validUntil: "2026-11-23T08:00:00.000Z" },
    clockOffsetSeconds: 0,
    checkpointSeconds: 500,
    leases: [{ dimension: "workflow_completed", upTo }],
  };
}

/** A PodUsage as the operator creates it, with the first lease of nothing. */
async function createUsage(): Promise<PodUsage> {
  const spec = {
    podName: "p",
    component: "gateway",
    agentDeployment: "orders",
    offerResourceId: OFFER,
    checkpointSeconds: 60,
    grants: { ...grants(0, "0"), leases: [...(grants(0, "0").leases ?? []), { dimension: "tool_action", upTo: "0" }] },
  };
  const identity = { apiVersion: "supercargo.dev/v1alpha1", kind: "PodUsage" };
  const metadata = { name: randomUUID(), namespace };
  return podUsageSchema.parse(must(await api.client.create(POD_USAGES, { ...identity, metadata, spec })));
}

async function read(usage: PodUsage): Promise<PodUsage> {
  const { name } = usage.metadata;
  return podUsageSchema.parse(must(await api.client.get(POD_USAGES, { namespace, name })));
}

describe("applyGrants()", () => {
  it("writes onto the version that was read, and onto no other", async () => {
    const usage = await createUsage();
    expect(await books.applyGrants(usage, grants(1, "25"))).toBe("Written");
    const stamped = await read(usage);
    expect(stamped.spec.grants).toMatchObject({ term: 1, checkpointSeconds: 500 });
    expect(stamped.spec.grants?.leases).toContainEqual({ dimension: "workflow_completed", upTo: "25" });
    // An old leader, paused between its list and its write.
    expect(await books.applyGrants(usage, grants(0, "1000"))).toBe("Changed");
    expect(await read(usage)).toEqual(stamped);
    expect(await books.applyGrants(stamped, grants(1, "40"))).toBe("Written");
  });

  it("is refused after the sidecar has published: what the ceiling was worked out from is old", async () => {
    const usage = await createUsage();
    const status = { sequence: "1", totals: [{ dimension: "workflow_completed", total: "1", last: "1" }], final: "No" };
    const object = must(await api.client.get(POD_USAGES, { namespace, name: usage.metadata.name }));
    must(await api.client.updateStatus(POD_USAGES, { ...object, status }));
    expect(await books.applyGrants(usage, grants(1, "25"))).toBe("Changed");
  });

  it("brings no settled PodUsage back", async () => {
    const usage = await createUsage();
    must(await api.client.delete(POD_USAGES, { namespace, name: usage.metadata.name }));
    expect(["Changed", "Gone"]).toContain(await books.applyGrants(usage, grants(1, "25")));
    const found = await api.client.get(POD_USAGES, { namespace, name: usage.metadata.name });
    expect(found.ok ? "there" : found.error.kind).toBe("NotFound");
  });
});

describe("deleteStatement()", () => {
  it("deletes the version that was read, and no other", async () => {
    const birth = { offerResourceId: OFFER, mode: "Marketplace", planId: "p", catalogueDigest: "d" } as const;
    const ledger = newLedger({ ...birth, nowMs: NOW_MS, term: 1 });
    const slot = { hour: "2026112207", dimension: "tool_action" };
    const reservation = { ...slot, planId: "p", quantity: "2", divisor: "1", shares: [] };
    const created = await books.createStatement(toStatement(ledger, reservation, { dimensions: [], plans: [] }));
    if (created === "Conflict") throw new Error("There is one already");
    const written = await books.writeStatement({ ...created, value: { ...created.value, state: "Retrying" } });
    if (written === "Conflict") throw new Error("Another writer was first");
    expect(await books.deleteStatement(created)).toBe("Changed");
    expect((await books.listStatements()).length).toBe(1);
    expect(await books.deleteStatement(written)).toBe("Deleted");
    expect(await books.deleteStatement(written)).toBe("Deleted");
    expect(must(await api.client.list(USAGE_STATEMENTS)).items).toEqual([]);
  });
});
