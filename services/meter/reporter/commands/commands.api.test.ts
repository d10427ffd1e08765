import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Statement, usageStatementSchema } from "#core/api/usage-statement.ts";
import { hourKey } from "#core/time.ts";
import { POD_USAGES, USAGE_LEDGERS, USAGE_STATEMENTS } from "#runtime/kube/resources.ts";
import type { KubeObject } from "#runtime/kube/types.ts";
import { confirmLedger } from "../../../../test/api/confirm.ts";
import { type ApiHarness, at, must, startApi, waitFor } from "../../../../test/api/harness.ts";
import { prepareReporter, type ReporterHome } from "../../../../test/api/reporter.ts";
import { type Emulator, startEmulator } from "../../../emulator/app.ts";

const DAY_S = 86_400;

let api: ApiHarness;
let emulator: Emulator;
let home: ReporterHome;
let leader: { stop(): Promise<void> };
let resourceId: string;
let namespace: string;

// One emulator for all: the identity library keeps address and tokens of IMDS for the whole process.
beforeAll(async () => {
  api = await startApi();
  emulator = await startEmulator();
  process.env["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = emulator.imdsUrl;
});
afterAll(async () => {
  delete process.env["AZURE_POD_IDENTITY_AUTHORITY_HOST"];
  await emulator?.stop();
  await api?.stop();
});

beforeEach(async () => {
  const clientId = randomUUID();
  resourceId = `/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c/providers/Microsoft.KubernetesConfiguration/extensions/${clientId}`;
  const dimensions = ["workflow_completed", "tool_action", "tokens_1k_in", "tokens_1k_out"];
  await control("/resources", {
    resourceUri: resourceId,
    ownerClientId: clientId,
    plans: [{ planId: "starter", dimensions }],
  });
  const env = { SUPERCARGO_STATEMENT_RETENTION_DAYS: "7" };
  home = await prepareReporter(api, { emulator, clientId, resourceId, env });
  namespace = await api.newNamespace();
  leader = home.start();
  await confirmLedger(ledger, () => control("/clock", { advanceSeconds: 3600 }));
});
afterEach(async () => {
  await leader?.stop();
  home?.remove();
});

async function control(path: string, body: unknown): Promise<void> {
  const response = await fetch(`${emulator.controlUrl}/control${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`);
}

async function ask<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  return schema.parse(await (await fetch(`${emulator.controlUrl}/control${path}`)).json());
}

async function now(): Promise<Date> {
  return new Date((await ask("/clock", z.object({ now: z.string() }))).now);
}

/** A pod that had counted nothing when this hour began, and said its last word in it. */
async function useBy(agentDeployment: string, totals: Readonly<Record<string, number>>): Promise<void> {
  const name = randomUUID();
  const spec = {
    podName: name,
    component: "gateway",
    agentDeployment,
    offerResourceId: resourceId,
    checkpointSeconds: 5,
  };
  const identity = { apiVersion: "supercargo.dev/v1alpha1", kind: "PodUsage" };
  const labels = agentDeployment === "orders" ? { "supercargo.dev/team": "sales" } : {};
  const created = must(
    await api.client.create(POD_USAGES, { ...identity, metadata: { name, namespace, labels }, spec }),
  );
  const nowMs = (await now()).getTime();
  const nothing = Object.keys(totals).map((dimension) => ({ dimension, total: "0" }));
  const status = {
    sequence: "1",
    totals: Object.entries(totals).map(([dimension, total]) => ({ dimension, total: `${total}`, last: `${total}` })),
    final: "Yes",
    boundaries: [{ hour: hourKey(nowMs - 3_600_000), totals: nothing }],
    reportedAt: new Date(nowMs).toISOString(),
  };
  // The reporter may grant at the same time.
  const update = (object: KubeObject): ReturnType<typeof api.client.updateStatus> =>
    api.client.updateStatus(POD_USAGES, { ...object, status });
  const first = await update(created);
  if (!first.ok) must(await update(must(await api.client.get(POD_USAGES, { namespace, name }))));
}

async function statements(): Promise<Statement[]> {
  const list = must(await api.client.list(USAGE_STATEMENTS));
  return list.items
    .map((item) => usageStatementSchema.parse(item).spec)
    .filter((statement) => statement.intent.offerResourceId === resourceId);
}

async function ledger(): Promise<KubeObject | undefined> {
  const list = must(await api.client.list(USAGE_LEDGERS));
  return list.items.find((item) => at(item, "spec.offerResourceId") === resourceId);
}

/** The clock moves on, and every slot but those named gets its outcome. */
async function nextHour(open: readonly string[] = []): Promise<void> {
  const before = new Set((await statements()).map(({ intent }) => intent.hour));
  await control("/clock", { advanceToNextHour: true });
  await waitFor(
    "the hour's outcomes",
    async () => {
      const fresh = (await statements()).filter(({ intent }) => !before.has(intent.hour));
      return fresh.length > 0 && fresh.every((one) => one.outcome || open.includes(one.intent.dimension))
        ? true
        : undefined;
    },
    40_000,
  );
}

const billSchema = z.object({
  lines: z.array(z.object({ dimension: z.string(), quantity: z.number(), events: z.number() })),
});

/** What the Marketplace holds of a month: dimension → units. */
async function billed(month: string): Promise<Record<string, string>> {
  const { lines } = await ask(`/bill?resourceUri=${encodeURIComponent(resourceId)}&month=${month}`, billSchema);
  return Object.fromEntries(lines.map(({ dimension, quantity }) => [dimension, String(quantity)]));
}

function sum(rows: readonly { readonly base_units?: string }[]): bigint {
  return rows.reduce((total, row) => total + BigInt(row.base_units ?? "0"), 0n);
}

/** CSV without quoted fields, as all of ours are here. */
function readCsv(text: string): Record<string, string>[] {
  expect(text.endsWith("\r\n")).toBe(true);
  const [header = "", ...lines] = text.slice(0, -2).split("\r\n");
  const columns = header.split(",");
  return lines.map((line) => Object.fromEntries(line.split(",").map((field, index) => [columns[index], field])));
}

const jsonSchema = z.object({
  month: z.string(),
  offerResourceId: z.string(),
  statements: z.array(
    z.object({
      dimension: z.string(),
      quantity: z.string().nullable(),
      base_units: z.string().nullable(),
      adjustment_base_units: z.string().nullable(),
      shares: z.array(z.object({ agent: z.string(), team: z.string().optional(), base_units: z.string() })),
    }),
  ),
  totals: z.array(z.object({ dimension: z.string(), quantity: z.string(), open: z.number() })),
});

describe("reporter.js export", () => {
  it("sums exactly to the accepted events, in CSV and in JSON, and lets a month go when it was released", async () => {
    const month = (await now()).toISOString().slice(0, 7);
    await useBy("orders", { tool_action: 3, input_tokens: 2600 });
    await useBy("refunds", { tool_action: 2, input_tokens: 900, workflow_completed: 1 });
    await nextHour();
    const shown = await home.kubectl("get", "usagestatements");
    expect(shown.split("\n")[0]?.split(/ {2,}|\s+/)).toEqual(
      expect.arrayContaining(["HOUR", "DIMENSION", "QUANTITY", "UNIT", "STATE", "ACCEPTED", "AGENTS"]),
    );
    expect(shown).toMatch(new RegExp(`\\d{10} +tool_action +5 +action +Accepted +5 +${namespace}/orders \\+1 `));
    // Somebody else was first with one of the next hour's events, and an answer is lost.
    await useBy("orders", { input_tokens: 5000, workflow_completed: 4 });
    await control("/faults", { kind: "ForeignWriter", standIn: "metering", route: "batchUsageEvent", quantity: 2.5 });
    await nextHour();
    await useBy("orders", { tool_action: 7 });
    await control("/faults", { kind: "DropAnswer", standIn: "metering", route: "batchUsageEvent" });
    await nextHour();
    const states = new Set((await statements()).map(({ state }) => state));
    expect([...states].toSorted()).toEqual(["Accepted", "DuplicateOther", "DuplicateSame"]);
    const invoice = await billed(month);
    expect(Object.keys(invoice).toSorted()).toEqual(["tokens_1k_in", "tool_action", "workflow_completed"]);

    const csv = await home.command("export", "--month", month, "--format", "csv");
    expect(csv.code).toBe(0);
    const rows = readCsv(csv.stdout);
    const json = await home.command("export", "--month", month, "--format", "json");
    const document = jsonSchema.parse(JSON.parse(json.stdout));
    expect(document).toMatchObject({ month, offerResourceId: resourceId });
    expect(Object.fromEntries(document.totals.map(({ dimension, quantity }) => [dimension, quantity]))).toEqual(
      invoice,
    );
    for (const [dimension, quantity] of Object.entries(invoice)) {
      const own = rows.filter((row) => row["dimension"] === dimension);
      const events = own.filter((row) => row["kind"] === "Event");
      const parts = own.filter((row) => row["kind"] !== "Event");
      expect(events.reduce((total, row) => total + Number(row["quantity"]), 0)).toBe(Number(quantity));
      expect(sum(parts)).toBe(sum(events));
      expect(csv.stderr).toContain(`${month} ${dimension}: ${quantity} `);
    }
    for (const one of document.statements)
      expect(sum(one.shares) + BigInt(one.adjustment_base_units ?? "0")).toBe(BigInt(one.base_units ?? ""));
    expect(
      new Set(rows.filter((row) => row["kind"] === "Share").map((row) => `${row["agent"]} ${row["team"]}`)),
    ).toEqual(new Set([`${namespace}/orders sales`, `${namespace}/refunds `]));

    // As after a restore of etcd: a receipt is not there any more, and the ledger knows what was accepted.
    const names = (await home.kubectl("get", "usagestatements", "-o", "name")).split("\n");
    await home.kubectl("delete", ...names.filter((name) => name.endsWith("-tool-action")));
    const poorer = await home.command("export", "--month", month, "--format", "csv");
    expect(poorer.stderr).toContain(`${month} tool_action: ${invoice["tool_action"]} `);
    expect(poorer.stderr).toMatch(/^\d{8} tool_action: \d+ accepted beside all receipts; it is part of the total$/m);
    const beside = readCsv(poorer.stdout).filter((row) => row["kind"] === "Unreceipted");
    expect(new Set(beside.map((row) => row["dimension"]))).toEqual(new Set(["tool_action"]));
    expect(`${sum(beside)}`).toBe(invoice["tool_action"]);

    const early = await home.command("export", "--month", month, "--release");
    expect(early.code).toBe(1);
    expect(early.stderr).toMatch(
      /^Cannot release 20\d\d-\d\d as its last hour \d{10} must be closed: the last closed hour is \d{10}\n$/,
    );
    const both = await home.command("export", "--month", month, "--release", "--format", "csv");
    expect([both.code, both.stderr]).toEqual([
      1,
      "Cannot export and release at once: look at the file first, then run --release alone\n",
    ]);

    // Six weeks later the month is over and its receipts are old, but nobody has released it.
    await control("/clock", { advanceSeconds: 42 * DAY_S });
    const kept = (await statements()).length;
    await waitFor(
      "the month to be closed",
      async () =>
        String(at(await ledger(), "spec.lastClosedHour")) >
        `${(await now()).toISOString().slice(0, 7).replace("-", "")}01`
          ? true
          : undefined,
      120_000,
    );
    expect((await statements()).length).toBe(kept);
    const released = await home.command("export", "--month", month, "--release");
    expect([released.code, released.stdout]).toEqual([
      0,
      `Released ${month}: its receipts go when they are old enough\n`,
    ]);
    await waitFor("the receipts to go", async () => ((await statements()).length === 0 ? true : undefined), 30_000);
    expect(at(await ledger(), "spec.exportedMonths")).toEqual([month]);
    const again = await home.command("export", "--month", month, "--format", "csv");
    expect([readCsv(again.stdout), again.stderr]).toEqual([[], `${month}: no receipts\n`]);
  }, 240_000);
});

const BY = ["--by", "Ada Lovelace", "--reason", "Case 12: Partner Center shows it"] as const;

describe("reporter.js settle", () => {
  it("closes a slot beside the leader, which books what a person said, once", async () => {
    await control("/faults", {
      kind: "Status",
      status: 500,
      standIn: "metering",
      route: "batchUsageEvent",
      count: 1000,
    });
    await useBy("orders", { tool_action: 4, workflow_completed: 2 });
    await nextHour(["tool_action", "workflow_completed"]);
    const hour = (await statements())[0]?.intent.hour ?? "";
    await waitFor("a try", async () =>
      (await statements()).every((one) => one.attempts.count > 0) ? true : undefined,
    );
    const slot = (dimension: string): string[] => ["settle", "--hour", hour, "--dimension", dimension];

    const young = await home.command(...slot("tool_action"), "--as", "not-billed", ...BY);
    expect([young.code, young.stderr]).toEqual([
      1,
      `Cannot settle slot ${hour} tool_action as not billed as it must be older than 26 h, for a request may still land\n`,
    ]);
    const none = await home.command(...slot("tokens_1k_in"), "--as", "billed", ...BY);
    expect([none.code, none.stderr]).toEqual([
      1,
      `Cannot settle slot ${hour} tokens_1k_in as it must have a UsageStatement: there is none\n`,
    ]);
    const misread = await home.command(...slot("tool_action"), "--as", "lost", ...BY);
    expect([misread.code, misread.stderr]).toEqual([
      2,
      "Cannot run settle: --as must be billed or not-billed: current value is lost\n",
    ]);

    const settled = await home.command(...slot("tool_action"), "--as", "billed", ...BY);
    expect([settled.code, settled.stdout]).toEqual([0, `Settled ${hour} tool_action as billed: 4 of 4 action\n`]);
    const back = await home.command(...slot("workflow_completed"), "--as", "not-billed", "--insist", ...BY);
    expect([back.code, back.stdout]).toEqual([
      0,
      `Settled ${hour} workflow_completed as not-billed: 0 of 2 conversation\n`,
    ]);
    const twice = await home.command(...slot("tool_action"), "--as", "billed", ...BY);
    expect([twice.code, twice.stderr]).toEqual([
      1,
      `Cannot settle slot ${hour} tool_action as it must have no outcome: current value is Settled\n`,
    ]);
    expect((await statements()).find(({ intent }) => intent.dimension === "tool_action")?.outcome).toMatchObject({
      state: "Settled",
      resolvedBy: "Command",
      acceptedBaseUnits: "4",
      note: "Settled as billed by Ada Lovelace: Case 12: Partner Center shows it",
    });

    // The leader books both, and the two conversations that were given back are posted in a later hour.
    const response = await fetch(`${emulator.controlUrl}/control/faults`, { method: "DELETE" });
    expect(response.status).toBeLessThan(300);
    await useBy("orders", { tool_action: 1 });
    await nextHour();
    await waitFor("the slots to be booked", async () => {
      const found = await ledger();
      const isOpen = JSON.stringify(at(found, "spec.accounts")).includes(`"hour":"${hour}"`);
      return isOpen || at(found, "spec.oldestOpenHour") !== undefined ? undefined : found;
    });
    expect(await billed((await now()).toISOString().slice(0, 7))).toEqual({
      tool_action: "1",
      workflow_completed: "2",
    });
  }, 180_000);
});

describe("reporter.js unpark", () => {
  it("lets a parked dimension be posted again, and keeps who did it", async () => {
    await control("/faults", {
      kind: "ItemStatus",
      itemStatus: "InvalidDimension",
      standIn: "metering",
      route: "batchUsageEvent",
      count: 1,
    });
    await useBy("orders", { tool_action: 4 });
    await nextHour(["tool_action"]);
    await waitFor("the dimension to be parked", async () =>
      JSON.stringify(at(await ledger(), "spec.parked")) === '["tool_action"]' ? true : undefined,
    );
    const wrong = await home.command("unpark", "--dimension", "tokens_1k_in", ...BY);
    expect([wrong.code, wrong.stderr]).toEqual([
      1,
      "Cannot unpark dimension as it must be a parked one (tool_action): current value is tokens_1k_in\n",
    ]);
    const done = await home.command("unpark", "--dimension", "tool_action", ...BY);
    expect([done.code, done.stdout]).toEqual([0, "Unparked tool_action: it is posted again from the next try on\n"]);
    const accounts = z
      .array(z.looseObject({ dimension: z.string() }))
      .parse(at(await ledger(), "spec.accounts"))
      .filter(({ dimension }) => dimension === "tool_action");
    expect(accounts).toMatchObject([{ unparked: { by: "Ada Lovelace", reason: "Case 12: Partner Center shows it" } }]);
    expect(at(await ledger(), "spec.parked")).toEqual([]);
    await control("/clock", { advanceSeconds: 600 });
    await waitFor("the slot's own event", async () =>
      (await statements()).every((one) => one.state === "Accepted") ? true : undefined,
    );
    expect(await billed((await now()).toISOString().slice(0, 7))).toEqual({ tool_action: "4" });
  }, 120_000);
});
