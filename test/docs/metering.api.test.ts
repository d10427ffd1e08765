import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parse } from "yaml";
import { catalogueSchema, findPlan } from "#core/plan.ts";
import { HOUR_MS } from "#core/time.ts";
import { createLogger } from "#runtime/log.ts";
import { NAMESPACES, POD_USAGES } from "#runtime/kube/resources.ts";
import { ensureKubectl } from "../../scripts/tools/helm-and-kubectl.ts";
import { putResource } from "../../services/emulator/metering-store.ts";
import type { Desk } from "../../services/meter/reporter/desk.ts";
import { createKubeBooks } from "../../services/meter/reporter/kube.ts";
import { type ApiHarness, must, startApi } from "../api/harness.ts";
import { GUID, MeterWorld, RESOURCE } from "../simulation/meter-world.ts";

const page = readFileSync("docs/metering.md", "utf8");
const example = (page.split("\n## An hour, from the pod to the receipt\n")[1] ?? "").split("\n## ")[0] ?? "";

let api: ApiHarness;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api?.stop());

/** The reporter's own desk on a real API server, the emulator's books behind it, and the catalogue of the chart. */
function openDesk(world: MeterWorld): Desk {
  const log = createLogger({ component: "test", level: "silent" });
  const catalogue = catalogueSchema.parse(parse(readFileSync("charts/supercargo/files/catalogue.yaml", "utf8")));
  const plan = findPlan(catalogue, "starter");
  const plans = [{ planId: "starter", dimensions: plan?.dimensions.map(({ id }) => id) ?? [] }];
  const resource = { resourceUri: RESOURCE, resourceId: GUID, ownerClientId: "us", offerId: "offer" };
  putResource(world.metering, { ...resource, state: "Active", plans });
  const desk = world.desk();
  return {
    ...desk,
    books: createKubeBooks({ client: api.client, offerResourceId: RESOURCE, onDate: () => undefined, log }),
    terms: { ...desk.terms, catalogue, plan, planId: "starter", mode: "Marketplace" },
  };
}

/** What the sidecar of the example's pod says at 09:00. */
async function publishPod(): Promise<void> {
  const namespace = "agents";
  must(await api.client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }));
  const used = { documents_analyzed: "2", input_tokens: "2600", tool_action: "3", workflow_completed: "1" };
  const totals = Object.entries(used).map(([dimension, total]) => ({ dimension, total }));
  const created = must(
    await api.client.create(POD_USAGES, {
      apiVersion: "supercargo.dev/v1alpha1",
      kind: "PodUsage",
      metadata: { name: "5b1c8e0a-0000-4000-8000-000000000001", namespace },
      spec: {
        podName: "order-desk-orchestrator-0",
        component: "orchestrator",
        agentDeployment: "order-desk",
        offerResourceId: RESOURCE,
        checkpointSeconds: 60,
      },
    }),
  );
  const status = {
    sequence: "1",
    totals: totals.map((entry) => ({ ...entry, last: entry.total })),
    boundaries: [{ hour: "2026112208", totals }],
    final: "No",
    reportedAt: "2026-11-22T09:00:05Z",
  };
  must(await api.client.updateStatus(POD_USAGES, { ...created, status }));
}

it("runs the first example of docs/metering.md as it is written", async () => {
  const world = new MeterWorld();
  const desk = openDesk(world);
  await world.cycle(desk);
  await publishPod();
  world.nowMs += HOUR_MS;
  await world.cycle(desk);
  expect(world.booked().length).toBeGreaterThan(0);
  const blocks = [...example.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  expect(blocks.length).toBe(3);
  const home = mkdtempSync(join(tmpdir(), "metering-"));
  const env = { HOME: home, PATH: `${dirname(await ensureKubectl())}:/usr/bin:/bin`, KUBECONFIG: api.kubeconfig };
  for (const block of blocks) {
    const lines = block.split("\n");
    const { stdout } = await promisify(execFile)("sh", ["-eu", "-c", block], { env, timeout: 30_000 });
    const shown = lines.filter((line) => line.startsWith("# ")).map((line) => line.slice(2));
    expect(`\n${tidy(stdout)}`).toBe(`\n${tidy(shown.join("\n"))}`);
  }
  rmSync(home, { recursive: true });
});

/** Columns are told apart by two spaces or more; how many does not matter, and an age is what it is. */
function tidy(text: string): string {
  return text
    .trim()
    .replaceAll(/ {2,}/g, "  ")
    .replaceAll(/ {2}\d+s$/gm, "")
    .replaceAll(/ +$/gm, "");
}
