import { readFileSync } from "node:fs";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import type { PodUsage } from "#core/api/pod-usage.ts";
import type { Ledger } from "#core/api/usage-ledger.ts";
import { newLedger } from "#core/ledger.ts";
import { readEnvironment, readTerms } from "./config.ts";
import { createMemory } from "./desk.ts";
import { createReporterMetrics } from "./metrics.ts";

const EIGHT_MS = Date.UTC(2026, 10, 22, 8);
const ENVIRONMENT = readEnvironment({ SUPERCARGO_POD_NAME: "r-0", SUPERCARGO_POD_NAMESPACE: "supercargo" });
const TERMS = readTerms(ENVIRONMENT, readFileSync("charts/supercargo/files/catalogue.yaml", "utf8"));

const ACCOUNT: Ledger["accounts"][number] = {
  dimension: "tokens_1k_in",
  from: "input_tokens",
  divisor: "1000",
  dueClosed: "0",
  periods: [],
  segments: [],
  acceptedBefore: "90000",
  acceptedDays: [{ day: "20261122", baseUnits: "8000" }],
  reservations: [{ hour: "2026112207", planId: "starter", quantity: "2", divisor: "1000" }],
  dropped: "3000",
  backlog: "1500",
  oldestUnpostedHour: "2026112106",
  usualHour: "0",
  overAccepted: "500",
};
const LEDGER: Ledger = {
  ...newLedger({
    offerResourceId: "plain",
    mode: "Marketplace",
    planId: "starter",
    catalogueDigest: "d",
    nowMs: EIGHT_MS,
    term: 1,
  }),
  parked: ["tool_action"],
  problems: [{ reason: "PostsStopped", message: "m", since: "2026-11-22T08:00:00.000Z" }],
  compared: [{ day: "20261120", dimension: "a", state: "Mismatch", accepted: "1", submitted: "1", processed: "0" }],
  accounts: [ACCOUNT],
  attributions: [{ agent: "shop/orders", dimension: "tokens_1k_in", billed: "99900", free: "0" }],
};

function pod(name: string, checkpointSeconds: number, quarantined: string[]): PodUsage {
  return {
    apiVersion: "supercargo.dev/v1alpha1",
    kind: "PodUsage",
    metadata: { name, namespace: "shop" },
    spec: {
      podName: name,
      component: "gateway",
      agentDeployment: "orders",
      offerResourceId: "plain",
      checkpointSeconds,
    },
    status: { sequence: "1", totals: [], final: "No", quarantined },
  };
}

async function valuesAfter(ledger: Ledger): Promise<Record<string, string>> {
  const registry = new Registry();
  const metrics = createReporterMetrics(registry, TERMS);
  const memory = createMemory();
  memory.retention.awaitingExport = 7;
  memory.leases.limits = [{ dimension: "chats", soldAs: "chats", hard: 200n, used: 150n }];
  metrics.posted({ requestId: "r", httpStatus: 200, status: "Accepted", reasons: [] }, EIGHT_MS + 1000);
  metrics.listed({ ok: true, rows: [] });
  metrics.listed({ ok: false, refused: true, message: "403" });
  metrics.listed({ ok: false, refused: false, message: "no answer" });
  metrics.listed({ ok: false, refused: false, message: "no answer" });
  metrics.posted({ requestId: "r", httpStatus: 0, status: "NoAnswer", reasons: [] }, EIGHT_MS + 2000);
  metrics.cycle({
    ledger,
    pods: [pod("a", 60, []), pod("b", 500, ["input_tokens"])],
    memory,
    nowMs: EIGHT_MS,
    graceMs: 125_000,
  });
  const lines = (await registry.metrics()).split("\n").filter((line) => line.startsWith("supercargo_reporter_"));
  return Object.fromEntries(
    lines.map((line) => [line.slice(20, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]),
  );
}

describe("the reporter's metrics", () => {
  it("show what an SRE must see", async () => {
    expect(await valuesAfter(LEDGER)).toMatchObject({
      last_closed_hour_timestamp_seconds: String(EIGHT_MS / 1000 - 3600),
      oldest_open_slot_timestamp_seconds: String(EIGHT_MS / 1000 - 3600),
      oldest_unposted_hour_timestamp_seconds: String(EIGHT_MS / 1000 - 26 * 3600),
      last_answer_timestamp_seconds: String(EIGHT_MS / 1000 + 1),
      'unposted_units{dimension="tokens_1k_in"}': "3.5",
      'dropped_units{dimension="tokens_1k_in"}': "3",
      'over_accepted_units{dimension="tokens_1k_in"}': "0.5",
      'unattributed_ratio{dimension="tokens_1k_in"}': "0.001",
      parked_dimensions: "1",
      'problem{reason="PostsStopped"}': "1",
      'problem{reason="SilentPods"}': "0",
      discrepancies: "1",
      pods: "2",
      quarantined_pods: "1",
      silent_pods: "2",
      checkpoint_seconds: "500",
      'statements_waiting{for="export"}': "7",
      'statements_waiting{for="deletion"}': "0",
      'limit_used_ratio{dimension="chats"}': "0.75",
      'posts_total{status="NoAnswer"}': "1",
      'lists_total{result="ok"}': "1",
      'lists_total{result="refused"}': "1",
      'lists_total{result="failed"}': "2",
    });
  });

  it("fall back when all is well again", async () => {
    const healed: Ledger = { ...LEDGER, parked: [], problems: [], compared: [], accounts: [], attributions: [] };
    expect(await valuesAfter(healed)).toMatchObject({
      oldest_open_slot_timestamp_seconds: "0",
      oldest_unposted_hour_timestamp_seconds: "0",
      parked_dimensions: "0",
      'problem{reason="PostsStopped"}': "0",
      discrepancies: "0",
    });
  });
});
