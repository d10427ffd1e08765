import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { clusterStatus, startCluster, stopCluster } from "./single-node.ts";

describe("startCluster", () => {
  // From the first file written to the node that registers: each delay falls into another step.
  it("starts after a start that was killed at any point", async () => {
    await stopCluster();
    for (const delayMs of [400, 800, 1500, 3000]) await killedStart(delayMs);
    await startCluster();
    expect(await clusterStatus()).toMatchObject({ ready: true, stopped: [] });
  });

  it("finds a running cluster and leaves it as it is", async () => {
    const before = processIds(["etcd", "kube-apiserver", "kubelet", "containerd"]);
    const started = performance.now();
    await startCluster();
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(processIds(["etcd", "kube-apiserver", "kubelet", "containerd"])).toEqual(before);
  });

  it("starts anew when a part has ended", async () => {
    process.kill(Number(processIds(["kubelet"])[0]), "SIGKILL");
    await expect.poll(async () => (await clusterStatus()).stopped).toEqual(["kubelet"]);
    await startCluster();
    expect(await clusterStatus()).toMatchObject({ ready: true, stopped: [] });
  });

  it("lets a second start wait for the first", async () => {
    await stopCluster();
    const paths = await Promise.all([startCluster(), startCluster()]);
    expect(new Set(paths).size).toBe(1);
    expect(await clusterStatus()).toMatchObject({ ready: true, stopped: [] });
  });
});

function processIds(parts: readonly string[]): string[] {
  return parts.map((part) => readFileSync(`/var/lib/supercargo/${part}.pid`, "utf8").trim());
}

/** Starts the cluster in another process and kills that after the delay. */
async function killedStart(delayMs: number): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), "up"], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.on("close", resolve));
  await sleep(delayMs);
  child.kill("SIGKILL");
  await ended;
}
