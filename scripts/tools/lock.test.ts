import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { withLock } from "./lock.ts";

const folder = mkdtempSync(join(tmpdir(), "supercargo-lock-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("withLock()", () => {
  it("lets one in at a time, and the next in after a failure", async () => {
    const file = join(folder, "one");
    let inside = 0;
    let most = 0;
    const enter = (fails: boolean): Promise<void> =>
      withLock(file, async () => {
        inside += 1;
        most = Math.max(most, inside);
        await sleep(30);
        inside -= 1;
        if (fails) throw new Error("broken");
      });
    const results = await Promise.allSettled([enter(false), enter(true), enter(false)]);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(most).toBe(1);
  });

  it("is free again when its holder is killed", async () => {
    const file = join(folder, "two");
    const script = `import { withLock } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
      await withLock(${JSON.stringify(file)}, async () => { console.log("in"); await new Promise((r) => setTimeout(r, 60_000)); });`;
    const holder = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    let entered = false;
    const waiting = withLock(file, () => Promise.resolve((entered = true)));
    await sleep(200);
    expect(entered).toBe(false);
    holder.kill("SIGKILL");
    await waiting;
    expect(entered).toBe(true);
  });
});
