import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../run-command.ts";
import { cacheFolder } from "./folders.ts";

export interface PinnedPackage {
  /** name@version */
  readonly spec: string;
  /** sha512-…, as npm writes it. */
  readonly integrity: string;
}

/**
 * Fetches one npm package without its dependencies, checks its integrity and hands the folder with its unpacked files
 * to `use`; the folder is gone afterwards. Throws one sentence that says what to do when npm cannot have it.
 */
export async function withNpmPackage<T>(wanted: PinnedPackage, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(cacheFolder("tools"), "npm-"));
  try {
    const archive = join(folder, await packPackage(wanted, folder));
    const integrity = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (integrity !== wanted.integrity)
      throw new Error(
        `Cannot use ${wanted.spec} as its integrity must be ${wanted.integrity}: current value is ${integrity}`,
      );
    await runCommand(["tar", "-xzf", archive, "-C", folder]);
    return await use(join(folder, "package"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function packPackage(wanted: PinnedPackage, folder: string): Promise<string> {
  try {
    const packed = await runCommand(["npm", "pack", wanted.spec, "--silent", "--pack-destination", folder]);
    return packed.stdout.trim();
  } catch (cause) {
    throw new Error(`Cannot fetch ${wanted.spec}: check that npm reaches its registry, then run this again`, { cause });
  }
}
