import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { waitFor } from "../../../scripts/demo/kubectl.ts";
import { DEMO } from "../../../scripts/demo/names.ts";
import { killBundle, signal } from "../kill.ts";
import { FOLDERS } from "../local/layout.ts";
import { runningProcess } from "../local/processes.ts";
import { restoreEtcd, saveEtcd } from "../local/single-node.ts";
import { endHours, expectExact, type FaultBooks, healBooks, readFaultBooks, waitForCounted } from "./books.ts";
import { CHECKPOINT_SECONDS, type FaultWorld, freeLease } from "./fault-world.ts";

const SCRAPE_SECONDS = 5;

/** What can happen to the cluster below the product. */
export function clusterFaults(world: () => FaultWorld): void {
  it.each([
    ["leaders that remember", (): void => undefined],
    ["leaders that know nothing", (): void => void killBundle("reporter")],
  ] as const)("etcd restored from an earlier snapshot, under %s: nothing is billed twice", async (_name, meanwhile) => {
    await world().ask(1);
    await saveEtcd();
    await world().ask(2);
    const posted = await expectExact(world());
    await world().ask(1);
    await restoreEtcd(meanwhile);
    const restored = await waitFor(() => readFaultBooks(world()), { what: "the API server", timeoutSeconds: 60 });
    expect(restored.statements.length).toBeLessThan(posted.statements.length);
    forgetReceipts(world(), { posted, restored });
    await freeLease(world().kubectl);
    await healBooks(world());
    await expectExact(world());
  });

  it.each([
    ["a bit flipped in the middle", flipBit],
    ["cut short", (file: string) => truncateSync(file, Math.floor(statSync(file).size / 2))],
    ["gone", (file: string) => rmSync(file)],
  ] as const)("sidecar log %s: no unit is lost, none is counted twice", async (_name, spoil) => {
    await world().ask(1);
    for (const uid of await livePods(world())) spoil(logFile(uid));
    expect(killBundle("sidecar")).toBeGreaterThan(0);
    await world().ask(1);
    await expectExact(world());
  });

  it("a node's pods lost without grace: at most K + S of their usage, and the rest is exact", async () => {
    await world().ask(2);
    await waitForCounted(world());
    const before = await readFaultBooks(world());
    const pods = await livePods(world());
    const started = performance.now();
    await world().ask(2);
    const used = await world().used();
    await loseNode(world());
    expect(performance.now() - started).toBeLessThan((CHECKPOINT_SECONDS + SCRAPE_SECONDS) * 1000);
    await waitForSettled(world(), pods);
    const after = await readFaultBooks(world());
    const lost = Object.fromEntries(after.rows.map((row) => [row.from, row.used - row.counted]));
    for (const row of before.rows) {
      expect(lost[row.from]).toBeGreaterThanOrEqual(0n);
      expect(lost[row.from]).toBeLessThanOrEqual((used[row.from] ?? 0n) - row.counted);
    }
    world().off.lost = lost;
    await world().ask(1);
    await expectExact(world());
  });
}

/** What was written after the snapshot is gone, receipts too. Money is not: Azure's list tells the ledger. */
function forgetReceipts(
  { off }: FaultWorld,
  books: { readonly posted: FaultBooks; readonly restored: FaultBooks },
): void {
  const before = new Map(books.restored.rows.map((row) => [row.from, row.receipted]));
  off.receipts = Object.fromEntries(
    books.posted.rows.map((row) => [
      row.from,
      (off.receipts[row.from] ?? 0n) + row.receipted - (before.get(row.from) ?? 0n),
    ]),
  );
}

async function livePods(world: FaultWorld): Promise<string[]> {
  const { usages, ledgers } = await readFaultBooks(world);
  const gone = new Set(ledgers.flatMap(({ spec }) => spec.tombstones.map(({ uid }) => uid)));
  return usages.map(({ metadata }) => metadata.name).filter((uid) => !gone.has(uid));
}

function logFile(uid: string): string {
  return join(FOLDERS.kubelet, "pods", uid, "volumes/kubernetes.io~empty-dir/sidecar-log/usage.log");
}

function flipBit(file: string): void {
  const bytes = readFileSync(file);
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 0x10;
  writeFileSync(file, bytes);
}

/** As when a node dies: the kubelet says and does nothing more, every process of the pods ends at once. */
async function loseNode(world: FaultWorld): Promise<void> {
  const kubelet = runningProcess(FOLDERS.state, "kubelet");
  if (kubelet === undefined) throw new Error("Cannot lose the node as no kubelet runs");
  signal(kubelet, "SIGSTOP");
  try {
    for (const bundle of ["sidecar", "gateway", "orchestrator"] as const) killBundle(bundle);
    const selector = `supercargo.dev/agent=${DEMO.agent}`;
    const force = ["--force", "--grace-period=0", "--wait=false"];
    await world.kubectl.run(["-n", DEMO.agentNamespace, "delete", "pods", "-l", selector, ...force]);
  } finally {
    signal(kubelet, "SIGCONT");
  }
}

/** Ends hours until the lost pods stand in the ledger's settled totals. */
async function waitForSettled(world: FaultWorld, pods: readonly string[]): Promise<void> {
  await endHours(world);
  await waitFor(
    async () => {
      const left = await livePods(world);
      return pods.some((uid) => left.includes(uid)) ? undefined : true;
    },
    { what: "the lost pods to be settled", timeoutSeconds: 120, everyMs: 1000 },
  );
}
