import { afterAll, beforeAll, expect, it } from "vitest";
import { newLedger, sealLedger } from "#core/ledger.ts";
import { USAGE_LEDGERS } from "#runtime/kube/resources.ts";
import { offerHash } from "#runtime/offer.ts";
import { type ApiHarness, must, startApi } from "../../../test/api/harness.ts";
import { createKubeBooks } from "./kube.ts";

let api: ApiHarness;
beforeAll(async () => void (api = await startApi()));
afterAll(() => api?.stop());

it("writes a ledger that grows by what is in it, not by the API server's list of who wrote which field", async () => {
  const books = createKubeBooks({
    client: api.client,
    offerResourceId: "plain",
    onDate: () => undefined,
    log: { warn: () => undefined },
  });
  const birth = {
    offerResourceId: "plain",
    mode: "Plain" as const,
    planId: "",
    catalogueDigest: "",
    nowMs: Date.parse("2026-11-22T08:00:00Z"),
    term: 1,
  };
  let ledger = await books.createLedger(sealLedger(newLedger(birth)));
  for (let round = 1; round <= 3; round += 1) {
    if (ledger === "Conflict") throw new Error("Nobody else writes here");
    const settled = Array.from({ length: 200 * round }, (_, n) => ({
      agent: `team/agent-${n}`,
      dimension: "input_tokens",
      total: String(n + round),
    }));
    ledger = await books.writeLedger({ value: sealLedger({ ...ledger.value, settled }), version: ledger.version });
  }
  const stored = must(await api.client.get(USAGE_LEDGERS, { name: offerHash("plain") }));
  const { managedFields, ...metadata } = stored.metadata;
  expect(ledger).toMatchObject({ value: { settled: expect.objectContaining({ length: 600 }) } });
  expect(JSON.stringify(managedFields ?? []).length * 2).toBeLessThan(JSON.stringify({ ...stored, metadata }).length);
});
