import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand, tryCommand } from "../run-command.ts";
import { cacheFolder } from "./folders.ts";

/** Unpacks Debian packages into a folder without installing them: no script of theirs runs, nothing is started. */
export async function unpackDebs(packages: readonly string[], root: string): Promise<void> {
  const archives = mkdtempSync(join(cacheFolder("tools"), "debs-"));
  try {
    const download = ["sh", "-c", 'cd "$0" && exec apt-get download -qq "$@"', archives, ...packages];
    // The first failure may only mean that apt has no lists yet.
    if ((await tryCommand(download)).code !== 0) {
      await tryCommand(["apt-get", "update", "-qq"]);
      await runCommand(download).catch((cause) => {
        throw new Error(`Cannot download the Debian packages ${packages.join(", ")}: run apt-get update`, { cause });
      });
    }
    mkdirSync(root, { recursive: true });
    for (const name of readdirSync(archives)) await runCommand(["dpkg-deb", "-x", join(archives, name), root]);
  } finally {
    rmSync(archives, { recursive: true, force: true });
  }
}
